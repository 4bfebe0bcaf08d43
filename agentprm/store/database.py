"""An engine, and the one connection of this process that writes to its database."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from agentprm.errors import DamagedDatabase, StoreError
from agentprm.store.engine import make_engine
from agentprm.store.file import DatabaseFile
from agentprm.store.spool import Spool
from agentprm.store.tables import meta
from agentprm.store.unreachable import is_refused, unreachable
from agentprm.store.url import is_memory
from agentprm.store.views import show_whole, unshow

__all__ = ["Database"]

_BUSY_S = 2.0
"""How long a recorder waits for another's transaction, or for a server, before its rows go to the spool."""
_AGAIN_S = 0.1
"""How long once that was in vain, until it was not."""
_PAUSE_S = 0.0005
"""Between its attempts."""
_PATIENCE_S = 30.0
"""How long a person waits."""


_inherited: list[Any] = []
"""A parent's connections: whoever closes one in a child ends the parent's transaction."""

T = TypeVar("T")


class Database:
    """An engine, a lock, and the connection that writes; made by `open_database`, shared by every store of its URL."""

    def __init__(self, url: URL) -> None:
        self.url, self.lock, self.users = url, threading.RLock(), 0
        self.is_memory = is_memory(url)
        is_file = url.get_backend_name() == "sqlite" and not self.is_memory
        self._file = DatabaseFile(url) if is_file else None
        self.engine = make_engine(url if self._file is None else self._file.address(url), _BUSY_S, _PATIENCE_S)
        self.spool = None if self.is_memory else Spool(url)
        """Where batches wait while the database is away; a database in memory never is."""
        self._writer: Any = None
        self._uid = ""
        self.era = 0
        """Counts the connections that wrote: behind another there may be another database, or less of the same."""
        self._was_away = False
        self._patience = threading.local()

    @property
    def dialect(self) -> sa.Dialect:
        """How this engine spells things."""
        return self.engine.dialect

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @property
    def scope(self) -> bytes:
        """What keeps the names of blobs here apart from those in any other database."""
        if not self._uid:
            with self.reading() as connection:
                self._uid = connection.scalar(sa.select(meta.c.value).where(meta.c.key == "uid")) or ""
        return self._uid.encode()

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written here, so that reading must do without a journal."""
        return self._file is not None and self._file.is_read_only

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Give a driver cursor in a transaction of its own; commit at the end, roll back on an error."""
        if not self.lock.acquire(timeout=_BUSY_S):
            raise sa.exc.TimeoutError("another thread is writing to it")
        try:
            connection = self._connection()
            cursor = connection.cursor()
            try:
                if self.is_sqlite:
                    self._in_turn(lambda: cursor.execute("BEGIN IMMEDIATE"))
                yield cursor
                self._in_turn(connection.commit)
                self._note_journal()
            finally:
                with suppress(Exception):
                    cursor.close()
            self._bound(None)
            self._note(back=True)
        except BaseException as error:
            with suppress(Exception):
                self._writer.rollback()
            if isinstance(error, Exception) and self.is_away(error):
                self._note(back=False)
            raise
        finally:
            self.lock.release()

    def _in_turn(self, attempt: Callable[[], T]) -> T:
        """Do what may have to wait for another writer of the file; a server lets its clients wait by itself."""
        # SQLite's own pauses grow to 100 ms, and whoever sleeps is overtaken: of eight writers some starve for seconds.
        began = time.monotonic()
        while True:
            try:
                return attempt()
            except Exception as error:
                if not self.is_sqlite or not self._is_busy(error) or time.monotonic() - began >= self._wait_s:
                    raise
                time.sleep(_PAUSE_S)

    @property
    def _wait_s(self) -> float:
        return _AGAIN_S if self._was_away else _BUSY_S

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Try again while others are writing, as long as a person waits: recorders get between the attempts."""
        until = time.monotonic() + _PATIENCE_S
        self._patience.limit_s = _PATIENCE_S
        try:
            while True:
                try:
                    return attempt()
                except Exception as error:
                    if not self._is_busy(error) or time.monotonic() >= until:
                        raise
                    time.sleep(0.01)
        finally:
            self._patience.limit_s = _BUSY_S

    def _is_busy(self, error: Exception) -> bool:
        """Tell whether somebody else's transaction was in the way."""
        if isinstance(error, sa.exc.TimeoutError):
            return True
        return "locked" in str(error) if self.is_sqlite else getattr(error, "sqlstate", "") in ("55P03", "40P01")

    @contextmanager
    def connecting(self) -> Iterator[sa.Connection]:
        """Give a connection; rows have to be fetched before it is left."""
        with self.lock if self.is_memory else nullcontext(), self.engine.connect() as connection:
            if self.is_sqlite and not connection.info.get("whole"):
                show_whole(_driver(connection))
                connection.info["whole"] = True
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection for reading; raises StoreError for what the database says."""
        try:
            with self.connecting() as connection:
                yield connection
        except DBAPIError as error:
            raise unreachable(self, error) from error

    @contextmanager
    def asking(self) -> Iterator[sa.Connection]:
        """Give a connection for SQL of one's own; raises StoreError for what is no fault of the statement."""
        try:
            with self.connecting() as connection:
                yield connection
        except DBAPIError as error:
            why = unreachable(self, error)
            if error.connection_invalidated or isinstance(why, DamagedDatabase):
                raise why from error
            raise

    @contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """Give a connection whose transaction may write, committed at the end; raises StoreError."""
        writing = self.engine.execution_options(agentprm_write=True)
        try:
            with self.lock if self.is_sqlite else nullcontext(), writing.begin() as connection:
                if self.is_sqlite and connection.info.pop("whole", False):
                    unshow(_driver(connection))
                yield connection
        except (DBAPIError, self.dialect.loaded_dbapi.Error) as error:
            raise unreachable(self, error) from error

    @contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """Give a connection whose transaction keeps every other migration out; raises StoreError."""
        with self.lock, self.changing() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305461197)")
            yield connection

    def is_away(self, error: Exception) -> bool:
        """Tell whether an error is the database's doing, and may pass, rather than that of the rows."""
        error = error.__cause__ if isinstance(error, StoreError) else error  # type: ignore[assignment]
        error = error.orig if isinstance(error, DBAPIError) else error  # type: ignore[assignment]
        driver = self.dialect.loaded_dbapi
        passing = [driver.OperationalError, driver.InternalError, sa.exc.SQLAlchemyError]
        if not self.is_sqlite:
            passing.append(driver.InterfaceError)
        # A role may be granted later: what waits for it is not lost.
        return isinstance(error, tuple(passing)) or type(error) is driver.DatabaseError or is_refused(error)

    def enter_wal(self, tries: int = 600) -> None:
        """Let readers and the writer of a SQLite file not wait for each other; the file remembers it."""
        # Switching a brand-new file to WAL ignores the busy timeout: about 1 % of openings fail when several race.
        for attempt in range(tries):
            try:
                with self.engine.connect() as connection:
                    _driver(connection).execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or attempt == tries - 1:
                    raise unreachable(self, error) from error
                time.sleep(0.05)

    def _connection(self) -> Any:
        if self._file is not None and self._file.is_another():
            self._start_over()
            self._file.meet()
        elif self._file is not None and self._file.has_lost_journal():
            self._save_journal(self._file)
        limit_s = getattr(self._patience, "limit_s", _BUSY_S)
        if self._writer is None:
            self._writer = self.engine.raw_connection()
            self.era += 1
            self._bound(limit_s)
            # A server says sooner that a row is locked than it is given up itself.
            wait = f"SET lock_timeout = {int(self._wait_s * 750)}"
            cursor = self._writer.cursor()
            cursor.execute("PRAGMA busy_timeout=0" if self.is_sqlite else wait)
            cursor.close()
            self._writer.commit()  # rolling back would take the setting with it
        self._bound(limit_s)
        return self._writer

    def _note_journal(self) -> None:
        if self._file is not None:
            self._file.note_journal()

    def _save_journal(self, file: DatabaseFile) -> None:
        """Write what lies in a deleted journal into the file while this process still has it; then make a new one."""
        if file.say_lost_journal() and self._writer is not None:
            self._writer.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._start_over()

    def _start_over(self) -> None:
        self._forget_writer()
        self.engine.dispose()

    def _bound(self, limit_s: float | None) -> None:
        """Let the server answer within so many seconds from now on, whatever is asked of it; None lets it rest."""
        driver: Any = None if self._writer is None else self._writer.driver_connection
        if hasattr(driver, "deadline"):
            driver.deadline = None if limit_s is None else time.monotonic() + limit_s

    def _note(self, *, back: bool) -> None:
        """Connect anew after a failure, and once more when it is back, then to wait as long as before."""
        if self._was_away or not back:
            self._was_away = not back
            self._forget_writer()

    def _forget_writer(self) -> None:
        """Let the next transaction connect anew; what is in memory would be gone with its connection."""
        if not self.is_memory and self._writer is not None:
            writer = self._take_writer()
            with suppress(Exception):
                writer.invalidate()

    def _take_writer(self) -> Any:
        """Give up the connection that writes; with the last one of a file SQLite takes its journal away."""
        writer, self._writer = self._writer, None
        if self._file is not None:
            self._file.forget_journal()
        return writer

    def dispose(self) -> None:
        """Close every connection of this process."""
        with self.lock:
            writer = self._take_writer()
            if writer is not None:
                writer.close()
            self.engine.dispose()
            if self.spool is not None:
                self.spool.close()

    def abandon(self) -> None:
        """Forget the parent's connections, in a child after fork, without touching them."""
        _inherited.append(self._writer)
        self._writer, self.lock = None, threading.RLock()
        self.engine.dispose(close=False)
        if self.spool is not None:
            self.spool.abandon()


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection
