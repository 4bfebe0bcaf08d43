"""Why a database cannot be used, in one line, and the way out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from agentprm.errors import DamagedDatabase, NotAllowed, NotOurDatabase, StoreError
from agentprm.store.url import plain_url

if TYPE_CHECKING:
    from agentprm.store.database import Database

__all__ = ["is_refused", "unreachable"]

_INSUFFICIENT_PRIVILEGE = "42501"
_DAMAGED = ("malformed", "Could not decode to UTF-8", "unsupported file format")
"""What SQLite says of a file that something else has written into."""
_ROOM = 2**16
_START = "start the server or correct the host and port; what a recorder writes waits in its spool"
_WAYS_OUT = {
    "database is locked": "another program is writing to it: let it finish, or end it",
    "Connection refused": _START,
    "timeout expired": _START,
    "could not translate host name": _START,
    "failed to resolve host": _START,
    "No such file or directory": _START,
    "server closed the connection": _START,
    "the connection is closed": _START,
    "does not answer": "see what holds the server up; what a recorder writes waits in its spool",
    "other objects depend on it": "drop the views and keys of yours that hang on it, and make them again afterwards",
    "authentication failed": "correct user and password in the URL, or set AGENTPRM_STORE",
    "no password supplied": "put the password into the URL, or set AGENTPRM_STORE",
    "role ": "correct the user in the URL, or create it",
    "database ": "create it with `createdb`, or correct its name in the URL",
}
"""What can be done about it, by what SQLite or PostgreSQL says; the first that fits."""


def unreachable(database: Database, error: Exception) -> StoreError:
    """Return the error that says in one line why a database cannot be used, and the way out."""
    where = database.url.database if database.is_sqlite else plain_url(database.url)
    error = error.orig if isinstance(error, DBAPIError) and isinstance(error.orig, Exception) else error
    why = str(error).strip()
    if "not a database" in why:
        return NotOurDatabase(
            f"{where} is no SQLite database: choose another file for the store; if it was one and is damaged, "
            f"`agentprm db salvage {where} NEW` reads what can be read"
        )
    if database.is_sqlite and any(sign in why for sign in _DAMAGED):
        return DamagedDatabase(
            f"{where} is damaged ({why.splitlines()[0]}): `agentprm db check {where}` says where, `agentprm db salvage "
            f"{where} NEW` puts what can be read into a new store"
        )
    if "is full" in why or ("disk I/O error" in why and _has_no_room(database)):
        return StoreError(f"cannot write to {where}: the disk is full; make room, and what waits is written")
    if "disk I/O error" in why:
        return StoreError(
            f"cannot use {where}: disk I/O error; either the disk fails, or {where}-wal was deleted under a program "
            f"that still records: end that, then run `agentprm db check {where}`"
        )
    if database.is_read_only and ("readonly" in why or "unable to open" in why):
        return StoreError(_read_only(where, why))
    if "readonly" in why or "unable to open" in why:
        return StoreError(f"cannot write to {where} ({why}): choose a folder that you may write to")
    if is_refused(error):
        return NotAllowed(
            f"{database.url.username} may not do that at {where} ({why.splitlines()[0]}): ask its owner for a role "
            "(`agentprm db roles` lists them)"
        )
    said = why.splitlines()[0] if why else type(error).__name__
    way_out = next((out for sign, out in _WAYS_OUT.items() if sign in why), "")
    return StoreError(f"cannot use {where}: {said}{way_out and '; '}{way_out}")


def _has_no_room(database: Database) -> bool:
    """Tell whether there is no room for the journal's index, of which SQLite only says that it cannot be made."""
    try:
        return shutil.disk_usage(Path(str(database.url.database)).parent).free < _ROOM
    except OSError:
        return False


def is_refused(error: BaseException | None) -> bool:
    """Tell whether a server said that this login may not do that."""
    return getattr(error, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE


def _read_only(where: Any, why: str) -> str:
    if "unable to open" in why:
        return (
            f"cannot read {where}: its last rows lie in {where}-wal, and reading those needs write permission on the "
            "folder; copy both files to a folder of yours"
        )
    return f"cannot write to {where}: you may only read the file or its folder; copy it to a folder of yours"
