"""Why a database cannot be used, in one line, and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from agentprm.errors import NotOurDatabase, StoreError
from agentprm.store.url import plain_url

if TYPE_CHECKING:
    from agentprm.store.database import Database

__all__ = ["unreachable"]


def unreachable(database: Database, error: Exception) -> StoreError:
    """Return the error that says in one line why a database cannot be used, and the way out."""
    where = database.url.database if database.is_sqlite else plain_url(database.url)
    error = error.orig if isinstance(error, DBAPIError) and isinstance(error.orig, Exception) else error
    why = str(error).strip()
    if "not a database" in why:
        return NotOurDatabase(f"{where} is no SQLite database: choose another file for the store")
    if database.is_read_only and ("readonly" in why or "unable to open" in why):
        return StoreError(_read_only(where, why))
    if "readonly" in why or "unable to open" in why:
        return StoreError(f"cannot write to {where} ({why}): choose a folder that you may write to")
    if "is full" in why:
        return StoreError(f"cannot write to {where}: the disk is full; make room, and what waits is written")
    return StoreError(f"cannot use {where}: {why.splitlines()[0] if why else type(error).__name__}")


def _read_only(where: Any, why: str) -> str:
    if "unable to open" in why:
        return (
            f"cannot read {where}: its last rows lie in {where}-wal, and reading those needs write permission on the "
            "folder; copy both files to a folder of yours"
        )
    return f"cannot write to {where}: you may only read the file or its folder; copy it to a folder of yours"
