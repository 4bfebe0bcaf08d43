"""What ``Store.add`` lets in: a person calls it, so what does not fit is refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from agentprm.errors import InvalidScores, InvalidTrajectory, NoSuchTrajectory
from agentprm.store import reader, tables
from agentprm.store.database import Database
from agentprm.store.encode import Encoder, Rows
from agentprm.types import Scores, Trajectory

__all__ = ["admitted", "chunks"]


def admitted(database: Database, items: Sequence[Trajectory | Scores]) -> tuple[Rows, int]:
    """Return the rows of what is new among `items`, and how many items that is; see `Store.add` for what it raises."""
    encoder, rows = Encoder(native_uuid=not database.is_sqlite), Rows()
    fresh = _fresh(database, [item for item in items if isinstance(item, Trajectory)])
    for trajectory in fresh:
        _encode(encoder, trajectory, rows)
    scores = [item for item in items if isinstance(item, Scores)]
    _check(scores, {t.id: len(t) for t in fresh} | _lengths(database, {s.trajectory_id for s in scores}))
    new = _unknown(database, scores)
    for item in scores:
        encoder.scores(item, rows)
    return rows, len(fresh) + len(new)


def chunks(ids: Sequence[UUID], size: int = 500) -> Iterator[Sequence[UUID]]:
    """Yield the ids, as many at a time as one statement takes."""
    return (ids[first : first + size] for first in range(0, len(ids), size))


def _fresh(database: Database, given: list[Trajectory]) -> list[Trajectory]:
    known: dict[UUID, Trajectory] = {}
    for chunk in chunks([t.id for t in given]):
        known |= {t.id: t for t in reader.read_trajectories(database, reader.matching(id=chunk))}
    fresh: dict[UUID, Trajectory] = {}
    for trajectory in given:
        other = known.get(trajectory.id) or fresh.get(trajectory.id)
        if other is None:
            fresh[trajectory.id] = trajectory
        elif (other.steps, other.last) != (trajectory.steps, trajectory.last):
            raise InvalidTrajectory(
                f"the store holds another trajectory {trajectory.id}, of {len(other)} steps beside {len(trajectory)}: "
                "give the new one an id of its own (agentprm.types.new_id())"
            )
    return list(fresh.values())


def _encode(encoder: Encoder, trajectory: Trajectory, rows: Rows) -> None:
    before = encoder.degraded
    encoder.trajectory(trajectory, rows)
    if encoder.degraded > before:
        raise InvalidTrajectory(
            f"trajectory {trajectory.id} holds {encoder.degraded - before} values that only their repr could stand "
            "for: make them JSON, bytes or arrays first (a recorder would keep the repr and count it)"
        )


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


def _lengths(database: Database, ids: Iterable[UUID]) -> dict[UUID, int]:
    of_it = tables.step.c.trajectory_id == tables.trajectory.c.id
    count = sa.select(sa.func.count()).where(of_it).scalar_subquery()
    query = sa.select(tables.trajectory.c.id, count)
    return {row[0]: row[1] for row in _among(database, query, tables.trajectory.c.id, list(ids))}


def _unknown(database: Database, given: list[Scores]) -> list[Scores]:
    query = sa.select(tables.scorer.c.digest, tables.score.c.trajectory_id).join(tables.scorer).distinct()
    rows = _among(database, query, tables.score.c.trajectory_id, [s.trajectory_id for s in given])
    known = {(row[0], row[1]) for row in rows}
    return [s for s in given if (s.source.digest, s.trajectory_id) not in known]


def _among(database: Database, query: sa.Select[Any], column: sa.Column[Any], ids: Sequence[UUID]) -> Iterator[Any]:
    for chunk in chunks(ids):
        with database.reading() as connection:
            yield from connection.execute(query.where(column.in_(chunk))).all()
