"""What was computed of texts is kept: a longer text costs what is new in it.

Kept are lines: token ids, the keys and values of every layer, and what the backbone made of the ends of steps. A text
is looked up by its ids alone, whoever asks, and may agree with a line to its end or part from it anywhere before.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agentprm.text.attention import Row
from agentprm.text.groups import Group, grouped, past, row_of, rows
from agentprm.text.lines import Line, room_for
from agentprm.text.tree import Ids, common, plant
from agentprm.text.windows import Window

__all__ = ["PrefixCache"]

_LEAST_KEPT = 16
"""Tokens: a line that agrees with a text in fewer is of no use to it."""
_MOST_SEEN = 65_536
_MOST_TOLD = 4_096

Run = Callable[[Sequence[Row]], Tensor]
"""Makes a state of each token of some rows, one behind the other: shape (tokens, width)."""


@dataclass(slots=True)
class PrefixCache:
    """Lines that were read lately, in at most so many bytes; the one that was not used for longest goes first.

    It may be asked by several threads: one after the other is answered. A copy of it begins empty.
    """

    most_bytes: int
    bytes_per_token: int
    """Of keys and values, in all layers."""
    most_tokens: int = 16_384
    """In one pass, of texts that are not kept."""
    encoded_tokens: int = 0
    """How many tokens went through the backbone so far."""
    _lines: list[Line] = field(default_factory=list)
    """Least recently used first."""
    _seen: dict[int, None] = field(default_factory=dict)
    """Hashes of what was read lately, whether it was kept or not."""
    _told: dict[bytes | None, Tensor] = field(default_factory=dict)
    """What was said lately of windows with one step: of a context that is rewritten, every step has a window."""
    _version: Any = None
    _lock: Any = field(default_factory=RLock)

    @property
    def n_bytes(self) -> int:
        """How much memory the lines take."""
        return sum(line.room for line in self._lines) * self.bytes_per_token

    def __len__(self) -> int:
        return len(self._lines)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._lines.clear()
            self._seen.clear()
            self._told.clear()

    def states(self, windows: Sequence[Window], run: Run, version: Any) -> list[Tensor]:
        """Return what the backbone makes of the ends of each window: one tensor (ends, width) each.

        `version` names the weights: under another one, everything is forgotten first.
        """
        with self._lock:
            if version != self._version:
                self.clear()
                self._version = version
            keys = [_name(window) for window in windows]
            told = {i: self._told[key] for i, key in enumerate(keys) if key in self._told}
            new = [i for i in range(len(windows)) if i not in told]
            told |= zip(new, self._states([windows[i] for i in new], run), strict=True) if new else ()
            self._told |= {key: told[i] for i, key in enumerate(keys) if key is not None}
            _shorten(self._told, _MOST_TOLD)
            return [told[i] for i in range(len(windows))]

    def _states(self, windows: Sequence[Window], run: Run) -> list[Tensor]:
        lines = [np.frombuffer(window.ids, dtype=np.int32) for window in windows]
        kept, others = self._chosen(windows, grouped(windows, lines))
        for group in kept:
            group.row = _row(group, windows, lines)
        apart = [i for group in others for i in group.members]
        trees = list(rows([windows[i] for i in apart], self.most_tokens))
        asked = [*(group.row for group in kept if group.row), *(row for _, row, _ in trees)]
        self.encoded_tokens += sum(len(row.tree) for row in asked)
        flat = run(asked)
        found = self._taken(kept, windows, flat)
        offset = sum(len(group.row.tree) for group in kept if group.row)
        for members, row, places in trees:
            for k, place in zip(members, places, strict=True):
                found[apart[k]] = flat[offset + place]
            offset += len(row.tree)
        self._remember(lines, windows)
        return [found[i] for i in range(len(windows))]

    def _taken(self, kept: Iterable[Group], windows: Sequence[Window], flat: Tensor) -> dict[int, Tensor]:
        """Return the states of each window of the groups, and let their lines grow by what all of a group share."""
        found: dict[int, Tensor] = {}
        start = 0
        for group in kept:
            assert group.row is not None
            assert group.line is not None
            places = group.row.tree.places
            for i, place in zip(group.members, places, strict=True):
                found[i] = _with_known(group, windows[i], flat, start + place)
            start += len(group.row.tree)
            first = group.members[0]
            n_ends = bisect_left(windows[first].ends, len(group.trunk))
            group.line.extend(group.trunk, windows[first].ends[:n_ends], found[first][:n_ends])
        return found

    def _chosen(self, windows: Sequence[Window], groups: list[Group]) -> tuple[list[Group], list[Group]]:
        """Return the groups whose text is kept, each with its line, and the others."""
        kept: list[Group] = []
        others: list[Group] = []
        claimed: list[Line] = []
        for group in groups:
            line = self._line(group, windows, claimed) if self._goes_on(group, windows) else None
            if line is None:
                others.append(group)
                continue
            group.line = line
            claimed.append(line)
            kept.append(group)
        return kept, others

    def _goes_on(self, group: Group, windows: Sequence[Window]) -> bool:
        """Return whether it looks like an episode that is being lived, and not like one that is looked back on."""
        window = windows[group.members[0]]
        return len(group.members) > 1 or len(window.ends) == 1 or _hash(group.trunk[: past(window)]) in self._seen

    def _line(self, group: Group, windows: Sequence[Window], claimed: list[Line]) -> Line | None:
        """Return the line that this text goes on, new or cut off if need be; None where there is no room for it."""
        best, known = self._nearest(group.trunk)
        known = 0 if best is None else _usable(best, known, windows[group.members[0]])
        needed = len(group.trunk) + sum(
            len(windows[i].ids) - max(shared, len(group.trunk))
            for i, shared in zip(group.members, [0, *group.shared[1:]], strict=True)
        )
        goes_on = best is not None and known == len(best) and not any(best is line for line in claimed)
        room = room_for(needed, best.room if goes_on and best else 0)
        if not self._free(room - (best.room if goes_on and best else 0), [*claimed, *([best] if best else [])]):
            return None
        group.known = known
        if best is not None and goes_on:
            self._lines = [line for line in self._lines if line is not best]
            line = best
        else:
            line = Line() if best is None or not known else best.beginning(known, needed)
        line.reserve(needed)
        self._lines.append(line)
        return line

    def _nearest(self, trunk: Ids) -> tuple[Line | None, int]:
        """Return the line with which a text agrees longest, and for how many tokens."""
        key = trunk.tobytes()
        whole = max((line for line in self._lines if key.startswith(line.key)), key=len, default=None)
        if whole is not None and len(whole):
            return whole, len(whole)
        agree = [(common(line.ids, trunk), i) for i, line in enumerate(self._lines)]
        n, i = max(agree, default=(0, -1))
        return (self._lines[i], n) if n >= _LEAST_KEPT else (None, 0)

    def _free(self, tokens: int, needed: Sequence[Line]) -> bool:
        """Make room for more tokens; return False, and leave what is there, when that cannot be."""
        excess = self.n_bytes + tokens * self.bytes_per_token - self.most_bytes
        if excess <= 0:
            return True
        spare = [line for line in self._lines if not any(line is one for one in needed)]
        if sum(line.room for line in spare) * self.bytes_per_token < excess:
            return False
        while excess > 0:
            gone = spare.pop(0)
            excess -= gone.room * self.bytes_per_token
            self._lines = [line for line in self._lines if line is not gone]
        return True

    def _remember(self, lines: Sequence[Ids], windows: Sequence[Window]) -> None:
        for line, window in zip(lines, windows, strict=True):
            self._seen[_hash(line[: window.ends[-1] + 1])] = None
        _shorten(self._seen, _MOST_SEEN)

    def __deepcopy__(self, memo: Any) -> PrefixCache:
        return PrefixCache(self.most_bytes, self.bytes_per_token, self.most_tokens)

    def __reduce__(self) -> tuple[type[PrefixCache], tuple[int, int, int]]:
        return type(self), (self.most_bytes, self.bytes_per_token, self.most_tokens)


def _hash(ids: Ids) -> int:
    return hash(ids.tobytes())


def _name(window: Window) -> bytes | None:
    """Return the name of a window with one step; it says all that the step's state depends on."""
    if len(window.ends) != 1:
        return None
    return hashlib.blake2b(window.ids[: window.ends[0] + 1].tobytes(), digest_size=16).digest()


