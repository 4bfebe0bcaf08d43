"""Which text begins like another: histories that grow from turn to turn, prompts that many runs have in common."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

__all__ = ["Likeness", "shared_prefix"]

LEAST = 256
"""So many bytes must two texts begin alike for one to be stored as the rest behind the other."""
_FAN, _LEVELS = 8, 8
_MOST_PLACES, _MOST_LEADS = 1_000, 1_000
_MOST_BYTES = 32_000_000


def shared_prefix(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts begin alike.

    >>> shared_prefix(b"abcd", b"abXd"), shared_prefix(b"ab", b"abc"), shared_prefix(b"", b"a")
    (2, 2, 0)
    """
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high - 1:  # they differ before high
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Likeness:
    """Finds, for a new text, a known one that begins alike: of the same place one step earlier, or of any other.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._grown: OrderedDict[tuple[Any, str], _Grown] = OrderedDict()
        self._leads: OrderedDict[bytes, tuple[str, bytes]] = OrderedDict()
        self._n_bytes, self._lock = 0, threading.Lock()

    def base(self, name: str, data: bytes, place: tuple[Any, str]) -> tuple[str | None, int]:
        """Return the name of a text that begins like `data`, and how many bytes they share; None where there is none.

        Following bases from any text ends after a number of them that is logarithmic in the length of its trajectory.
        """
        if len(data) < 2 * LEAST:
            return None, 0
        with self._lock:
            lead = self._of_lead(name, data)
            grown = self._of_place(name, data, place)
            self._make_room()
        best = max(lead, grown, key=lambda found: found[1])
        return best if best[1] >= LEAST and best[0] != name else (None, 0)

    def forget(self, key: Any) -> None:
        """Forget the places of one trajectory."""
        with self._lock:
            for place in [place for place in self._grown if place[0] == key]:
                self._n_bytes -= len(self._grown.pop(place).latest)

    def _of_lead(self, name: str, data: bytes) -> tuple[str | None, int]:
        known = self._leads.get(data[:LEAST])
        if known is None:
            self._leads[data[:LEAST]] = (name, data)
            self._n_bytes += len(data)
            return None, 0
        self._leads.move_to_end(data[:LEAST])
        return known[0], shared_prefix(known[1], data)

    def _of_place(self, name: str, data: bytes, place: tuple[Any, str]) -> tuple[str | None, int]:
        grown = self._grown.pop(place, None)
        found: tuple[str | None, int] = (None, 0)
        if grown is not None:
            self._n_bytes -= len(grown.latest)
            found = grown.next(name, data)
        self._grown[place] = grown if grown is not None and found[1] >= LEAST else _Grown(name, data)
        self._n_bytes += len(data)
        return found

    def _make_room(self) -> None:
        while self._grown and (len(self._grown) > _MOST_PLACES or self._n_bytes > _MOST_BYTES):
            self._n_bytes -= len(self._grown.popitem(last=False)[1].latest)
        while self._leads and (len(self._leads) > _MOST_LEADS or self._n_bytes > _MOST_BYTES):
            self._n_bytes -= len(self._leads.popitem(last=False)[1][1])


class _Grown:
    """The texts of one place, each beginning like the one before.

    The n-th stands behind the one before it; if 8 divides n, behind the one 8 before; if 64 does, 64 before; and so on.
    So T turns cost T log T bytes of news in all, and a text is put together from at most 7 log₈ T pieces.
    """

    __slots__ = ("_marks", "_n", "latest")

    def __init__(self, name: str, data: bytes) -> None:
        self.latest, self._n = data, 0
        self._marks = [(name, len(data))] * _LEVELS

    def next(self, name: str, data: bytes) -> tuple[str, int]:
        """Take the next text; return the base that it stands behind, and how many bytes they share."""
        alike = shared_prefix(self.latest, data)
        self.latest, self._n = data, self._n + 1
        self._marks = [(mark, min(shared, alike)) for mark, shared in self._marks]
        level = max(level for level in range(_LEVELS) if self._n % _FAN**level == 0)
        base = self._marks[level]
        self._marks[: level + 1] = [(name, len(data))] * (level + 1)
        return base
