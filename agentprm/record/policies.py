"""Policies that need no learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from agentprm.errors import InvalidTrajectory
from agentprm.types import Action, Trajectory, Value

__all__ = ["RandomPolicy"]


class RandomPolicy:
    """Chooses at random: among ``info["actions"]`` where the environment lists them, else from `space`.

    Raises InvalidTrajectory where there is neither.

    >>> from agentprm.testing.trajectories import episode
    >>> RandomPolicy(seed=0)(episode(status=None), {"actions": ["wait"]})
    'wait'
    """

    def __init__(self, seed: int = 0, space: Space[Any] | None = None) -> None:
        self.seed, self.space = seed, space
        self._chance = np.random.default_rng(seed)
        if space is not None:
            space.seed(seed)

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], /) -> Value:
        """Return an action."""
        listed = info.get("actions")
        if listed:
            return listed[int(self._chance.integers(len(listed)))]
        if self.space is None:
            raise InvalidTrajectory('info lists no "actions": say RandomPolicy(space=env.action_space)')
        return self.space.sample()

    def propose(self, trajectory: Trajectory, info: Mapping[str, Value], n: int, /) -> Sequence[Action]:
        """Return `n` actions drawn with replacement."""
        drawn = [self(trajectory, info) for _ in range(n)]
        return [Action(native if type(native) is str else "", native=native) for native in drawn]
