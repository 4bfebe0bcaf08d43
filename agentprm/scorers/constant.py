"""A scorer without weights: the same number for every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, Literal, get_args

from agentprm.errors import InvalidSpec
from agentprm.spec import register
from agentprm.types import Scores, Spec, Trajectory, Unit

__all__ = ["Constant"]


@register("constant")
@dataclass(frozen=True)
class Constant:
    """Says the same for every step: the baseline that any model must beat, and a wrapper's smallest test.

    A `value` of None has no opinion. Raises InvalidSpec for what is no finite number, for an unknown `unit`, and for a
    value or a chance outside [0, 1].

    >>> Constant(0.5).spec.plain()
    {'name': 'constant', 'params': {'value': 0.5, 'unit': 'value'}}
    """

    value: float | None = 0.5
    unit: Unit = "value"
    sees: ClassVar[Literal["action"]] = "action"

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise InvalidSpec(f"constant's unit is one of {get_args(Unit)}, not {self.unit!r}")
        if self.value is None:
            return
        if not _is_finite(self.value):
            raise InvalidSpec(f"constant's value is a finite number, or None for no opinion, not {self.value!r}")
        if self.unit != "reward" and not 0.0 <= self.value <= 1.0:
            raise InvalidSpec(
                f"constant's value is a {self.unit} in [0, 1], not {self.value!r}: scale it, or say unit=reward"
            )
        object.__setattr__(self, "value", float(self.value))

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""
        return Spec("constant", {"value": self.value, "unit": self.unit})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return `value` for every step."""
        return [Scores(t.id, self.spec, self.unit, (self.value,) * len(t), sees=self.sees) for t in trajectories]


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
