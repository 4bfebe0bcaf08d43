"""SQL of your own, for reading only: the database itself refuses to write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from agentprm.credit.table import Table
from agentprm.errors import StoreError
from agentprm.store.store import Store

__all__ = ["sql"]


def sql(store: Store, statement: str, *, timeout_s: float | None = None, **params: Any) -> Table:
    """Return the rows of one statement of your own; ``:name`` in it takes `params`.

    The views ``v_trajectory``, ``v_step``, ``v_tool_call`` and ``v_score`` have names and readable ids. Nothing can be
    changed: the engine refuses (``PRAGMA query_only``, ``SET TRANSACTION READ ONLY``). Raises StoreError for a
    statement that the database refuses, gives no rows, or takes longer than `timeout_s` seconds.

    >>> with Store(":memory:") as store:
    ...     sql(store, "SELECT count(*) AS episodes, :x AS x FROM v_trajectory", x=2)
    Your statement
    episodes  x
           0  2
    """
    try:
        with store.connection() as connection, _reading(connection, timeout_s):
            found = connection.execute(sa.text(statement), params)
            if not found.returns_rows:
                raise StoreError("the statement gives no rows: this is for reading, write through the store")
            return Table("Your statement", tuple(found.keys()), tuple(map(tuple, found)), statement)
    except SQLAlchemyError as error:
        raise StoreError(f"the database refused the statement: {_said(error)}") from error


@contextmanager
def _reading(connection: sa.Connection, timeout_s: float | None) -> Iterator[None]:
    """Let nothing be written, and nothing run for long, until the end of the block."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        if timeout_s is not None:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(int(timeout_s * 1000), 1)}")
        # A statement that is prepared is one statement: no COMMIT can end the transaction before another one.
        usual, driver.prepare_threshold = driver.prepare_threshold, 0
        try:
            yield
        finally:
            driver.prepare_threshold = usual
        return
    timer = threading.Timer(timeout_s, driver.interrupt) if timeout_s is not None else None
    connection.exec_driver_sql("PRAGMA query_only = ON")
    # ATTACH would make a file before anything is written to it.
    most = driver.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    try:
        if timer:
            timer.start()
        yield
    finally:
        if timer:
            timer.cancel()
        driver.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, most)
        driver.execute("PRAGMA query_only = OFF")


def _said(error: SQLAlchemyError) -> str:
    """Return the first line of what the database itself said."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
