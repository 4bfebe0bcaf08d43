"""How far a job of scoring is, and what failed in it."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from agentprm.store import tables as t
from agentprm.store.database import Database

__all__ = ["Failure", "Tally", "failures", "tally"]

_claim, _job = t.score_claim.c, t.score_job.c


class Tally(NamedTuple):
    """How far a job is, in trajectories."""

    scored: int
    """With a number for one step at least."""
    none: int
    """On which the scorer had no opinion anywhere."""
    failed: int
    """On which it raised, as often as was tried."""
    left: int
    """Queued, or with a worker."""


class Failure(NamedTuple):
    """A trajectory that could not be scored, and why."""

    trajectory_id: UUID
    error: str


def tally(database: Database, job: UUID) -> Tally:
    """Return how far a job is."""
    is_failed = _claim.failed_at.is_not(None)
    counted = sa.select(is_failed, sa.func.count()).where(_claim.job_id == job).group_by(is_failed)
    with database.reading() as connection:
        row = connection.execute(sa.select(_job.n_scored, _job.n_none).where(_job.id == job)).one()
        counts = {bool(failed): n for failed, n in connection.execute(counted)}
    return Tally(row[0], row[1], counts.get(True, 0), counts.get(False, 0))


def failures(database: Database, job: UUID, limit: int = 20) -> list[Failure]:
    """Return what failed in a job, with the error of the last try."""
    which = (_claim.job_id == job, _claim.failed_at.is_not(None))
    query = sa.select(_claim.trajectory_id, _claim.error).where(*which).order_by(_claim.trajectory_id)
    with database.reading() as connection:
        return [Failure(row[0], row[1] or "") for row in connection.execute(query.limit(limit))]
