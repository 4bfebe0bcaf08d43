"""Scores actions by how loud they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from agentprm import Scores, Spec, Trajectory, register


@register("shouting")
@dataclass(frozen=True)
class Shouting:
    """The share of an action's letters that are capitals, times `volume`."""

    volume: float = 1.0
    sees: ClassVar[Literal["action"]] = "action"
    unit: ClassVar[Literal["reward"]] = "reward"

    @property
    def spec(self) -> Spec:
        return Spec("shouting", {"volume": self.volume})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        return [
            Scores(t.id, self.spec, self.unit, tuple(map(self._loud, t.steps)), sees=self.sees) for t in trajectories
        ]

    def _loud(self, step):
        letters = [c for c in step.action.text if c.isalpha()]
        return self.volume * sum(c.isupper() for c in letters) / len(letters) if letters else None
