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
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from agentprm.errors import MissingExtra, NotOurDatabase, StoreError

__all__ = ["Database", "close_database", "open_database", "plain_url", "read_url", "unreachable"]

_BUSY_S = 30.0
"""How long a writer waits for another process's transaction."""


def read_url(form: str | Path | URL) -> URL:
    """Return the database URL of a path or URL; a masked password (``***``) is taken from ``AGENTPRM_STORE``.

    Raises StoreError for what is neither.
    """
    if isinstance(form, URL):
        return form
    if isinstance(form, Path) or "://" not in form:
        return URL.create("sqlite", database=None if str(form) == ":memory:" else str(Path(form).absolute()))
    try:
        url = sa.make_url(form)
    except ArgumentError as error:
        raise StoreError(f"{form!r} is no database: expected a file path or a URL such as sqlite:///runs.db") from error
    if url.password == "***":
        url = _with_password(url)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        url = url.set(database=str(Path(url.database).absolute()))
    return url


def _with_password(url: URL) -> URL:
    given = os.environ.get("AGENTPRM_STORE")
    password = sa.make_url(given).password if given else None
    if password is None:
        raise StoreError(f"the password of {url} was never recorded: set AGENTPRM_STORE to the whole URL")
    return url.set(password=password)


def plain_url(url: URL) -> str:
    """Return the URL as it may be recorded: without its password."""
    return url.render_as_string(hide_password=True)


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
            except BaseException:
                with suppress(Exception):
                    connection.rollback()
                raise
            finally:
                cursor.close()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection for reading; rows have to be fetched before it is left."""
        with self.lock if self.is_memory else nullcontext(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """Give a connection whose transaction keeps every other writer and migration out."""
        with self.lock, self.engine.connect().execution_options(agentprm_write=True) as connection, connection.begin():
            if not self.is_sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305461197)")
            yield connection

    def _connection(self) -> Any:
        if self._writer is None:
            self._writer = self.engine.raw_connection()
        return self._writer

    def dispose(self) -> None:
        """Close every connection of this process."""
        with self.lock:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            self.engine.dispose()

    def abandon(self) -> None:
        """Forget the parent's connections, in a child after fork, without touching them."""
        self._writer, self.lock = None, threading.RLock()
        self.engine.dispose(close=False)


def _engine(url: URL, is_memory: bool) -> sa.Engine:
    options: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"check_same_thread": False, "timeout": _BUSY_S}
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
    """Leave transactions to us; a reader never waits for the writer, and kill -9 loses nothing that was committed."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    _enter_wal(connection)


def _enter_wal(connection: sqlite3.Connection, tries: int = 60) -> None:
    # Switching a brand-new file to WAL ignores the busy timeout: about 1 % of openings fail when several race.
    for attempt in range(tries):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == tries - 1:
                raise
            time.sleep(0.05)


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that reads and then writes is refused at once, whatever the timeout.
    write = connection.get_execution_options().get("agentprm_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


_open: dict[URL, Database] = {}
_open_lock = threading.Lock()


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


def unreachable(database: Database, error: DBAPIError) -> StoreError:
    """Return the error that says in one line why a database cannot be used, and the way out."""
    where, why = database.url.database if database.is_sqlite else plain_url(database.url), str(error.orig).strip()
    if "not a database" in why:
        return NotOurDatabase(f"{where} is no SQLite database: choose another file for the store")
    if "readonly" in why or "unable to open" in why:
        return StoreError(f"cannot write to {where} ({why}): choose a folder that you may write to")
    return StoreError(f"cannot reach {where}: {why.splitlines()[0] if why else type(error.orig).__name__}")


def _after_fork() -> None:
    global _open_lock
    _open_lock = threading.Lock()
    for database in _open.values():
        database.abandon()


os.register_at_fork(after_in_child=_after_fork)
