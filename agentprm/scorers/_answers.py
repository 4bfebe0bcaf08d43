"""What a model said of windows, put back to the steps of each trajectory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from agentprm.text.windows import Window

__all__ = ["Said", "answers"]

Series: TypeAlias = Sequence[float | None]
Steps: TypeAlias = tuple[float | None, ...]
Said: TypeAlias = tuple[Series, Mapping[str, Series]]
"""A number for each step, and further series of the same length by name."""

Read: TypeAlias = tuple[list[Window], list[str | None]]
"""The windows of a trajectory, and for each step why it cannot be read."""


def answers(
    found: Sequence[Read], values: Series, parts: Mapping[str, Series]
) -> Iterator[tuple[Steps, dict[str, Steps]]]:
    """Yield for each trajectory what was said of its steps; None where a step cannot be read."""
    start = 0
    for pieces, notes in found:
        places = _places(pieces, notes, start)
        start += sum(len(window.ends) for window in pieces)
        yield _at(places, values), {name: _at(places, series) for name, series in parts.items()}


def _at(places: Sequence[int | None], series: Series) -> Steps:
    return tuple(None if place is None else series[place] for place in places)


def _places(pieces: Sequence[Window], notes: Sequence[str | None], start: int) -> list[int | None]:
    """Return for each step where, among all that was said, its number stands; None if it has none."""
    places: list[int | None] = [None] * len(notes)
    for window in pieces:
        for t in window.steps:
            places[t] = start if notes[t] is None else None
            start += 1
    return places
