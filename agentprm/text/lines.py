"""A text that a backbone has read, with room to go on."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from agentprm.text.tree import Ids

__all__ = ["Line", "room_for"]

_SMALLEST_ROOM = 128


class Line:
    """A text that was read: its ids, keys and values, and the states at the ends of its steps."""

    def __init__(self) -> None:
        self.ids: Ids = np.empty(0, dtype=np.int32)
        self.key = b""
        """The ids as bytes: what begins with it begins with this line."""
        self.ends: tuple[int, ...] = ()
        self.states: Tensor | None = None
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._room = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def room(self) -> int:
        """How many tokens it has memory for."""
        return self._room

    def reserve(self, n: int) -> None:
        """Make room for `n` tokens: at least twice what it was, so that growing copies each token only a few times."""
        if n <= self._room:
            return
        self._room = room_for(n, self._room)
        self._kept = {layer: (self._grown(k), self._grown(v)) for layer, (k, v) in self._kept.items()}

    def write(self, layer: int, at: int, key: Tensor, value: Tensor, /) -> tuple[Tensor, Tensor]:
        """Put keys and values of a layer behind the first `at` tokens; return those of all of them, without a copy."""
        if layer not in self._kept:
            self._kept[layer] = self._empty(key), self._empty(value)
        stop, kept = at + key.shape[2], self._kept[layer]
        for whole, new in zip(kept, (key, value), strict=True):
            whole[:, :, at:stop] = new
        return kept[0][:, :, :stop], kept[1][:, :, :stop]

    def extend(self, ids: Ids, ends: tuple[int, ...], states: Tensor) -> None:
        """Take in that it now says all this; keys and values were written."""
        self.ids, self.key, self.ends, self.states = ids, ids.tobytes(), ends, states

    def beginning(self, n: int, room: int) -> Line:
        """Return a copy of the first `n` tokens, with room for more."""
        copy = Line()
        n_ends = sum(end < n for end in self.ends)
        if self.states is not None:
            copy.extend(self.ids[:n], self.ends[:n_ends], self.states[:n_ends])
        copy.reserve(room)
        for layer, (key, value) in self._kept.items():
            copy.write(layer, 0, key[:, :, :n], value[:, :, :n])
        return copy

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_empty((1, like.shape[1], self._room, like.shape[3]))

    def _grown(self, old: Tensor) -> Tensor:
        new = self._empty(old)
        new[:, :, : len(self)] = old[:, :, : len(self)]
        return new


def room_for(n: int, room: int) -> int:
    """Return for how many tokens a line has memory that had it for `room`, and now needs it for `n`."""
    return room if n <= room else max(n, 2 * room, _SMALLEST_ROOM)
