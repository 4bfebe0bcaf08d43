"""The only writer of a database in a process: rows gather, and go in one transaction."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import ChainMap
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from agentprm.errors import StoreClosed, StoreError
from agentprm.store.database import Database, unreachable
from agentprm.store.encode import Encoder, Noun, Rows, microseconds
from agentprm.store.statements import Statements
from agentprm.types import Event, Stepped, new_id, utc_now

__all__ = ["Durability", "Writer"]

Durability: TypeAlias = Literal["step", "group", "episode"]
"""What may be lost when the process is killed: nothing; 1,000 steps or 50 ms; the open episodes."""

_log = logging.getLogger("agentprm.store")
_GROUP_STEPS = 1_000
_GROUP_S = 0.05
_MOST_WAITING = 100_000
"""Rows kept in memory while the database refuses them."""
_PATIENCE = 4
"""After an attempt that failed, a recorder goes on undisturbed this many times as long as it took."""
_NOUNS = {"trajectory": (1, 2, 3), "step": (5,), "tool_call": (3,), "score": (0, 3), "score_note": (0,)}
"""Where a row names a noun whose integer is only known inside the transaction."""


class Writer:
    """Takes events and rows; decides when they go to disk. Safe to use from several threads."""

    def __init__(self, database: Database, durability: Durability) -> None:
        if durability not in get_args(Durability):
            raise StoreError(f"durability is one of {get_args(Durability)}, not {durability!r}")
        self.durability = durability
        self.dropped = 0
        """Steps that will never reach the database."""
        self.encoder = Encoder(native_uuid=not database.is_sqlite)
        self._database = database
        self._sql = Statements(database.dialect)
        self._known: dict[Noun, int] = {}
        self._rows, self._since, self._not_before = Rows(), 0.0, 0.0
        self._lock = threading.RLock()
        self._id, self._seq = new_id(), 0
        self._timer: threading.Thread | None = None
        self._wake = threading.Event()
        self._closed = self._warned = False

    def write(self, event: Event) -> None:
        """Take one event. Never raises: what cannot be kept is counted in `dropped` and logged once."""
        try:
            with self._lock:
                self._encode(event)
                if self._is_due(event) and time.monotonic() >= self._not_before:
                    self._commit()
        except Exception as error:
            self._warn(error)

    def _encode(self, event: Event) -> None:
        before = self._rows.sizes()
        try:
            if self._closed:
                raise StoreClosed("the store is closed")
            self.encoder.encode(event, self._rows)
        except Exception:
            self._rows.shrink(before)  # half a step is none
            self.dropped += isinstance(event, Stepped)
            raise

    def add(self, rows: Rows) -> None:
        """Put rows on disk now, behind all that waits, or none of them; raises StoreError."""
        with self._lock:
            self.flush()
            try:
                self._transact(rows)
            except Exception as error:
                raise unreachable(self._database, error) from error

    def flush(self) -> None:
        """Put everything that waits on disk; raises StoreError when the database refuses."""
        with self._lock:
            try:
                self._commit()
            except Exception as error:
                raise StoreError(f"{len(self._rows)} rows are not on disk yet: {error}") from error

    def close(self) -> None:
        """Flush; what the database refuses even now is counted and logged, never raised."""
        with self._lock:
            if self._closed:
                return
            try:
                self._commit()
            except Exception as error:
                self.dropped += self._rows.n_steps
                _log.error("%d steps were lost at close: %s", self._rows.n_steps, error)
            self._closed = True
            self._wake.set()

    def abandon(self) -> None:
        """Forget what the parent process still had waiting, in a child after fork: the parent writes it."""
        self._rows, self._since, self._timer, self._lock = Rows(), 0.0, None, threading.RLock()
        self._wake, self._id, self._seq = threading.Event(), new_id(), 0

    def _is_due(self, event: Event) -> bool:
        if self.durability == "step":
            return True
        if self.durability == "episode":
            return bool(self._rows.ended) or self._rows.n_steps >= _MOST_WAITING
        now = time.monotonic()
        if not self._since:
            self._since = now
            self._start_timer()
        return self._rows.n_steps >= _GROUP_STEPS or now - self._since >= _GROUP_S

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = threading.Thread(target=self._tick, name="agentprm-store", daemon=True)
            self._timer.start()
        self._wake.set()

    def _tick(self) -> None:
        """Write when recording has gone idle, and when the database is back; a busy recorder notices by itself."""
        wake = self._wake
        while not self._closed and wake is self._wake:
            wake.wait()
            wake.clear()
            time.sleep(_GROUP_S)
            with self._lock:
                if not self._since or self._closed or wake is not self._wake:
                    continue
                if time.monotonic() < self._not_before:
                    wake.set()
                    continue
                try:
                    self._commit()
                except Exception as error:
                    self._warn(error)

    def _commit(self) -> None:
        """Write what waits; raises what the database says while it is away, and then the rows go on waiting."""
        started, away = time.monotonic(), None
        if self._rows:
            try:
                self._transact(self._rows)
                self._rows = Rows()
            except Exception as error:
                away = error if self._database.is_away(error) else self._salvage()
        if away is not None:
            self._wait(started)
            raise away
        self._since = 0.0

    def _salvage(self) -> Exception | None:
        """Write each trajectory by itself, so that one which was deleted meanwhile takes no other with it."""
        rows, self._rows, away = self._rows, Rows(), None
        for part in rows.by_trajectory().values():
            try:
                self._transact(part)
            except Exception as error:
                if self._database.is_away(error):
                    away = error
                    self._rows.extend(part)
                else:
                    self.dropped += part.n_steps
                    self._warn(error)
        return away

    def _wait(self, started: float) -> None:
        now = time.monotonic()
        self._not_before = now + _PATIENCE * (now - started)
        if len(self._rows) > _MOST_WAITING:
            self.dropped += self._rows.n_steps
            self._rows = Rows()
        self._since = self._since or now
        self._start_timer()

    def _transact(self, rows: Rows) -> None:
        try:
            self._insert(rows)
        except Exception as error:
            if not self._known or self._database.is_away(error):
                raise
            self._known.clear()  # a noun may have been deleted with its last trajectory
            self._insert(rows)

    def _insert(self, rows: Rows) -> None:
        with self._database.writing() as cursor:
            fresh = self._resolve(cursor, rows)
            ids = ChainMap(fresh, self._known)
            for name in Rows.TABLES:
                if batch := rows.tables[name]:
                    _insert(cursor, self._sql.insert[name], _with_ids(name, batch, ids))
            if rows.ended:
                cursor.executemany(self._sql.end, rows.ended)
            if self.durability != "step":
                self._seq += 1
                now = microseconds(utc_now())
                key = self._id if self.encoder.native_uuid else self._id.bytes
                cursor.execute(self._sql.insert["ingest"], (key, self._seq, now, len(rows)))
        if len(self._known) > _MOST_WAITING:
            self._known.clear()
        self._known |= fresh

    def _resolve(self, cursor: Any, rows: Rows) -> dict[Noun, int]:
        """Return the integers of the nouns not met before, making the rows that do not exist yet."""
        fresh: dict[Noun, int] = {}
        for noun, row in rows.nouns.items():
            if noun in self._known:
                continue
            key, values = _noun_row(noun, row)
            cursor.execute(self._sql.find[noun.table], key)
            found = cursor.fetchone()
            if found is None:
                cursor.execute(self._sql.insert[noun.table], values)
                cursor.execute(self._sql.find[noun.table], key)
                found = cursor.fetchone()
            fresh[noun] = found[0]
        return fresh

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("recording cannot write (further failures are only counted): %s", error)


def _insert(cursor: Any, statement: str, rows: list[tuple[Any, ...]]) -> None:
    if len(rows) == 1:
        cursor.execute(statement, rows[0])
    else:
        cursor.executemany(statement, rows)


def _with_ids(table: str, rows: list[tuple[Any, ...]], ids: Mapping[Noun, int]) -> list[tuple[Any, ...]]:
    columns = _NOUNS.get(table)
    if columns is None or (table == "step" and all(row[5] is None for row in rows)):
        return rows
    resolved = []
    for row in rows:
        new = list(row)
        for column in columns:
            if new[column] is not None:
                new[column] = ids[new[column]]
        resolved.append(tuple(new))
    return resolved


def _noun_row(noun: Noun, row: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what finds a noun's row, and the row to make when there is none."""
    if noun.table == "task":
        key = (row[0], _hash(row[1]))
        return key, (*key, row[1])
    if noun.table == "scorer":
        return row[:1], (*row, microseconds(utc_now()))
    return row[:1], row


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
