"""Recording, as a stream of three events; a sink is a function that takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from agentprm.types._scores import Scores
from agentprm.types._spec import Spec
from agentprm.types._step import Observation, Step
from agentprm.types._trajectory import Ending, Trajectory

__all__ = ["Began", "Ended", "Event", "Sink", "Stepped"]


@dataclass(frozen=True, slots=True, eq=False)
class Began:
    """Recording event: an episode has its first observation (``trajectory.last``) and no step yet."""

    trajectory: Trajectory


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """Recording event: step `index` was taken and led to `result`."""

    trajectory_id: UUID
    index: int
    step: Step
    result: Observation
    given_reward: float | None = None
    """What the learner was paid; None when nothing stood between it and the world."""
    shaping: Spec | None = None
    """The recipe that turned the score into that payment."""
    scores: tuple[Scores, ...] = ()
    """Live scores of this step: one value each, ``start == index``."""


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """Recording event: no step will follow."""

    trajectory_id: UUID
    ending: Ending


Event: TypeAlias = Began | Stepped | Ended
Sink: TypeAlias = Callable[[Event], None]
"""Where events go: ``store.write``, ``events.append``, a live view."""
