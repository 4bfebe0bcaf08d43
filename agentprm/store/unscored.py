"""What a scorer has not scored yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from agentprm.store import tables as t
from agentprm.store.completion import number_completed
from agentprm.store.database import Database
from agentprm.store.filters import matching

__all__ = ["Unscored"]

_LOOK = 5_000
"""Places in the order of completion that are looked through at a time."""


class Unscored:
    """The trajectories that match a selector and whose last step has no score of one scorer: it may have gone on.

    Those that run, or were killed, come last and once, as they are then, if `takes_running`; should one go on, it
    counts as unscored again when it has ended.
    """

    def __init__(self, database: Database, scorer_id: int, selector: Mapping[str, Any], *, takes_running: bool) -> None:
        self._database, self._scorer_id, self._selector = database, scorer_id, selector
        self._takes_running = takes_running

    def count(self) -> int:
        """Return how many there are: a walk through all that match."""
        which = () if self._takes_running else (t.trajectory.c.status.is_not(None),)
        query = matching((sa.func.count(),), self._selector).where(*which, self._condition())
        with self._database.reading() as connection:
            return connection.scalar(query) or 0

    def among(self, ids: list[UUID]) -> list[UUID]:
        """Return which of these there are."""
        query = sa.select(t.trajectory.c.id).where(t.trajectory.c.id.in_(ids), self._condition())
        with self._database.reading() as connection:
            return list(connection.scalars(query.order_by(t.trajectory.c.id)))

    def after(self, place: int) -> tuple[int, list[UUID]]:
        """Return the next ones behind a place in the order of completion, and the place up to which that looked."""
        head = self._head()
        if head <= place:
            number_completed(self._database)
            head = self._head()
        upto = max(place, min(head, place + _LOOK))
        return upto, [] if upto == place else self._find(t.trajectory.c.completed.between(place + 1, upto))

    def running(self) -> list[UUID]:
        """Return, once, those without an ending."""
        takes, self._takes_running = self._takes_running, False
        return self._find(t.trajectory.c.status.is_(None)) if takes else []

    def _head(self) -> int:
        with self._database.reading() as connection:
            return connection.scalar(sa.select(sa.func.max(t.trajectory.c.completed))) or 0

    def _find(self, which: sa.ColumnElement[bool]) -> list[UUID]:
        query = matching((t.trajectory.c.id,), self._selector).where(which, self._condition())
        with self._database.reading() as connection:
            return list(connection.scalars(query.order_by(t.trajectory.c.id)))

    def _condition(self) -> sa.ColumnElement[bool]:
        of_it = t.step.c.trajectory_id == t.trajectory.c.id
        last = sa.select(sa.func.max(t.step.c.idx)).where(of_it).correlate(t.trajectory).scalar_subquery()
        score = t.score.c
        theirs = (score.scorer_id == self._scorer_id, score.trajectory_id == t.trajectory.c.id, score.idx >= last)
        return last.is_not(None) & ~sa.exists().where(*theirs)
