"""The order in which episodes ended up complete: one that a reader can go by, whoever commits late."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from agentprm.errors import StoreError
from agentprm.store import tables as t
from agentprm.store.database import Database
from agentprm.store.filters import matching
from agentprm.store.reader import read_trajectories
from agentprm.types import Trajectory

__all__ = ["number_completed", "read_completed"]

_AT_ONCE = 1_000
_PAGE = 200
_POLL_S = 1.0
_IS_STANDBY = "25006"


def number_completed(database: Database) -> None:
    """Give every ended trajectory that has none its number: higher than all that anybody can have read.

    A trajectory gets its number after its commit, from one process at a time, so none can appear behind a reader. Where
    nothing can be written, those stay that have theirs.
    """
    if database.is_read_only:
        return
    while _some_wait(database):
        try:
            with database.changing() as connection:
                n = _number(connection) if database.is_sqlite else _ask(connection)
        except StoreError as error:
            if _sqlstate(error) == _IS_STANDBY:
                return
            raise
        if n < _AT_ONCE:
            return  # what ended meanwhile, or is locked just now, is the next one's


def _some_wait(database: Database) -> bool:
    with database.reading() as connection:
        return connection.execute(sa.select(t.trajectory.c.id).where(*_waiting()).limit(1)).first() is not None


def _waiting() -> tuple[sa.ColumnElement[bool], ...]:
    return t.trajectory.c.status.is_not(None), t.trajectory.c.completed.is_(None)


def _number(connection: sa.Connection) -> int:
    order = (t.trajectory.c.ended_at, t.trajectory.c.id)
    ids = connection.scalars(sa.select(t.trajectory.c.id).where(*_waiting()).order_by(*order).limit(_AT_ONCE)).all()
    counter = t.meta.c.key == "completed"
    last = int(connection.execute(sa.select(t.meta.c.value).where(counter)).scalar_one())
    for number, key in enumerate(ids, last + 1):
        connection.execute(sa.update(t.trajectory).where(t.trajectory.c.id == key).values(completed=number))
    connection.execute(sa.update(t.meta).where(counter).values(value=str(last + len(ids))))
    return len(ids)


def _ask(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.number_completed(_AT_ONCE))).scalar_one())


def _sqlstate(error: StoreError) -> str:
    return getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) or ""


def read_completed(
    database: Database, after: int, follow: bool, filters: Mapping[str, Any]
) -> Iterator[tuple[int, Trajectory]]:
    """Yield a number and its trajectory, in the order of numbers; see `Store.completed`."""
    while True:
        number_completed(database)
        while page := _page(database, after, filters):
            found = {trajectory.id: trajectory for trajectory in read_trajectories(database, id=[k for _, k in page])}
            for number, key in page:
                after = number
                if key in found:
                    yield number, found[key]
        if not follow:
            return
        time.sleep(_POLL_S)


def _page(database: Database, after: int, filters: Mapping[str, Any]) -> list[tuple[int, UUID]]:
    completed = t.trajectory.c.completed
    query = matching((completed, t.trajectory.c.id), filters).where(completed > after).order_by(completed)
    with database.reading() as connection:
        return [(row[0], row[1]) for row in connection.execute(query.limit(_PAGE))]
