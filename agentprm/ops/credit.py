"""Which step gained, which one lost: credits from the scores of one trajectory."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["deltas", "sinking_step"]


def deltas(values: Sequence[float | None], start: float | None = None) -> list[float | None]:
    """Return what each step changed: its value less the last value given before it.

    The first value has nothing before it but `start`; without one it is None. Of values, these sum to the last less the
    first: the promise gained along the way (Xi et al. 2025 call it progress).

    >>> deltas([0.5, None, 0.75, 0.25])
    [None, None, 0.25, -0.5]
    """
    changes: list[float | None] = []
    before = start
    for value in values:
        changes.append(None if value is None or before is None else value - before)
        before = before if value is None else value
    return changes


def sinking_step(values: Sequence[float | None], start: float | None = None) -> int | None:
    """Return the index of the largest loss of value, the earliest if several; None when no step lost anything.

    >>> sinking_step([0.5, 0.75, 0.25, 0.0])
    2
    """
    losses = [(change, t) for t, change in enumerate(deltas(values, start)) if change is not None and change < 0]
    return min(losses)[1] if losses else None
