"""Forgetting trajectories: every row that is theirs alone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from agentprm.store import tables as t
from agentprm.store.filters import chunks

__all__ = ["forget"]


def forget(connection: sa.Connection, ids: Sequence[UUID]) -> int:
    """Delete trajectories with all that belongs to them, and tasks that no other needs; return how many.

    What is left of long texts and pictures is for the collector of garbage: a recorder may be about to refer to one.
    """
    theirs = t.trajectory.c.id.in_(ids)
    tasks = set(connection.scalars(sa.select(t.trajectory.c.task_id).where(theirs)))
    scorers = connection.scalars(sa.select(t.scorer.c.id)).all()
    for table in (t.score, t.score_note, t.episode_score, t.action_score):
        for scorer in scorers:  # walks the key, where a cascade would scan
            where = (table.c.scorer_id == scorer, table.c.trajectory_id.in_(ids))
            connection.execute(sa.delete(table).where(*where))
    gone = connection.execute(sa.delete(t.trajectory).where(theirs)).rowcount
    others = sa.exists().where(t.trajectory.c.task_id == t.task.c.id)
    for some in chunks(sorted(tasks)):
        connection.execute(sa.delete(t.task).where(t.task.c.id.in_(some), ~others))
    return int(gone)
