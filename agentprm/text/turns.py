"""Turns in token ids, one behind the other; an episode that went on by a turn is not joined anew from its first."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any, NamedTuple, TypeAlias

from agentprm.types import Step

__all__ = ["Beginnings", "Turn", "joined"]

_MOST_STEPS = 8192
"""In all beginnings together: about as many as a few hundred running episodes have."""

About: TypeAlias = tuple[Any, ...]
"""What stands before the first turn, and how it is worded."""


class Turn(NamedTuple):
    """Some segments in token ids; positions count from the first of them."""

    ids: array[int]
    ends: tuple[int, ...]
    starts: tuple[int, ...]
    begins: tuple[int, ...]


def joined(turns: Iterable[Turn]) -> Turn:
    """Return turns as one, each behind the one before it.

    >>> joined([Turn(array("i", [7, 8]), (1,), (0,), ()), Turn(array("i", [9]), (0,), (), ())])
    Turn(ids=array('i', [7, 8, 9]), ends=(1, 2), starts=(0,), begins=())
    """
    first, *others = turns
    ids = first.ids[:]
    ends, starts, begins = list(first.ends), list(first.starts), list(first.begins)
    for turn in others:
        n = len(ids)
        ends += [n + i for i in turn.ends]
        starts += [n + i for i in turn.starts]
        begins += [n + i for i in turn.begins]
        ids += turn.ids
    return Turn(ids, tuple(ends), tuple(starts), tuple(begins))


class _Beginning(NamedTuple):
    about: About
    steps: Sequence[Step]
    turn: Turn

    def is_of(self, about: About, steps: Sequence[Step]) -> bool:
        """Return whether it is of these very objects: equal ones may be worded differently."""
        return len(steps) == len(self.steps) and all(map(is_, about, self.about)) and all(map(is_, steps, self.steps))


class Beginnings:
    """What episodes that go on began with, joined.

    Looked up by the steps themselves, which are kept beside it: the id of an object is used again once it is gone.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Beginning] = {}
        self._n_steps = 0

    def __len__(self) -> int:
        return len(self._known)

    def of(self, about: About, steps: Sequence[Step], turns: Callable[[int], Iterable[Turn]]) -> Turn:
        """Return all before the turn that follows `steps`, joined.

        `turns` yields what stands before the first turn, and then every turn; called with n, only those from turn n on.
        """
        if not steps:
            return joined(turns(0))
        if (known := self._get(about, steps)) is not None:
            return known
        earlier = self._get(about, steps[:-1])
        # What was asked for goes on: only its latest form is needed.
        turn = joined(turns(0)) if earlier is None else joined((earlier, *turns(len(steps) - 1)))
        if earlier is not None:
            self._n_steps -= len(steps) - 1
            self._known.pop(id(steps[-2]), None)
        self._keep(_Beginning(about, steps, turn))
        return turn

    def _get(self, about: About, steps: Sequence[Step]) -> Turn | None:
        found = self._known.get(id(steps[-1])) if steps else None
        return found.turn if found is not None and found.is_of(about, steps) else None

    def _keep(self, one: _Beginning) -> None:
        if self._n_steps + len(one.steps) > _MOST_STEPS:
            self._known.clear()
            self._n_steps = 0
        self._known[id(one.steps[-1])] = one
        self._n_steps += len(one.steps)
