"""Windows in groups, and in rows: those that are alternatives of one another, and those that are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentprm.text.attention import Kept, Row
from agentprm.text.lines import Line
from agentprm.text.tree import Ids, Tree, forest, in_order
from agentprm.text.windows import Window

__all__ = ["Group", "Places", "grouped", "past", "row_of", "rows"]

_LEAST_SHARED = 16
"""Tokens."""

Places: TypeAlias = list[NDArray[np.int64]]
"""Where in a tree the ends of each of its windows stand."""


@dataclass(slots=True)
class Group:
    """Windows that differ only in what follows on one and the same past: one episode, and what may come next in it."""

    members: list[int]
    shared: list[int]
    """How many tokens each has in common with the one before; 0 for the first."""
    trunk: Ids
    """What all of them begin with."""
    line: Line | None = None
    known: int = 0
    """How many tokens of the trunk need not be read again."""
    row: Row | None = None


def rows(windows: Sequence[Window], most: int) -> Iterator[tuple[list[int], Row, Places]]:
    """Yield rows of at most about `most` tokens, each with the windows that it holds, until every window is in one."""
    lines = [np.frombuffer(window.ids, dtype=np.int32) for window in windows]
    for members, tree in forest(lines, most):
        places = [place[list(windows[i].ends)] for i, place in zip(members, tree.places, strict=True)]
        yield members, row_of(tree, places), places


def row_of(tree: Tree, places: Places, line: Kept | None = None, skip: int = 0) -> Row:
    """Return a tree as a row that is read in those places, and nowhere else."""
    return Row(tree, line, skip, np.unique(np.concatenate(places)))


def past(window: Window) -> int:
    """Return how many tokens stand before the latest step: up to the end of the one before it."""
    return window.ends[-2] + 1 if len(window.ends) > 1 else 0


def grouped(windows: Sequence[Window], lines: Sequence[Ids]) -> list[Group]:
    """Return the windows in groups that share one past, and at least half of their text."""
    order, shared = in_order(lines)
    groups: list[Group] = []
    for i, alike in zip(order, shared, strict=True):
        if groups and _are_alternatives(windows[groups[-1].members[-1]], windows[i], alike):
            group = groups[-1]
            group.members.append(i)
            group.shared.append(alike)
            group.trunk = group.trunk[: min(len(group.trunk), alike)]
        else:
            groups.append(Group([i], [0], lines[i]))
    return groups


def _are_alternatives(one: Window, other: Window, alike: int) -> bool:
    """Return whether two windows differ in no more than their latest step, and share half of their text."""
    enough = max(past(one), past(other), min(len(one.ids), len(other.ids)) // 2, _LEAST_SHARED)
    latest = one.ends[-1] == other.ends[-1] or max(one.ends[-1], other.ends[-1]) >= alike
    return alike >= enough and one.ends[:-1] == other.ends[:-1] and latest