def _shorten(known: dict[Any, Any], most: int) -> None:
    while len(known) > most:
        del known[next(iter(known))]


def _usable(line: Line, known: int, window: Window) -> int:
    """Return how many of the tokens known can be left unread: up to the first end whose state was not kept."""
    n = bisect_left(window.ends, known)
    if window.ends[:n] == line.ends[:n]:
        return known
    return next(end for end, kept in zip_longest(window.ends[:n], line.ends[:n]) if end != kept)


def _row(group: Group, windows: Sequence[Window], lines: Sequence[Ids]) -> Row:
    tree = plant([lines[i] for i in group.members], group.shared, skip=group.known, least=1)
    new = (_new_ends(group, windows[i]) for i in group.members)
    return row_of(tree, [place[ends] for ends, place in zip(new, tree.places, strict=True)], group.line, group.known)


def _new_ends(group: Group, window: Window) -> list[int]:
    """Return where, behind what is known, steps of a window end."""
    return [end - group.known for end in window.ends[bisect_left(window.ends, group.known) :]]


def _with_known(group: Group, window: Window, flat: Tensor, place: Any) -> Tensor:
    """Return the states at the ends of a window: those that are known, and then those just made."""
    n_known = bisect_left(window.ends, group.known)
    new = _new_ends(group, window)
    states = flat[place[new]] if new else None
    if not n_known or group.line is None or group.line.states is None:
        assert states is not None
        return states
    old = group.line.states[:n_known]
    return old if states is None else torch.cat((old, states))
