"""The outcome of the episode, for each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from agentprm.spec import register
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["Outcome"]


@register("outcome")
@dataclass(frozen=True)
class Outcome:
    """Labels every step with how the episode went, without looking which step made it so; costs no further steps.

    The process value model of Xi et al. (2025), and what `Temporal` gives at λ = 1: the baseline that any cleverer
    label must beat. An episode that is unfinished, or whose outcome nobody knows, has no labels.

    >>> from agentprm.types import Action, Ending, Observation, Step, Task, new_id
    >>> step, won = Step(Observation("a door"), Action("open")), Ending("terminated", terminated=True, outcome=1.0)
    >>> trajectory = Trajectory(new_id(), Task("leave"), (step, step), Observation("a garden"), won)
    >>> Outcome()([trajectory])[0].values, Outcome(last_only=True)([trajectory])[0].values
    ((1.0, 1.0), (None, 1.0))
    """

    last_only: bool = False
    """Label the last step only: what an outcome reward model is trained on."""
    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["value"]] = "value"

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""
        return Spec("outcome", {"last_only": self.last_only})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the labels of each trajectory."""
        return [Scores(t.id, self.spec, self.unit, self._labels(t), sees=self.sees) for t in trajectories]

    def _labels(self, trajectory: Trajectory) -> tuple[float | None, ...]:
        n = len(trajectory)
        return (
            (trajectory.outcome,) * n if not self.last_only else (None,) * (n - 1) + (trajectory.outcome,) * min(n, 1)
        )
