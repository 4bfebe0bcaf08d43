"""The only writer of a database in a process: rows gather, and go in one transaction."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

from agentprm.errors import StoreClosed, StoreError
from agentprm.store.backlog import Backlog
from agentprm.store.database import Database
from agentprm.store.encode import Encoder, microseconds
from agentprm.store.inserter import Inserter
from agentprm.store.redact import Redactor
from agentprm.store.rows import Rows
from agentprm.store.statements import Statements
from agentprm.store.unreachable import unreachable
from agentprm.types import Event, Stepped, new_id, utc_now

__all__ = ["Durability", "Writer"]

Durability: TypeAlias = Literal["step", "group", "episode"]
"""What may be lost when the process is killed: nothing; 1,000 steps or 50 ms; the open episodes."""

_log = logging.getLogger("agentprm.store")
_GROUP_STEPS = 1_000
_GROUP_S = 0.04
"""Of the 50 ms that a group may wait, ten are for writing it."""
_MOST_WAITING = 100_000
"""Rows kept in memory while neither the database nor the spool takes them."""


class Writer:
    """Takes events and rows; decides when they go to disk. Safe to use from several threads."""

    def __init__(self, database: Database, durability: Durability, redactor: Redactor | None = None) -> None:
        if durability not in get_args(Durability):
            raise StoreError(f"durability is one of {get_args(Durability)}, not {durability!r}")
        self.durability = durability
        self._dropped = 0
        self.encoder = Encoder(native_uuid=not database.is_sqlite, scope=database.scope)
        self.redactor = redactor
        self._database = database
        self._inserter = Inserter(Statements(database.dialect))
        self._backlog = Backlog(database, self._inserter.put_afresh)
        self._rows, self._since = Rows(), 0.0
        self._lock = threading.RLock()
        self._era = 0
        self._id, self._seq = new_id(), 0
        self._timer: threading.Thread | None = None
        self._wake = threading.Event()
        self._closed = False

    @property
    def dropped(self) -> int:
        """Steps that will never reach the database."""
        return self._dropped + self._backlog.dropped

    @property
    def spooled(self) -> int:
        """Steps that wait in the spool, of this and of other processes."""
        return self._backlog.n_steps()

    def write(self, event: Event) -> None:
        """Take one event. Never raises: what cannot be kept is counted in `dropped` and logged once."""
        try:
            with self._lock:
                self._encode(event)
                if self._is_due(event):
                    self._commit()
        except Exception as error:
            self._backlog.warn(error, self._rows.n_steps)

    def _encode(self, event: Event) -> None:
        before = self._rows.sizes()
        try:
            if self._closed:
                raise StoreClosed("the store is closed")
            self.encoder.encode(event if self.redactor is None else self.redactor.event(event), self._rows)
        except Exception:
            self._rows.shrink(before)  # half a step is none
            self._dropped += isinstance(event, Stepped)
            raise

    def add(self, rows: Rows) -> None:
        """Put rows on disk now, behind all that waits, or none of them; raises StoreError."""
        self.flush()
        try:
            self._database.patiently(lambda: self._locked(self._transact, rows))
        except Exception as error:
            raise unreachable(self._database, error) from error

    def flush(self) -> None:
        """Return when everything is in the database; raises StoreError saying how many steps are not, and where."""
        try:
            self._database.patiently(lambda: self._locked(self._commit, True))
        except Exception as error:
            raise StoreError(self._backlog.explain(error, self._rows.n_steps)) from error

    def settle(self) -> None:
        """Put everything into the database if it can be had; never raises, for whoever reads what there is."""
        try:
            self._locked(self._commit, True)
        except Exception as error:
            self._backlog.warn(error, self._rows.n_steps)

    def close(self) -> None:
        """Flush; what the database refuses even now stays in the spool. Never raises; losses are counted and logged."""
        with self._lock:
            if self._closed:
                return
            try:
                self._commit(True)
            except Exception as error:
                _log.warning("%s", self._backlog.explain(error, self._rows.n_steps))
                self._dropped += self._rows.n_steps
                if self._rows.n_steps:
                    _log.error("%d steps were lost at close", self._rows.n_steps)
            self._closed = True
            self._wake.set()

    def abandon(self) -> None:
        """Forget what the parent process still had waiting, in a child after fork: the parent writes it."""
        self._rows, self._since, self._timer, self._lock = Rows(), 0.0, None, threading.RLock()
        self._wake, self._id, self._seq = threading.Event(), new_id(), 0
        self._backlog.is_empty = True
        self.encoder.blobs.abandon()

    def _locked(self, function: Callable[..., None], *arguments: Any) -> None:
        with self._lock:
            function(*arguments)

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
                try:
                    self._commit()
                except Exception as error:
                    self._backlog.warn(error, self._rows.n_steps)

    def _commit(self, patient: bool = False) -> None:
        """Write what waits, behind all that is spooled; what the database refuses is spooled, and then this raises why.

        A recorder drains a little at a time and leaves the database alone for a while after it refused; one who is
        `patient` drains everything, also what other processes left.
        """
        started, attempted = time.monotonic(), False
        try:
            if not self._backlog.drain(patient):
                self._keep(attempted)
                return
            if self._rows:
                attempted = True
                self._transact(self._rows)
                self._rows = Rows()
        except Exception as error:
            away = error if self._database.is_away(error) else self._salvage()
            if away is not None:
                self._keep(attempted and away is error)
                self._backlog.rest(started)
                raise away from None
        self._backlog.wake()
        self._since = 0.0

    def _keep(self, attempted: bool) -> None:
        """Spool what waits; it waits on in memory only where nothing can be spooled, and not for ever."""
        # Under an attempt's own number: if its commit took place and only the answer was lost, draining will skip it.
        self._seq += not attempted
        if self._rows and self._backlog.keep(self._id, self._seq, self._rows):
            self._rows = Rows()
        if len(self._rows) > _MOST_WAITING:
            self._dropped += self._rows.n_steps
            self._rows = Rows()
        self._since = time.monotonic()
        self._start_timer()

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
                    self._dropped += part.n_steps
                    self._backlog.warn(error, self._rows.n_steps)
        return away

    def _transact(self, rows: Rows) -> None:
        self._seq += 1
        try:
            self._insert(rows)
        except Exception as error:
            if not self._inserter.knows_any or self._database.is_away(error):
                raise
            self._inserter.forget()  # a noun may have been deleted with its last trajectory
            self._insert(rows)

    def _insert(self, rows: Rows) -> None:
        with self._database.writing() as cursor:
            if self._era != self._database.era:
                self._inserter.forget()
                self._era = self._database.era
            fresh = self._inserter.put(cursor, rows)
            if self.durability != "step":
                now = microseconds(utc_now())
                key = self._id if self.encoder.native_uuid else self._id.bytes
                cursor.execute(self._inserter.sql.insert["ingest"], (key, self._seq, now, len(rows)))
        self._inserter.remember(fresh)
