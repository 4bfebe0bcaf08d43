"""A tiny text environment: a corridor between two doors, one of which is asked for."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.spaces import Text

__all__ = ["Corridor"]

_ACTIONS = ["go left", "go right", "wait"]


class Corridor(gym.Env[str, str]):
    """A corridor of five tiles. The episode ends at either door, or after `max_rounds`; only the right one succeeds.

    The seed chooses the door that is asked for. With `slips`, a move fails with that chance. It can be copied with
    ``snapshot()`` and ``restore(snapshot)`` like the environments of `agentprm_envs`.

    >>> env = Corridor()
    >>> env.reset(seed=1)[0]
    'You are 2 steps from the left door and 2 steps from the right door.'
    """

    def __init__(self, max_rounds: int = 8, slips: float = 0.0) -> None:
        self.observation_space = self.action_space = Text(200)
        self.max_rounds, self.slips = max_rounds, slips
        self.n_steps = 0
        """Steps taken since this object was made."""
        self._place, self._rounds, self._door = 2, 0, "left"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin in the middle."""
        super().reset(seed=seed)
        self._place, self._rounds = 2, 0
        self._door = "left" if self.np_random.random() < 0.5 else "right"
        return self._look(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Move, or do not."""
        self.n_steps += 1
        self._rounds += 1
        if action in _ACTIONS[:2] and self.np_random.random() >= self.slips:
            self._place += -1 if action == "go left" else 1
        terminated = self._place in (0, 4)
        truncated = not terminated and self._rounds >= self.max_rounds
        return self._look(), float(self._info()["success"]), terminated, truncated, self._info()

    def snapshot(self) -> tuple[int, int, str, dict[str, Any]]:
        """Return the state."""
        return self._place, self._rounds, self._door, dict(self.np_random.bit_generator.state)

    def restore(self, snapshot: tuple[int, int, str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        """Go back to a state; return the observation and info of that moment."""
        self._place, self._rounds, self._door, self.np_random.bit_generator.state = snapshot
        return self._look(), self._info()

    def _look(self) -> str:
        if self._place in (0, 4):
            return f"You leave by the {'left' if self._place == 0 else 'right'} door."
        return f"You are {self._place} steps from the left door and {4 - self._place} steps from the right door."

    def _info(self) -> dict[str, Any]:
        return {
            "task": f"leave by the {self._door} door",
            "task_id": f"corridor/{self.np_random_seed}",
            "actions": list(_ACTIONS),
            "success": self._place == (0 if self._door == "left" else 4),
        }
