"""Replies that were paid for, kept in a SQLite file: text by key, for any number of threads and processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from pathlib import Path

from agentprm.errors import InvalidSpec

__all__ = ["Kept"]

_MAKE = "CREATE TABLE IF NOT EXISTS reply (key TEXT PRIMARY KEY, said TEXT NOT NULL) WITHOUT ROWID"


class Kept(MutableMapping[str, str]):
    """A mapping in a file, which is made where there is none; raises InvalidSpec for a file that is something else."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute(_MAKE)
        except (sqlite3.Error, OSError) as error:
            raise InvalidSpec(f"cache={str(path)!r} cannot hold replies ({error}): name a new file") from error

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        # A connection for each use: none is shared between threads, and none is carried over a fork.
        with closing(sqlite3.connect(self.path, timeout=60)) as database, database:
            yield database

    def __getitem__(self, key: str) -> str:
        with self._opened() as database:
            row = database.execute("SELECT said FROM reply WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return str(row[0])

    def __setitem__(self, key: str, said: str) -> None:
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO reply VALUES (?, ?)", (key, said))

    def __delitem__(self, key: str) -> None:
        with self._opened() as database:
            if not database.execute("DELETE FROM reply WHERE key = ?", (key,)).rowcount:
                raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        with self._opened() as database:
            keys = [str(key) for (key,) in database.execute("SELECT key FROM reply ORDER BY key")]
        return iter(keys)

    def __len__(self) -> int:
        with self._opened() as database:
            return int(database.execute("SELECT count(*) FROM reply").fetchone()[0])
