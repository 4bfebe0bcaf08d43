"""A scorer without weights: the same number for every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from agentprm.spec import register
from agentprm.types import Scores, Spec, Trajectory, Unit

__all__ = ["Constant"]


@register("constant")
@dataclass(frozen=True)
class Constant:
    """Says the same for every step: the baseline that any model must beat, and a wrapper's smallest test.

    >>> Constant(0.5).spec.plain()
    {'name': 'constant', 'params': {'value': 0.5, 'unit': 'value'}}
    """

    value: float | None = 0.5
    unit: Unit = "value"
    sees: ClassVar[Literal["action"]] = "action"

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""
        return Spec("constant", {"value": self.value, "unit": self.unit})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return `value` for every step."""
        return [Scores(t.id, self.spec, self.unit, (self.value,) * len(t), sees=self.sees) for t in trajectories]
