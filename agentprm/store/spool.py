"""Where batches wait while their database is away: a small SQLite file, which a killed process leaves behind."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from heapq import merge
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.engine import URL

from agentprm.store.file import identity
from agentprm.store.rows import Rows
from agentprm.store.spooled import rows_from_json, rows_to_json
from agentprm.store.url import plain_url

__all__ = ["Batch", "Spool", "places"]

_log = logging.getLogger("agentprm.store")
_BUSY_S = 1.0
_MOST_BATCHES, _MOST_STEPS = 200, 2_000
"""What is drained in one transaction."""
_COLUMNS = "writer BLOB, seq INTEGER, n_steps INTEGER, rows TEXT, PRIMARY KEY (writer, seq)"
_inherited: list[Any] = []
"""A parent's connections: closing one in a child would take the journal from under the parent."""


class Batch(NamedTuple):
    """The rows of one transaction that did not take place."""

    writer: UUID
    seq: int
    n_steps: int
    rows: Rows


def places(url: URL) -> list[Path]:
    """Return where the batches of a database may lie, the preferred place first.

    A file's stand beside it, or, where that cannot be written, with those of the servers in the user's state folder;
    the environment variable ``AGENTPRM_SPOOL`` names a folder to use instead.
    """
    is_file = url.get_backend_name() == "sqlite"
    name = hashlib.blake2b((str(url.database) if is_file else plain_url(url)).encode(), digest_size=8).hexdigest()
    if named := os.environ.get("AGENTPRM_SPOOL"):
        return [Path(named, f"{name}.spool")]
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "agentprm", f"{name}.spool")
    return [Path(f"{url.database}.spool"), state] if is_file else [state]


class Spool:
    """The batches that a database could not take yet. Several threads and processes may add and drain together."""

    def __init__(self, url: URL) -> None:
        self._files = [_File(path) for path in places(url)]
        self._lock = threading.RLock()

    def append(self, writer: UUID, seq: int, rows: Rows) -> Path:
        """Put a batch on disk and return where; raises OSError or sqlite3.Error when there is no place for it."""
        text, refused = rows_to_json(rows), None
        with self._lock:
            for file in self._files:
                try:
                    file.append((writer.bytes, seq, rows.n_steps, text))
                    return file.path
                except (OSError, sqlite3.Error) as error:
                    refused = refused or error
        raise refused or OSError("no place to spool in")

    def oldest(self) -> list[Batch]:
        """Return some batches, each writer's in order; none when nothing waits."""
        with self._lock:
            keys = merge(*(file.keys() for file in self._files), key=itemgetter(0))
            chosen, n_steps = [], 0
            for key, size, file in islice(keys, _MOST_BATCHES):
                if (found := file.read(key)) is not None:
                    chosen.append(Batch(UUID(bytes=key[0]), key[1], size, rows_from_json(found)))
                n_steps += size
                if n_steps >= _MOST_STEPS:
                    break
        return chosen

    def remove(self, batches: Sequence[Batch]) -> None:
        """Forget batches that their database holds now."""
        with self._lock:
            for file in self._files:
                file.remove([(batch.writer.bytes, batch.seq) for batch in batches])

    def n_steps(self) -> int:
        """Return how many steps wait."""
        with self._lock:
            return sum(file.n_steps() for file in self._files)

    def paths(self) -> list[Path]:
        """Return the files in which something may wait."""
        return [file.path for file in self._files if file.path.exists()]

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for file in self._files:
                file.close()

    def abandon(self) -> None:
        """Forget the parent's connections, in a child after fork, without touching them."""
        self._lock = threading.RLock()
        for file in self._files:
            file.abandon()


class _File:
    """One file of batches; opened when it is needed, and anew when somebody has put another in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._is_made = False

    def append(self, row: tuple[Any, ...]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._writing(create=True) as connection:
            connection.execute("INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?)", row)

    def keys(self) -> Iterator[tuple[tuple[bytes, int], int, _File]]:
        query = f"SELECT writer, seq, n_steps FROM batch ORDER BY writer, seq LIMIT {_MOST_BATCHES}"
        return (((writer, seq), n_steps, self) for writer, seq, n_steps in self._ask(query))

    def read(self, key: tuple[bytes, int]) -> str | None:
        found = self._ask("SELECT rows FROM batch WHERE writer = ? AND seq = ?", key)
        return found[0][0] if found else None

    def remove(self, keys: list[tuple[bytes, int]]) -> None:
        if any(True for _ in self.keys()):
            with self._writing() as connection:
                connection.executemany("DELETE FROM batch WHERE writer = ? AND seq = ?", keys)

    def n_steps(self) -> int:
        found = self._ask("SELECT coalesce(sum(n_steps), 0) FROM batch")
        return int(found[0][0]) if found else 0

    def _ask(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        try:
            return self._open().execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            if "unable to open" not in str(error) and "readonly" not in str(error):
                raise
            return self._look(query, values)
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            return []

    def _look(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Read where nothing may be written, not even the journal that reading needs."""
        try:
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?immutable=1", uri=True)
            try:
                return connection.execute(query, values).fetchall()
            finally:
                connection.close()
        except sqlite3.Error:
            return []

    @contextmanager
    def _writing(self, create: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._open(create)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.close()  # which rolls back
            raise

    def _open(self, create: bool = False) -> sqlite3.Connection:
        if self._connection is None or self._identity != identity(self.path) or (create and not self._is_made):
            self.close()
            mode = "rwc" if create else "rw"
            address = f"{self.path.absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(
                address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection, self._identity, self._is_made = connection, identity(self.path), create
            if create:
                _prepare(connection)
        return self._connection

    def _set_aside(self, error: Exception) -> None:
        """Put a file that is no spool out of the way, so that it stops nobody."""
        self.close()
        with suppress(OSError):
            self.path.rename(f"{self.path}.broken")
        _log.error("%s cannot be read (%s): it lies in %s.broken now", self.path, error, self.path)

    def close(self) -> None:
        connection, self._connection, self._identity = self._connection, None, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        _inherited.append(self._connection)
        self._connection = self._identity = None


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum=FULL")  # what was drained gives its room back
    with suppress(sqlite3.OperationalError):  # another process is doing the same to a new file
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"CREATE TABLE IF NOT EXISTS batch ({_COLUMNS})")
