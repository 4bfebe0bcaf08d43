"""Blobs into their table, once each: a writer remembers which ones are there for certain.

Garbage is collected in generations. Who refers to a blob puts it, or touches it, in the present generation, inside the
transaction of the row that refers to it; a collector begins a new generation, looks at what is referred to, and then
takes only what no generation since has touched. So neither waits for the other.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from agentprm.store.blobs import LONG, TEXTS
from agentprm.store.copying import copy_rows
from agentprm.store.rows import Blob
from agentprm.store.statements import Statements

__all__ = ["Kept", "unpacked"]

_MOST_KNOWN = 100_000
_MANY = 10


class Kept:
    """The names of blobs that the database holds for certain until its next collection of garbage."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql
        self._names: OrderedDict[str, None] = OrderedDict()
        self._generation = 0

    def forget(self) -> None:
        """Forget every name."""
        self._names.clear()

    def remember(self, names: Iterable[str]) -> None:
        """Remember blobs that are committed now."""
        self._names.update(dict.fromkeys(names))
        while len(self._names) > _MOST_KNOWN:
            self._names.popitem(last=False)

    def put(self, cursor: Any, blobs: Iterable[Blob | tuple[Any, ...]]) -> dict[str, None]:
        """Insert or touch the blobs that are not known yet; return their names, to be remembered once committed."""
        blobs = list(blobs)
        # What is new stands in the present generation whichever that is; only who relies on what was has to ask.
        relies = any(blob[0] in self._names or blob[3] in self._names for blob in blobs)
        relies = relies or not self._sql.is_sqlite or not self._generation
        generation = self._present(cursor) if relies else self._generation
        fresh: dict[str, None] = {}
        rows = []
        for name, media_type, data, base, shared in blobs:
            if name in self._names:
                self._names.move_to_end(name)
            elif name not in fresh:
                is_there = base in self._names or base in fresh
                cells = self._cells(media_type, data, base, shared * is_there)
                when = () if self._sql.is_sqlite else (generation,)
                rows.append((name, media_type, *when, *cells))
                fresh[name] = None
        if rows:
            self._insert(cursor, rows)
        return fresh

    def _present(self, cursor: Any) -> int:
        for statement in self._sql.generation:
            cursor.execute(statement)
        generation = int(cursor.fetchone()[0])
        if generation != self._generation:
            self.forget()
            self._generation = generation
        return generation

    def _insert(self, cursor: Any, rows: list[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            cursor.execute(self._sql.keep, rows[0])
            return
        copy = self._sql.copy.get("blob")
        if copy is None or len(rows) < _MANY or not copy_rows(cursor, copy, rows):
            cursor.executemany(self._sql.keep, rows)

    def _cells(self, media_type: str, data: bytes, base: str | None, shared: int) -> tuple[Any, ...]:
        """Return base, shared, n_chars, n_bytes, data; where the server compresses, it is left to it."""
        if media_type not in TEXTS:
            return None, None, None, None, data
        n_chars = len(data) if data.isascii() else len(data.decode(errors="replace"))
        rest = data[shared:] if shared else data
        behind = (base, shared) if shared else (None, None)
        packed = _packed(rest) if self._sql.is_sqlite and len(rest) >= LONG else rest
        return (*behind, n_chars, len(rest), packed) if len(packed) < len(rest) else (*behind, n_chars, None, rest)


def _packed(data: bytes) -> bytes:
    # A smaller state than zlib's usual one, which takes longer to set up than a short text to compress.
    window, memory = (12, 4) if len(data) < 4_096 else (zlib.MAX_WBITS, 8)
    packing = zlib.compressobj(1, zlib.DEFLATED, window, memory)
    return packing.compress(data) + packing.flush()


def unpacked(data: Any, n_bytes: int | None) -> bytes:
    """Return what was stored as `data`; `n_bytes` is its length before it was compressed, None where it was not.

    Raises ValueError for what was damaged.
    """
    try:
        return bytes(data) if n_bytes is None else zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(f"a compressed text is damaged: {error}") from error
