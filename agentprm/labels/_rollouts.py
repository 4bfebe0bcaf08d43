"""What the label methods that play on share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agentprm.errors import InvalidSpec
from agentprm.types import Continue, Spec, Trajectory

__all__ = ["Estimate", "estimate", "named", "required"]


class Estimate(NamedTuple):
    """What came of playing on from after a step, and what it cost."""

    outcomes: tuple[float, ...]
    """Of the completions that have one."""
    env_steps: int

    @property
    def mean(self) -> float | None:
        """The mean outcome; None without any."""
        return sum(self.outcomes) / len(self.outcomes) if self.outcomes else None


def estimate(continue_: Continue, trajectory: Trajectory, t: int, n: int) -> Estimate:
    """Play on from after step t."""
    completions = continue_(trajectory, t, n)
    env_steps = sum(len(completion) - t - 1 for completion in completions)
    return Estimate(tuple(c.outcome for c in completions if c.outcome is not None), env_steps)


def required(continue_: Any, rollouts: int) -> None:
    """Raise InvalidSpec for what is no function, or for no rollouts."""
    if not callable(continue_):
        raise InvalidSpec(f"continue_ plays an episode on: it is a function, not {continue_!r}; give it anew")
    if rollouts < 1:
        raise InvalidSpec(f"rollouts={rollouts}: play on once or more")


def named(continue_: Continue) -> Spec | Mapping[str, str]:
    """Return what stands for it in a spec: its own, or the name of something that must be given anew."""
    given = getattr(continue_, "spec", None)
    return (
        given if isinstance(given, Spec) else {"live": getattr(continue_, "__qualname__", type(continue_).__qualname__)}
    )
