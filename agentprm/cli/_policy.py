"""Who plays: the words that `--policy` takes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from agentprm.record.policies import RandomPolicy
from agentprm.spec import resolve
from agentprm.types import Policy

__all__ = ["named_policy"]


def named_policy(name: str, env: gym.Env[Any, Any], seed: int = 0) -> Policy:
    """Return the random policy, or what ``module:function`` refers to; raises InvalidSpec."""
    if name == "random":
        return RandomPolicy(seed, env.action_space)
    policy: Policy = resolve(name)
    return policy
