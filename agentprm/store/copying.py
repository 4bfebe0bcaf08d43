"""PostgreSQL's own way in for many rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["copy_rows"]

_UNIQUE_VIOLATION = "23505"


def copy_rows(cursor: Any, statement: str, rows: Iterable[tuple[Any, ...]]) -> bool:
    """Insert rows by COPY; tell whether that could be done, and leave everything as it was if a row was there already.

    COPY knows no ON CONFLICT, and a recorder's rows are new: it is tried, and undone for whoever adds something twice.
    """
    cursor.execute("SAVEPOINT copying")
    try:
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except Exception as error:
        if getattr(error, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT copying")
        return False
    cursor.execute("RELEASE SAVEPOINT copying")
    return True
