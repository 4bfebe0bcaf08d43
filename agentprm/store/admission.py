"""What ``Store.add`` lets in: a person calls it, so what does not fit is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from agentprm.errors import InvalidScores, InvalidTrajectory, NoSuchTrajectory
from agentprm.store import reader, tables
from agentprm.store.blobs import Blobs
from agentprm.store.database import Database
from agentprm.store.encode import Encoder
from agentprm.store.filters import chunks
from agentprm.store.redact import Redactor
from agentprm.store.rows import Rows
from agentprm.types import Ended, Ending, Scores, Trajectory

__all__ = ["admitted", "check_units"]

_INEXACT = (
    "holds {} values that only their repr could stand for: make them JSON, bytes or arrays first (a recorder would "
    "keep the repr and count it)"
)
T = TypeVar("T")


def admitted(
    database: Database,
    items: Sequence[Trajectory | Scores],
    blobs: Blobs | None = None,
    redactor: Redactor | None = None,
) -> tuple[Rows, int]:
    """Return the rows of what is new among `items`, and how many items that is; see `Store.add` for what it raises."""
    encoder, rows = Encoder(native_uuid=not database.is_sqlite, scope=database.scope, blobs=blobs), Rows()
    trajectories, scores = _sorted(items)
    if redactor is not None:
        trajectories = [_redacted(redactor, redactor.trajectory, t) for t in trajectories]
        scores = [_redacted(redactor, redactor.scores, s) for s in scores]
    fresh, ended = _new_trajectories(database, trajectories)
    for trajectory in fresh:
        _encode(encoder, trajectory, rows)
    for trajectory in ended:
        encoder.encode(Ended(trajectory.id, _ending(trajectory)), rows)
    _check(scores, {t.id: len(t) for t in fresh} | _lengths(database, {s.trajectory_id for s in scores}))
    check_units(database, scores)
    for item in scores:
        encoder.scores(item, rows)
    return rows, len(fresh) + len(ended) + _count_new(database, scores)


def _sorted(items: Sequence[Trajectory | Scores]) -> tuple[list[Trajectory], list[Scores]]:
    for item in items:
        if not isinstance(item, (Trajectory, Scores)):
            raise InvalidTrajectory(f"a store takes Trajectory and Scores objects, not {type(item).__name__}")
    return [i for i in items if isinstance(i, Trajectory)], [i for i in items if isinstance(i, Scores)]


def _new_trajectories(database: Database, given: list[Trajectory]) -> tuple[list[Trajectory], list[Trajectory]]:
    """Return those that the store does not hold, and those that it holds without their ending."""
    known = {t.id: t for t in reader.read_trajectories(database, id=[t.id for t in given])}
    fresh: dict[UUID, Trajectory] = {}
    ended: dict[UUID, Trajectory] = {}
    for trajectory in given:
        other = fresh.get(trajectory.id, known.get(trajectory.id))
        if other is not None and (other.steps, other.last) != (trajectory.steps, trajectory.last):
            raise InvalidTrajectory(
                f"the store holds another trajectory {trajectory.id}, of {len(other)} steps beside {len(trajectory)}: "
                "give the new one an id of its own (agentprm.types.new_id())"
            )
        if other is None or (trajectory.id in fresh and other.ending is None):
            fresh[trajectory.id] = trajectory
        elif other.ending is None and trajectory.ending is not None:
            ended[trajectory.id] = trajectory
    return list(fresh.values()), list(ended.values())


def _redacted(redactor: Redactor, function: Callable[[T], T], given: T) -> T:
    done = function(given)
    if redactor.failed:
        raise InvalidTrajectory(
            f"{redactor.failed} texts could not be redacted, so nothing was stored: redact has to return a text for "
            "every text"
        )
    if redactor.degraded:
        raise InvalidTrajectory("a trajectory " + _INEXACT.format(redactor.degraded))
    return done


def _ending(trajectory: Trajectory) -> Ending:
    assert trajectory.ending is not None
    return trajectory.ending


def _encode(encoder: Encoder, trajectory: Trajectory, rows: Rows) -> None:
    before = encoder.degraded
    encoder.trajectory(trajectory, rows)
    if encoder.degraded > before:
        raise InvalidTrajectory(f"trajectory {trajectory.id} " + _INEXACT.format(encoder.degraded - before))


def _check(given: list[Scores], lengths: dict[UUID, int]) -> None:
    for scores in given:
        n = lengths.get(scores.trajectory_id)
        if n is None:
            raise NoSuchTrajectory(f"{scores.source.name} scores trajectory {scores.trajectory_id}: add that first")
        if scores.start + len(scores) > n:
            raise InvalidScores(
                f"{scores.source.name} scores steps {scores.start} to {scores.start + len(scores) - 1} of trajectory "
                f"{scores.trajectory_id}, which has {n} steps"
            )


def check_units(database: Database, given: list[Scores]) -> None:
    """Refuse scores of another unit or sight than the same recipe's earlier ones: they would be read as those."""
    scorer = tables.scorer.c
    query = sa.select(scorer.digest, scorer.unit, scorer.sees)
    rows = _among(database, query, scorer.digest, sorted({s.source.digest for s in given}))
    said = {row[0]: (row[1], row[2]) for row in rows}
    for scores in given:
        unit, sees = said.setdefault(scores.source.digest, (scores.unit, scores.sees))
        if (unit, sees) != (scores.unit, scores.sees):
            raise InvalidScores(
                f"{scores.source.name} gave a {unit} and saw the {sees} so far, now it is a {scores.unit} and the "
                f"{scores.sees}: give it a name or parameters of its own"
            )


def _lengths(database: Database, ids: Iterable[UUID]) -> dict[UUID, int]:
    of_it = tables.step.c.trajectory_id == tables.trajectory.c.id
    count = sa.select(sa.func.count()).where(of_it).scalar_subquery()
    query = sa.select(tables.trajectory.c.id, count)
    return {row[0]: row[1] for row in _among(database, query, tables.trajectory.c.id, list(ids))}


def _count_new(database: Database, given: list[Scores]) -> int:
    score = tables.score.c
    columns = (tables.scorer.c.digest, score.trajectory_id, sa.func.min(score.idx), sa.func.max(score.idx))
    query = sa.select(*columns).join_from(tables.score, tables.scorer).group_by(*columns[:2])
    rows = _among(database, query, score.trajectory_id, [s.trajectory_id for s in given])
    known = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    n_new = 0
    for scores in given:
        key, last = (scores.source.digest, scores.trajectory_id), scores.start + len(scores) - 1
        first_known, last_known = known.get(key, (last + 1, -1))
        n_new += len(scores) > 0 and (scores.start < first_known or last > last_known)
        known[key] = (min(first_known, scores.start), max(last_known, last))
    return n_new


def _among(database: Database, query: sa.Select[Any], column: sa.Column[Any], among: Sequence[Any]) -> Iterator[Any]:
    for chunk in chunks(among):
        with database.reading() as connection:
            yield from connection.execute(query.where(column.in_(chunk))).all()
