"""What a database could not take yet: spooled, and drained in order, exactly once, when it is back."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import sqlalchemy as sa

from agentprm.store.database import Database
from agentprm.store.encode import microseconds
from agentprm.store.rows import Rows
from agentprm.store.spool import Batch
from agentprm.store.statements import Statements
from agentprm.store.unreachable import unreachable
from agentprm.types import utc_now

__all__ = ["Backlog"]

_log = logging.getLogger("agentprm.store")
_SLICE_S = 0.2
"""How long a recorder drains at a time."""
_PATIENCE, _SHORTEST_S = 4, 0.1
"""After an attempt that failed, a recorder goes on undisturbed this many times as long as it took, or this long."""
P = ParamSpec("P")
T = TypeVar("T")


class Backlog:
    """The batches of one database that wait in its spool; not safe to use from several threads."""

    def __init__(self, database: Database, put: Callable[[Any, Rows], Any]) -> None:
        self.is_empty = True
        """Whether this process knows of nothing that waits."""
        self.dropped = 0
        """Steps in the spool that the database will never take: their trajectory was deleted meanwhile."""
        self._database, self._put, self._spool = database, put, database.spool
        self._mark = Statements(database.dialect).insert["ingest"]
        self._not_before = 0.0
        self._refused = self._warned = False

    def keep(self, writer: UUID, seq: int, rows: Rows) -> bool:
        """Spool a batch; tell whether that could be done."""
        if self._spool is None:
            return False
        try:
            self._spool.append(writer, seq, rows)
        except Exception as error:
            if not self._refused:
                self._refused = True
                _log.error("nothing can be spooled (%s): steps wait in memory; make room or set AGENTPRM_SPOOL", error)
            return False
        self.is_empty = self._refused = False
        return True

    def drain(self, everything: bool) -> bool:
        """Put what is spooled into the database, the oldest first; tell whether nothing is left.

        With `everything`, also what other processes left, however long it takes; else a little, and nothing while the
        database is left alone. Raises what the database says.
        """
        if not everything and time.monotonic() < self._not_before:
            return False
        if self._spool is None or (self.is_empty and not (everything and self._spool.paths())):
            return True
        until = math.inf if everything else time.monotonic() + _SLICE_S
        while batches := _asking(self._spool.oldest):
            self._take(batches)
            _asking(self._spool.remove, batches)
            if time.monotonic() >= until:
                return False
        self.is_empty = True
        return True

    def rest(self, since: float) -> None:
        """Leave the database alone for a while, after an attempt that began at `since` and failed."""
        now = time.monotonic()
        self._not_before = now + max(_PATIENCE * (now - since), _SHORTEST_S)

    def wake(self) -> None:
        """Know that the database is back; should it go away again, that will be said again."""
        if self._not_before:
            self._not_before, self._warned = 0.0, False

    def n_steps(self) -> int:
        """Return how many steps wait."""
        try:
            return 0 if self._spool is None else self._spool.n_steps()
        except sqlite3.Error:
            return 0

    def explain(self, error: Exception, n_waiting: int) -> str:
        """Return, in a line, how many steps are not in the database, where they lie, and why."""
        n_spooled = self.n_steps()
        lying = f"; {n_spooled} lie in {self._places()}, to be drained when it is back" if n_spooled else ""
        return f"{n_spooled + n_waiting} steps are not in the database yet{lying}: {self._why(error)}"

    def warn(self, error: Exception, n_waiting: int) -> None:
        """Log what is wrong, once."""
        if self._warned:
            return
        self._warned = True
        what = f"steps go to {self._places()} until it can: {self._why(error)}"
        said = self.explain(error, n_waiting) if self.is_empty else what
        _log.warning("recording cannot write (further failures are only counted); %s", said)

    def _places(self) -> str:
        return "" if self._spool is None else ", ".join(map(str, self._spool.paths()))

    def _why(self, error: Exception) -> Exception:
        return unreachable(self._database, error) if self._database.is_away(error) else error

    def _take(self, batches: Sequence[Batch]) -> None:
        try:
            self._insert(batches)
        except Exception as error:
            if self._database.is_away(error):
                raise
            for batch in batches:
                if len(batches) > 1:
                    self._take([batch])
                else:
                    self._salvage(batch)

    def _insert(self, batches: Sequence[Batch]) -> None:
        rows = Rows()
        with self._database.writing() as cursor:
            for batch in batches:
                if self._is_new(cursor, batch):
                    rows.extend(batch.rows)
            self._put(cursor, rows)

    def _salvage(self, batch: Batch) -> None:
        """Take each trajectory by itself, so that one which was deleted meanwhile takes no other with it."""
        lost = 0
        for part in batch.rows.by_trajectory().values():
            try:
                with self._database.writing() as cursor:
                    self._put(cursor, part)
            except Exception as error:
                if self._database.is_away(error):
                    raise
                lost += part.n_steps
                self._say_lost(error)
        with self._database.writing() as cursor:
            self._is_new(cursor, batch)
        self.dropped += lost

    def _say_lost(self, error: Exception) -> None:
        if not self.dropped:
            _log.warning("spooled steps fit no trajectory any more (further ones are only counted): %s", error)

    def _is_new(self, cursor: Any, batch: Batch) -> bool:
        """Enter a batch among those that took place; tell whether it was not among them."""
        key = batch.writer.bytes if self._database.is_sqlite else batch.writer
        cursor.execute(self._mark, (key, batch.seq, microseconds(utc_now()), len(batch.rows)))
        return bool(cursor.rowcount == 1)


def _asking(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Say what a spool says as if the database had said it: both are there, or what waits goes on waiting."""
    try:
        return ask(*args, **kwargs)
    except (OSError, ValueError, LookupError, TypeError, sqlite3.Error) as error:
        raise sa.exc.InvalidRequestError(f"the spool cannot be drained: {error}") from error
