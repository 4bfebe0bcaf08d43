"""Forgetting trajectories: every row that is theirs alone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from agentprm.store import tables as t
from agentprm.store.filters import chunks

__all__ = ["forget"]


def forget(connection: sa.Connection, ids: Sequence[UUID]) -> int:
    """Delete trajectories with all that belongs to them, pictures and tasks that no other needs; return how many."""
    theirs = t.trajectory.c.id.in_(ids)
    tasks = set(connection.scalars(sa.select(t.trajectory.c.task_id).where(theirs)))
    pictures = _pictures(connection, t.content.c.trajectory_id.in_(ids))
    scorers = connection.scalars(sa.select(t.scorer.c.id)).all()
    for table in (t.score, t.score_note):
        for scorer in scorers:  # walks the key, where a cascade would scan
            where = (table.c.scorer_id == scorer, table.c.trajectory_id.in_(ids))
            connection.execute(sa.delete(table).where(*where))
    gone = connection.execute(sa.delete(t.trajectory).where(theirs)).rowcount
    if pictures:
        pictures -= _pictures(connection, sa.true())
    for names in chunks(sorted(pictures)):
        connection.execute(sa.delete(t.blob).where(t.blob.c.hash.in_(names)))
    others = sa.exists().where(t.trajectory.c.task_id == t.task.c.id)
    for some in chunks(sorted(tasks)):
        connection.execute(sa.delete(t.task).where(t.task.c.id.in_(some), ~others))
    return int(gone)


def _pictures(connection: sa.Connection, where: sa.ColumnElement[bool]) -> set[str]:
    shown = t.content.c.result_images
    rows = connection.scalars(sa.select(shown).where(shown.is_not(None), where))
    return {name for names in rows for name in names.split(",")}
