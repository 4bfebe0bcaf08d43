"""How this library talks to each kind of database."""

from __future__ import annotations

import sqlite3
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import StaticPool

from agentprm.errors import MissingExtra, StoreError
from agentprm.store.url import is_memory
from agentprm.store.views import teach

__all__ = ["make_engine"]

_CHECKPOINT_PAGES = 4_000
"""16 MB: a page that grows is copied once, not four times."""

ENGINES = ("sqlite", "postgresql")


def make_engine(url: URL, wait_s: float, patience_s: float) -> sa.Engine:
    """Return an engine whose connections give a server up after `wait_s` and a locked file after `patience_s`.

    Raises StoreError for what is no database that this reads, MissingExtra without its driver.
    """
    if url.get_backend_name() not in ENGINES:
        raise StoreError(f"{url.drivername!r} is no database that this reads: sqlite or postgresql")
    limits = {"connect_timeout": max(1, round(wait_s)), "tcp_user_timeout": round(wait_s * 1_000)}
    limits = {name: value for name, value in limits.items() if name not in url.query}
    # A server may have been restarted meanwhile.
    options: dict[str, Any] = {"pool_pre_ping": True, "connect_args": limits}
    if url.get_backend_name() == "sqlite":
        options = {"connect_args": {"check_same_thread": False, "timeout": patience_s}}
    if is_memory(url):
        options["poolclass"] = StaticPool
    try:
        engine = sa.create_engine(url, **options)
    except NoSuchModuleError as error:
        raise StoreError(f"{url.drivername!r} is no database that this reads: sqlite or postgresql") from error
    except ModuleNotFoundError as error:
        raise MissingExtra("postgres", error.name or "a driver") from error
    if engine.dialect.driver == "psycopg":
        _bound(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _bound(engine: sa.Engine) -> None:
    """Let nothing wait for ever for a server that hangs, but whoever reads: that may take its time."""
    from agentprm.store.bounded import BoundedConnection

    def connect(_dialect: Any, _record: Any, given: Any, named: Any) -> BoundedConnection:
        return BoundedConnection.connect(*given, **named)

    def lend(connection: BoundedConnection, *_: Any) -> None:
        connection.limit_s = None

    def take_back(connection: BoundedConnection | None, *_: Any) -> None:
        if connection is not None:
            connection.limit_s, connection.deadline = BoundedConnection.limit_s, None

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", lend)
    event.listen(engine, "checkin", take_back)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    """Leave transactions to us; in a file in WAL mode, kill -9 loses nothing that was committed."""
    connection.isolation_level = None
    teach(connection)
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that reads and then writes is refused at once, whatever the timeout.
    write = connection.get_execution_options().get("agentprm_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
