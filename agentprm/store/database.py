"""One engine per database and process, and the one connection that writes to it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from agentprm.errors import MissingExtra, NotOurDatabase, StoreError
from agentprm.store.url import plain_url, read_url

__all__ = ["Database", "close_database", "open_database", "unreachable"]

_BUSY_S = 30.0
"""How long a writer waits for another process's transaction."""


class Database:
    """An engine, a lock, and the connection that writes; made by `open_database`, shared by every store of its URL."""

    def __init__(self, url: URL) -> None:
        self.url, self.lock, self.users = url, threading.RLock(), 0
        self.is_memory = url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")
        self.engine = _engine(url, self.is_memory)
        self._writer: Any = None

    @property
    def dialect(self) -> sa.Dialect:
        """How this engine spells things."""
        return self.engine.dialect

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Give a driver cursor in a transaction of its own; commit at the end, roll back on an error."""
        with self.lock:
            connection = self._connection()
            cursor = connection.cursor()
            try:
                if self.is_sqlite:
                    cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                connection.commit()
            except BaseException as error:
                with suppress(Exception):
                    connection.rollback()
                if isinstance(error, Exception) and self.is_away(error):
                    self._forget_writer()
                raise
            finally:
                with suppress(Exception):
                    cursor.close()

    @contextmanager
    def connecting(self) -> Iterator[sa.Connection]:
        """Give a connection; rows have to be fetched before it is left."""
        with self.lock if self.is_memory else nullcontext(), self.engine.connect() as connection:
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
    def migrating(self) -> Iterator[sa.Connection]:
        """Give a connection whose transaction keeps every other writer and migration out; raises StoreError."""
        writing = self.engine.execution_options(agentprm_write=True)
        try:
            with self.lock, writing.begin() as connection:
                if not self.is_sqlite:
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305461197)")
                yield connection
        except DBAPIError as error:
            raise unreachable(self, error) from error

    def is_away(self, error: Exception) -> bool:
        """Tell whether an error is the database's doing, and may pass, rather than that of the rows."""
        driver = self.dialect.loaded_dbapi
        passing = [driver.OperationalError, driver.InternalError, sa.exc.SQLAlchemyError]
        if not self.is_sqlite:
            passing.append(driver.InterfaceError)
        return isinstance(error, tuple(passing)) or type(error) is driver.DatabaseError

    def enter_wal(self, tries: int = 60) -> None:
        """Let readers and the writer of a SQLite file not wait for each other; the file remembers it."""
        # Switching a brand-new file to WAL ignores the busy timeout: about 1 % of openings fail when several race.
        for attempt in range(tries):
            try:
                with self.engine.connect() as connection:
                    driver: Any = connection.connection.driver_connection
                    driver.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or attempt == tries - 1:
                    raise unreachable(self, error) from error
                time.sleep(0.05)

    def _connection(self) -> Any:
        if self._writer is None:
            self._writer = self.engine.raw_connection()
        return self._writer

    def _forget_writer(self) -> None:
        """Let the next transaction connect anew; what is in memory would be gone with its connection."""
        if not self.is_memory and self._writer is not None:
            writer, self._writer = self._writer, None
            with suppress(Exception):
                writer.invalidate()

    def dispose(self) -> None:
        """Close every connection of this process."""
        with self.lock:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            self.engine.dispose()

    def abandon(self) -> None:
        """Forget the parent's connections, in a child after fork, without touching them."""
        _inherited.append(self._writer)
        self._writer, self.lock = None, threading.RLock()
        self.engine.dispose(close=False)


def _engine(url: URL, is_memory: bool) -> sa.Engine:
    options: dict[str, Any] = {"pool_pre_ping": True}  # a server may have been restarted meanwhile
    if url.get_backend_name() == "sqlite":
        options = {"connect_args": {"check_same_thread": False, "timeout": _BUSY_S}}
    if is_memory:
        options["poolclass"] = StaticPool
    try:
        engine = sa.create_engine(url, **options)
    except NoSuchModuleError as error:
        raise StoreError(f"{url.drivername!r} is no database that this reads: sqlite or postgresql") from error
    except ModuleNotFoundError as error:
        raise MissingExtra("postgres", error.name or "a driver") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    """Leave transactions to us; in a file in WAL mode, kill -9 loses nothing that was committed."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that reads and then writes is refused at once, whatever the timeout.
    write = connection.get_execution_options().get("agentprm_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


_open: dict[URL, Database] = {}
_open_lock = threading.Lock()
_inherited: list[Any] = []
"""A parent's connections: whoever closes one in a child ends the parent's transaction."""


def open_database(form: str | Path | URL, *, create: bool = True) -> Database:
    """Return the process's one `Database` of a URL; release it with `close_database`.

    Raises StoreError when it cannot be reached, or does not exist and `create` is False.
    """
    url = read_url(form)
    with _open_lock:
        database = _open.get(url)
        if database is None:
            database = Database(url)
            _check_reachable(database, create)
            if not database.is_memory:
                _open[url] = database
        database.users += 1
        return database


def close_database(database: Database) -> None:
    """Let go of a database; the last user closes its connections."""
    with _open_lock:
        database.users -= 1
        if database.users == 0:
            _open.pop(database.url, None)
            database.dispose()


def _check_reachable(database: Database, create: bool) -> None:
    path = None if database.is_memory or not database.is_sqlite else Path(str(database.url.database))
    if path is not None and not path.exists():
        if not create:
            raise StoreError(f"there is no database at {path}")
        if not path.parent.is_dir():
            raise StoreError(f"cannot make {path}: there is no folder {path.parent}; create it first")
    try:
        with database.engine.connect():
            pass
    except DBAPIError as error:
        raise unreachable(database, error) from error


def unreachable(database: Database, error: Exception) -> StoreError:
    """Return the error that says in one line why a database cannot be used, and the way out."""
    where = database.url.database if database.is_sqlite else plain_url(database.url)
    error = error.orig if isinstance(error, DBAPIError) and isinstance(error.orig, Exception) else error
    why = str(error).strip()
    if "not a database" in why:
        return NotOurDatabase(f"{where} is no SQLite database: choose another file for the store")
    if "readonly" in why or "unable to open" in why:
        return StoreError(f"cannot write to {where} ({why}): choose a folder that you may write to")
    return StoreError(f"cannot use {where}: {why.splitlines()[0] if why else type(error).__name__}")


def _after_fork() -> None:
    global _open_lock
    _open_lock = threading.Lock()
    for database in _open.values():
        database.abandon()


os.register_at_fork(after_in_child=_after_fork)
