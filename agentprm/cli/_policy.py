"""Who plays: the words that `--policy` takes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from agentprm.errors import InvalidSpec
from agentprm.record.policies import RandomPolicy
from agentprm.spec import resolve
from agentprm.types import Policy

__all__ = ["made", "named_policy"]


def made(env_id: str) -> gym.Env[Any, Any]:
    """Return the environment of an id, ``module:id`` to import the module first; raises InvalidSpec for no module."""
    try:
        return gym.make(env_id)
    except ModuleNotFoundError as error:
        raise InvalidSpec(f"the environment {env_id!r} cannot be made: {error}") from error


def named_policy(name: str, env: gym.Env[Any, Any], seed: int = 0) -> Policy:
    """Return the random policy, or what ``module:function`` refers to; raises InvalidSpec."""
    if name == "random":
        return RandomPolicy(seed, env.action_space)
    policy: Policy = resolve(name)
    return policy
