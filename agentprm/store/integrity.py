"""Whether the rows of a store are what was written: the file itself, and what belongs together."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from agentprm.store import tables as t
from agentprm.store.database import Database
from agentprm.store.encode import Encoder
from agentprm.store.gc import referred
from agentprm.store.migrate import opened
from agentprm.store.rows import Rows
from agentprm.store.statements import COLUMNS
from agentprm.store.store import Store

__all__ = ["damages", "first_misread"]

_MOST = 20


def damages(store: Database | str | Path) -> list[str]:
    """Return what is wrong with the rows of the store at a URL, one line each, twenty at most; none when all is well.

    Of a SQLite file every page is read. Raises DamagedDatabase when so much is wrong that this cannot be asked.
    """
    with opened(store) as database:
        with database.reading() as connection:
            found = _file(connection) if database.is_sqlite else []
            found = found or _episodes(connection)
        return (found or _blobs(database))[:_MOST]


def first_misread(store: Store, key: UUID) -> int | None:
    """Return the first step of an episode of which not every tool call is there; None where each one is.

    What the tools of a step gave back has a part in the hash of what was seen next. Raises StoreError for an episode
    that cannot be read.
    """
    (trajectory,) = store.trajectories(id=key)
    rows, at = Rows(), COLUMNS["content"].index("state_hash")
    Encoder(native_uuid=True).trajectory(trajectory, rows)
    with store.connection() as connection:
        stored = connection.execute(sa.select(t.content.c.idx, t.content.c.state_hash).filter_by(trajectory_id=key))
        hashes = {row.idx: row.state_hash for row in stored}
    wrong = [row[1] for row in rows.tables["content"] if row[at] != hashes[row[1]]]
    return min(wrong, default=None)


def _file(connection: sa.Connection) -> list[str]:
    said: list[str] = []
    try:
        said += [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})")]
    except sa.exc.DBAPIError as error:  # so damaged that the check cannot be brought to its end
        said.append(str(error.orig))
    if said != ["ok"]:
        return [line for text in said for line in text.splitlines()]
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"a row of {row[0]} names a row of {row[2]} that is not there" for row in orphans]


def _keeps_blobs_apart(database: Database) -> bool:
    """Tell whether the schema is one in which long texts stand apart; one that was not upgraded yet may be older."""
    with database.reading() as connection:
        return any(column["name"] == "action_hash" for column in sa.inspect(connection).get_columns("content"))


def _blobs(database: Database) -> list[str]:
    """Return the long texts and pictures that a row names and that are not there."""
    if not _keeps_blobs_apart(database):
        return []
    named = dict(referred(database))
    with database.reading() as connection:
        for name in connection.scalars(sa.select(t.blob.c.hash)):
            named.pop(name, None)
    return [f"a row of {table} names the blob {name}, which is not there" for name, table in named.items()]


def _episodes(connection: sa.Connection) -> list[str]:
    """Return the episodes with a gap: steps from 0 on, and one more thing seen than done."""
    counted = [
        sa.select(table.c.trajectory_id.label("id"), sa.func.count().label("n"), sa.func.max(table.c.idx).label("last"))
        .group_by(table.c.trajectory_id)
        .subquery()
        for table in (t.step, t.content)
    ]
    done, seen = counted
    joined = t.trajectory.outerjoin(seen, seen.c.id == t.trajectory.c.id).outerjoin(
        done, done.c.id == t.trajectory.c.id
    )
    n_done, n_seen = sa.func.coalesce(done.c.n, 0), sa.func.coalesce(seen.c.n, 0)
    has_gap = (n_seen != n_done + 1) | (sa.func.coalesce(done.c.last, -1) != n_done - 1) | (seen.c.last != n_seen - 2)
    rows = connection.execute(
        sa.select(t.trajectory.c.id, n_done, n_seen).select_from(joined).where(has_gap).limit(_MOST)
    )
    return [f"trajectory {key} has a gap: {done} steps beside {seen} observations" for key, done, seen in rows]
