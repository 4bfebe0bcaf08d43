"""Texts that begin alike, as a tree: what they share stands in it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Branch", "Ids", "Tree", "common", "forest", "in_order", "plant"]

Ids: TypeAlias = NDArray[np.int32]

_LEAST_SHARED = 16
"""Tokens: a shorter beginning is not worth a branch."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Tokens that stand together in a tree, each behind the one before it."""

    start: int
    stop: int
    path: tuple[tuple[int, int], ...]
    """What comes before the first of them, root first: from where to where in the tree."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Lines of tokens, the beginnings that they share written once."""

    ids: Ids
    depths: NDArray[np.int64]
    """How many tokens come before each in its line."""
    branches: tuple[Branch, ...]
    places: tuple[NDArray[np.int64], ...]
    """Where the tokens of each line stand in the tree."""

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self) -> NDArray[np.bool_]:
        """Return which token (column) each token (row) comes after or is: shape (n, n)."""
        seen = np.zeros((len(self), len(self)), dtype=bool)
        for branch in self.branches:
            rows = slice(branch.start, branch.stop)
            seen[rows, rows] = np.tri(branch.stop - branch.start, dtype=bool)
            for start, stop in branch.path:
                seen[rows, start:stop] = True
        return seen


def common(one: Ids, other: Ids) -> int:
    """Return how many tokens two lines begin with alike.

    >>> common(np.array([1, 2, 3, 4], np.int32), np.array([1, 2, 4], np.int32))
    2
    """
    n = min(len(one), len(other))
    differs = one[:n] != other[:n]
    return int(differs.argmax()) if differs.any() else n


def in_order(lines: Sequence[Ids]) -> tuple[list[int], list[int]]:
    """Return the lines in an order in which those that begin alike are neighbours, and what each shares with the last.

    >>> in_order([np.array(ids, np.int32) for ids in ([1, 2], [9], [1, 3])])
    ([0, 2, 1], [0, 1, 0])
    """
    keys = [line.tobytes() for line in lines]
    order = sorted(range(len(lines)), key=keys.__getitem__)
    shared = [0, *(common(lines[a], lines[b]) for a, b in pairwise(order))]
    return order, shared[: len(order)]


def plant(lines: Sequence[Ids], shared: Sequence[int], skip: int = 0, least: int = _LEAST_SHARED) -> Tree:
    """Return the tree of lines that stand in order, without their first `skip` tokens, which all of them have.

    `shared` is how many tokens each has in common with the line before. Less than `least` count as nothing.

    >>> tree = plant([np.array(ids, np.int32) for ids in ([1, 2, 3], [1, 2, 4, 5])], [0, 2], least=1)
    >>> tree.ids.tolist(), tree.depths.tolist(), tree.branches[1]
    ([1, 2, 3, 4, 5], [0, 1, 2, 2, 3], Branch(start=3, stop=5, path=((0, 2),)))
    """
    ids: list[Any] = []
    depths: list[Any] = []
    places: list[NDArray[np.int64]] = []
    branches: list[Branch] = []
    n = 0
    for line, alike in zip(lines, shared, strict=True):
        own = max(alike, skip) if alike - skip >= least or not places else skip
        begin = places[-1][: own - skip] if places else np.empty(0, dtype=np.int64)
        stop = n + len(line) - own
        places.append(np.concatenate((begin, np.arange(n, stop))))
        ids.append(line[own:])
        depths.append(np.arange(own, len(line)))
        if stop > n:
            branches.append(Branch(n, stop, _runs(begin)))
        n = stop
    flat = np.concatenate(ids) if ids else np.empty(0, dtype=np.int32)
    return Tree(flat, np.concatenate(depths) if depths else np.empty(0, dtype=np.int64), tuple(branches), tuple(places))


def forest(lines: Sequence[Ids], most: int) -> Iterator[tuple[list[int], Tree]]:
    """Yield trees of at most about `most` tokens, each with the positions of its lines, until every line is in one.

    >>> lines = [np.array(ids, np.int32) for ids in ([1, 2, 3], [7], [1, 2, 3])]
    >>> [(members, tree.ids.tolist()) for members, tree in forest(lines, most=99)]
    [([0, 2, 1], [1, 2, 3, 1, 2, 3, 7])]
    """
    members: list[int] = []
    shared: list[int] = []
    size = 0
    for i, alike in zip(*in_order(lines), strict=True):
        new = len(lines[i]) - (alike if alike >= _LEAST_SHARED else 0)
        if members and size + new > most:
            yield members, plant([lines[k] for k in members], shared)
            members, shared, size, alike, new = [], [], 0, 0, len(lines[i])
        members.append(i)
        shared.append(alike)
        size += new
    if members:
        yield members, plant([lines[k] for k in members], shared)


def _runs(places: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Return the stretches of numbers that follow on one another."""
    if not len(places):
        return ()
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    starts, stops = (0, *cuts.tolist()), (*cuts.tolist(), len(places))
    return tuple((int(places[a]), int(places[b - 1]) + 1) for a, b in zip(starts, stops, strict=True))
