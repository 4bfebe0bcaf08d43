"""The databases that this process has open: one engine for each URL, shared by every store of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from agentprm.errors import StoreError
from agentprm.store.database import Database
from agentprm.store.unreachable import unreachable
from agentprm.store.url import read_url

__all__ = ["close_database", "is_open", "open_database"]

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


def is_open(url: URL) -> bool:
    """Tell whether this process has a database open."""
    return url in _open


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


def _after_fork() -> None:
    global _open_lock
    _open_lock = threading.Lock()
    for database in _open.values():
        database.abandon()


os.register_at_fork(after_in_child=_after_fork)
