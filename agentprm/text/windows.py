"""What a model of limited context reads of a trajectory: whole turns, and the same live and afterwards."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from agentprm.errors import InvalidSpec
from agentprm.text.render import LiveSight, obstacles
from agentprm.text.tokens import Encoded, Encoder
from agentprm.types import Trajectory

__all__ = ["Keep", "Window", "read", "remarks", "windows"]

Keep = Literal["left", "middle"]
"""What goes first when an episode is too long: the earliest turns (*left*), or those after the first (*middle*)."""


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that a model reads at once: all of a trajectory, or the task and some whole turns of it."""

    ids: array[int]
    ends: tuple[int, ...]
    """The position in `ids` at which the score of each step from `first` on is read."""
    first: int
    """The step that the first of `ends` belongs to."""
    dropped: int = 0
    """How many turns before the last ones were left out."""
    begins: tuple[int, ...] = ()
    """The position in `ids` at which the decision of each of `steps` begins; it ends with the step, or before."""

    @property
    def steps(self) -> range:
        """The steps whose scores are read here."""
        return range(self.first, self.first + len(self.ends))


def read(
    trajectory: Trajectory, encoder: Encoder, sees: LiveSight, context: int, keep: Keep = "left"
) -> tuple[list[Window], list[str | None]]:
    """Return the windows that are read of a trajectory, and for each step why it cannot be read, or None.

    The one way from a trajectory to tokens, in training as in serving.
    """
    pieces = [window for one in encoder.readings(trajectory, sees) for window in windows(one, context, keep)]
    within = {t for window in pieces for t in window.steps}
    notes = obstacles(trajectory, sees)
    for t, note in enumerate(notes):
        if note is None and t not in within:
            notes[t] = f"task and turn {t} alone are longer than the {context} tokens this model reads"
    return pieces, notes


def remarks(pieces: Sequence[Window], obstacles: Sequence[str | None]) -> tuple[str | None, ...]:
    """Return a note for each step that cannot be read, or only without some earlier turns; nothing if there is none.

    >>> remarks([Window(array("i", [1, 2, 3]), (2,), first=1, dropped=1)], ["step 0 has an empty action", None])
    ('step 0 has an empty action', 'read without 1 of 1 earlier turns')
    """
    short = {t: f"read without {w.dropped} of {t} earlier turns" for w in pieces if w.dropped for t in w.steps}
    notes = tuple(note or short.get(t) for t, note in enumerate(obstacles))
    return notes if any(notes) else ()


def windows(encoded: Encoded, context: int, keep: Keep = "left") -> Iterator[Window]:
    """Yield what a model of that context reads of a trajectory: all at once if it fits, else piece by piece.

    Every piece holds the task and whole turns. When the next step does not fit, a new piece begins with the latest
    turns that fill half the context, behind a gap; *middle* keeps the first turns, too, up to a quarter. A step stands
    in one piece only, and which tokens are read for it depends on nothing that comes after it: live and afterwards,
    they are the same. A turn too long to be read even alone stands in no piece.

    >>> encoded = Encoded(array("i", range(10)), ends=(3, 6, 9), turns=(1, 4, 7), gap=array("i", [99]))
    >>> [(w.ids.tolist(), w.ends, w.first, w.dropped) for w in windows(encoded, context=8)]
    [([0, 1, 2, 3, 4, 5, 6], (3, 6), 0, 0), ([0, 99, 7, 8, 9], (4,), 2, 2)]
    """
    if keep not in get_args(Keep):
        raise InvalidSpec(f"keep is one of {get_args(Keep)}, not {keep!r}")
    if encoded.ends and encoded.ends[-1] < context:
        yield Window(
            encoded.ids[: encoded.ends[-1] + 1], encoded.ends, encoded.first, 0, encoded.begins[: len(encoded.ends)]
        )
        return
    opening, start, kept = encoded.ids[: encoded.turns[0] if encoded.turns else 0], 0, 0
    steps: list[int] = []
    for t, end in enumerate(encoded.ends):
        if len(opening) + end + 1 - encoded.turns[start] > context:
            yield from _window(encoded, opening, start, steps, start - kept)
            steps = []
            opening, start, kept = _restart(encoded, t, context, keep)
        if len(opening) + end + 1 - encoded.turns[start] <= context:
            steps.append(t)
    yield from _window(encoded, opening, start, steps, start - kept)


def _window(encoded: Encoded, opening: array[int], start: int, steps: list[int], dropped: int) -> Iterator[Window]:
    if not steps:
        return
    begin, last = encoded.turns[start], encoded.ends[steps[-1]]
    shift = len(opening) - begin
    ends = tuple(shift + encoded.ends[t] for t in steps)
    begins = tuple(shift + encoded.begins[t] for t in steps) if encoded.begins else ()
    yield Window(opening + encoded.ids[begin : last + 1], ends, encoded.first + steps[0], dropped, begins)


def _restart(encoded: Encoded, t: int, context: int, keep: Keep) -> tuple[array[int], int, int]:
    """Return how a piece for step `t` opens, the turn it goes on with, and how many first turns it keeps."""
    turns, end = encoded.turns, encoded.ends[t]
    for share in (context // 4, 0) if keep == "middle" else (0,):
        kept = max(bisect_right(turns, share, hi=t + 1) - 1, 0)
        opening = encoded.ids[: turns[kept]] + encoded.gap
        start = min(bisect_left(turns, len(opening) + end + 1 - context // 2), t)
        if len(opening) + end + 1 - turns[start] <= context:
            break
    return opening, start, kept
