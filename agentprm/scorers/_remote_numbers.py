"""What a server's numbers mean: a row for each place that was judged, as logits or as chances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentprm.errors import BadAnswer, InvalidSpec
from agentprm.types import Unit

__all__ = ["Head", "Row", "activated", "are_chances", "as_row", "which"]

Row = tuple[float, ...]
_MOST_LABELS = 64
_APART = 1e-3
"""Half precision, and JSON that was rounded."""


class Head(NamedTuple):
    """How a row becomes a score."""

    unit: Unit
    right: int | None
    """Which of several numbers stands for a right step; None is the second of two."""

    def score(self, row: Row, *, is_activated: bool) -> float:
        """Return the chance of *right*, or the reward; raises BadAnswer for a row of another width."""
        if self.unit == "reward":
            if len(row) != 1:
                raise BadAnswer(f"a reward is one number, and the server gave {len(row)}: say unit='correctness'")
            return row[0]
        chances = row if is_activated else activated(row)
        return min(max(chances[self._place(len(row))], 0.0), 1.0) if are_chances(chances) else _refuse(row)

    def _place(self, width: int) -> int:
        place = (0 if width == 1 else 1 if width == 2 else None) if self.right is None else self.right
        if place is None or place >= width:
            raise BadAnswer(
                f"the server gave {width} numbers for a step, and right={self.right} does not say which of them stands "
                "for a right one: say right=, or see whether it serves a reward model at all"
            )
        return place


def _refuse(row: Row) -> float:
    raise BadAnswer(
        f"the server gave {row} for a step, which are no chances: say activated=False if these are the model's own "
        "numbers, or unit='reward' for one that is a reward"
    )


def activated(row: Row) -> Row:
    """Return the chances that logits mean: the logistic function of one, the softmax of several.

    >>> activated((0.0,)), activated((1.0, 1.0))
    ((0.5,), (0.5, 0.5))
    """
    if len(row) == 1:
        return (1 / (1 + math.exp(-row[0])) if row[0] >= 0 else math.exp(row[0]) / (1 + math.exp(row[0])),)
    powers = [math.exp(x - max(row)) for x in row]
    return tuple(power / sum(powers) for power in powers)


def are_chances(row: Row) -> bool:
    """Tell whether a row may be chances: in [0, 1], and of several labels 1 in all.

    >>> are_chances((0.25, 0.75)), are_chances((0.5, 0.75)), are_chances((1.5,))
    (True, False, False)
    """
    within = all(-_APART <= x <= 1 + _APART for x in row)
    return within and (len(row) == 1 or abs(sum(row) - 1) <= _APART * len(row))


def as_row(found: Any, where: str) -> Row:
    """Return a list of numbers, or one number, as a row; raises BadAnswer for anything else."""
    numbers: Sequence[Any] = found if isinstance(found, list) else [found]
    if not numbers or len(numbers) > _MOST_LABELS:
        raise BadAnswer(
            f"{where} has {len(numbers)} numbers for one place, and a reward model says one for each label: the server "
            "gives embeddings; start it with a model that judges"
        )
    for x in numbers:
        if isinstance(x, bool) or not isinstance(x, (int, float)) or not math.isfinite(x):
            raise BadAnswer(f"{where} holds {x!r:.40}, and a score is a finite number")
    return tuple(map(float, numbers))


def which(raw: Row, cooked: Row, where: str) -> bool:
    """Return whether a server gives chances though it was asked for the model's own numbers.

    `raw` is what it said when it was asked for these, `cooked` when it was asked for chances. Raises InvalidSpec where
    they do not tell.
    """
    if len(raw) == len(cooked) and _near(activated(raw), cooked) and not _near(raw, cooked):
        return False
    if _near(raw, cooked) and (len(raw) > 1 or not are_chances(raw)):
        return are_chances(raw)
    raise InvalidSpec(
        f"{where} says {raw} without and {cooked} with an activation, which does not tell whether its numbers are "
        "chances: say activated=True if they are, activated=False if they are the model's own"
    )


def _near(one: Row, other: Row) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= 10 * _APART for a, b in zip(one, other, strict=True))
