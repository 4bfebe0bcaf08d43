"""What can still be read of a damaged SQLite file: rows, table by table, around what cannot."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from agentprm.errors import NotOurDatabase

__all__ = ["Remains"]

Row: TypeAlias = tuple[Any, ...]
_MAGIC = b"SQLite format 3\0"
_SEARCHED = 64
"""Row numbers tried one by one behind a gap, before the stride doubles: more than stand on a page of ours."""
_FAR = 2**32


class Remains:
    """A copy of a damaged file, read table by table; the file itself is never written to.

    Raises NotOurDatabase when there is nothing of a SQLite file in it, OSError when it cannot be copied.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        copy = folder / "remains.db"
        shutil.copyfile(path, copy)
        if (journal := Path(f"{path}-wal")).exists():
            shutil.copyfile(journal, f"{copy}-wal")
        _mend_header(path, copy)
        self.gaps: dict[str, int] = {}
        """By table, how many stretches could not be read."""
        self._db = sqlite3.connect(copy, isolation_level=None)
        self._db.execute("PRAGMA writable_schema=ON")  # else a file that was cut short is refused as a whole
        self._db.execute("PRAGMA cell_size_check=ON")

    def close(self) -> None:
        """Let go of the copy."""
        self._db.close()

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table; none where even its definition is lost."""
        try:
            return [row[1] for row in self._db.execute(f"PRAGMA table_info({table})")]
        except sqlite3.DatabaseError:
            return []

    def numbered(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows of a table that numbers them, in that order."""
        names, last = ", ".join(columns), -_FAR
        query = f"SELECT rowid, {names} FROM {table} WHERE rowid > ? ORDER BY rowid"
        while True:
            try:
                for number, *row in self._db.execute(query, (last,)):
                    last = number
                    yield tuple(row)
                return
            except sqlite3.DatabaseError:
                self._note(table)
                after = self._beyond(table, names, last)
                if after is None:
                    return
                last = after - 1

    def keyed(self, table: str, columns: Sequence[str], prefixes: Sequence[Sequence[Any]]) -> Iterator[Row]:
        """Yield the rows of a table without row numbers: all at once, or, where that fails, prefix of a key by prefix.

        `prefixes` holds, for each of the key's first columns, the values that it may have.
        """
        names = ", ".join(columns)
        try:
            yield from self._db.execute(f"SELECT {names} FROM {table}")
            return
        except sqlite3.DatabaseError:
            self._note(table)
        keys = [row[1] for row in self._db.execute(f"PRAGMA table_info({table})") if row[5]][: len(prefixes)]
        query = f"SELECT {names} FROM {table} WHERE {' AND '.join(f'{key} = ?' for key in keys)}"
        for values in product(*prefixes):
            try:
                yield from self._db.execute(query, values)
            except sqlite3.DatabaseError:
                self._note(table)

    def last(self, table: str, keys: Sequence[Any]) -> dict[Any, int | None]:
        """Return the index of the last row of each trajectory, as the key of the table has it; None where that is lost.

        An episode of which only the beginning can be read looks like a short one, but for this.
        """
        query = f"SELECT coalesce(max(idx), -2) FROM {table} WHERE trajectory_id = ?"
        found: dict[Any, int | None] = {}
        for key in keys:
            try:
                found[key] = int(self._db.execute(query, (key,)).fetchone()[0])
            except sqlite3.DatabaseError:
                found[key] = None
        return found

    def _note(self, table: str) -> None:
        self.gaps[table] = self.gaps.get(table, 0) + 1

    def _beyond(self, table: str, names: str, last: int) -> int | None:
        """Return the number of the first row behind a gap that begins after `last`; None if there is none."""
        query = f"SELECT rowid, {names} FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"

        def found(number: int) -> int | None:
            row = self._db.execute(query, (number,)).fetchone()
            return None if row is None else int(row[0])

        bad, step = last + 1 if last > -_FAR else 0, 1
        for tried in range(_SEARCHED + _FAR.bit_length()):
            try:
                found(bad + step)
            except sqlite3.DatabaseError:
                bad, step = bad + step, step if tried < _SEARCHED else 2 * step
            else:
                return found(_first_good(found, bad, bad + step))
        return None


def _first_good(found: Callable[[int], Any], bad: int, good: int) -> int:
    """Return the least number behind `bad` from which a row can be read, `good` at the latest."""
    while good - bad > 1:
        middle = (bad + good) // 2
        try:
            found(middle)
            good = middle
        except sqlite3.DatabaseError:
            bad = middle
    return good


def _mend_header(path: Path, copy: Path) -> None:
    """Give a file back its first sixteen bytes, if what follows is the header of a SQLite file; end it after a page.

    Of half a page the missing half would be read as zeros, and zeros as values.
    """
    with copy.open("r+b") as file:
        header = file.read(100)
        if header[21:24] != b"\x40\x20\x20":
            raise NotOurDatabase(f"{path} holds nothing of a SQLite database: there is nothing to salvage in it")
        if header[:16] != _MAGIC:
            file.seek(0)
            file.write(_MAGIC)
        page = int.from_bytes(header[16:18], "big")
        page = 65_536 if page == 1 else page
        if page:
            file.truncate(copy.stat().st_size // page * page)
