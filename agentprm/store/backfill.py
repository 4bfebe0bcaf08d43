"""What an earlier version stored in its rows is moved to where this one would put it, some episodes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from agentprm.progress import progress_bar
from agentprm.store import tables as t
from agentprm.store.blobs import Blobs
from agentprm.store.database import Database
from agentprm.store.fetch import fetch
from agentprm.store.kept import Kept
from agentprm.store.long_columns import PICTURES, TEXTS, VALUES, apart, names_in
from agentprm.store.merge import of
from agentprm.store.statements import Statements
from agentprm.store.store import Store

__all__ = ["backfill"]

_AT_ONCE = 100
"""Episodes in one transaction: a recorder waits for no longer than that takes."""
_PLACE, _DONE = "backfill", "done"


def backfill(store: Store | str | Path, *, progress: bool | None = None) -> int:
    """Store the long texts and pictures once that a version before 0003 left in the rows; return how many rows changed.

    Everything is readable before, after and in between, and others may write all the while. An interruption loses
    nothing: called again, it goes on where it was; where there is nothing to do, it says so at once.
    """
    if not isinstance(store, Store):
        with Store(store, create=False) as opened:
            return backfill(opened, progress=progress)
    database, changed = store._database, 0
    left = _left(database)
    if not left:
        return 0
    blobs, kept = Blobs(database.scope), Kept(Statements(database.dialect))
    with progress_bar("moving long texts", left, progress) as advance:
        while True:
            with database.migrating() as connection:
                ids, n = _move_some(connection, blobs, kept)
            changed += n
            advance(len(ids), "episodes")
            if len(ids) < _AT_ONCE:
                return changed


def _left(database: Database) -> int:
    with database.reading() as connection:
        count = sa.select(sa.func.count()).select_from(t.trajectory)
        return int(connection.scalar(count.where(*_after(connection))) or 0)


def _after(connection: sa.Connection) -> list[sa.ColumnElement[bool]]:
    """Return, as SQL, which episodes are left."""
    place = connection.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == _PLACE))
    if place is None or place == _DONE:
        return [sa.false()]
    return [t.trajectory.c.id > UUID(place)] if place else []


def _move_some(connection: sa.Connection, blobs: Blobs, kept: Kept) -> tuple[Sequence[UUID], int]:
    some = sa.select(t.trajectory.c.id).where(*_after(connection)).order_by(t.trajectory.c.id).limit(_AT_ONCE)
    ids = connection.scalars(some).all()
    into: list[Any] = []
    names = sorted({*TEXTS, *VALUES, *PICTURES})
    changes = [change for name in names for change in _changes(connection, name, ids, blobs, into)]
    if into:
        driver: Any = connection.connection.driver_connection
        kept.put(driver.cursor(), into)
    for table, keys, cells in changes:
        connection.execute(sa.update(table).where(*keys).values(cells))
    place = str(ids[-1]) if len(ids) == _AT_ONCE else _DONE
    connection.execute(sa.update(t.meta).where(t.meta.c.key == _PLACE).values(value=place))
    return ids, len(changes)


def _changes(
    connection: sa.Connection, name: str, ids: Sequence[UUID], blobs: Blobs, into: list[Any]
) -> Iterator[tuple[sa.Table, list[sa.ColumnElement[bool]], dict[str, Any]]]:
    """Yield the rows of a table that change: which they are, and their new cells."""
    table = t.metadata.tables[name]
    keys = list(table.primary_key.columns)
    rows = connection.execute(sa.select(table).where(*of(connection, name, ids)).order_by(*keys)).all()
    fetched = fetch(connection, names_in(name, rows))
    for row in rows:
        before = row._asdict()
        after = apart(name, before, fetched, blobs, into)
        cells = {column: cell for column, cell in after.items() if cell != before[column]}
        if cells:
            yield table, [key == before[key.name] for key in keys], cells
