"""Aligned with a trajectory, one number per step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from typing import get_args
from uuid import UUID

from agentprm.errors import InvalidScores
from agentprm.types._basics import Sight, Unit, same_fields
from agentprm.types._spec import Spec

__all__ = ["Scores"]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One number per step, by a named source: a label, a model's score, a shaped reward, a credit."""

    trajectory_id: UUID
    source: Spec
    unit: Unit
    values: tuple[float | None, ...]
    """Of steps ``start`` to ``start + len(values) - 1``; None where the source has no opinion."""
    start: int = 0
    parts: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Further series of the same length, such as ``spread`` or ``rollouts``."""
    notes: tuple[str | None, ...] = ()
    """A rationale per step; empty when there is none."""
    sees: Sight = "episode"
    """How far the source looked."""

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise InvalidScores(f"a unit is one of {get_args(Unit)}, not {self.unit!r}")
        if self.sees not in get_args(Sight):
            raise InvalidScores(f"a sight is one of {get_args(Sight)}, not {self.sees!r}")
        if not isinstance(self.source, Spec):
            raise InvalidScores(f"a source is a Spec, not {self.source!r}: say Spec(name, params)")
        object.__setattr__(self, "start", index(self.start))
        if self.start < 0:
            raise InvalidScores(f"scores start at step 0 or later, not at {self.start}")
        if "score" in self.parts:
            raise InvalidScores("a part called 'score' would be the values themselves: choose another name")
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "values", self._numbers("values", self.values))
        object.__setattr__(self, "parts", {k: self._numbers(k, v) for k, v in self.parts.items()})
        object.__setattr__(self, "notes", tuple(self.notes))
        if len(self.notes) not in (0, len(self.values)):
            raise InvalidScores(f"{len(self.notes)} notes for {len(self.values)} values: give one each, or none")

    def _numbers(self, name: str, values: Iterable[float | None]) -> tuple[float | None, ...]:
        numbers = tuple(None if v is None else float(v) for v in values)
        if len(numbers) != len(self.values):
            raise InvalidScores(f"part {name!r} has {len(numbers)} numbers, values has {len(self.values)}")
        for i, v in enumerate(numbers):
            if v is not None and not math.isfinite(v):
                raise InvalidScores(f"{name}[{i}] of {self.source.name} is {v}: no opinion is None, never NaN or inf")
        return numbers

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Scores) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
