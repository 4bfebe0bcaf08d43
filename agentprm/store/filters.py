"""Which trajectories: the keywords of `Store.trajectories`, as SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from agentprm import values
from agentprm.errors import InvalidTrajectory
from agentprm.store import tables as t
from agentprm.store.database import Database
from agentprm.store.encode import LARGEST, SMALLEST, microseconds

__all__ = ["chunks", "find", "latest_outcome", "matching", "require_filters", "several"]

_MOST_AT_ONCE = 10_000
"""Ids in one statement; SQLite takes 32,766 parameters, PostgreSQL 65,535."""
_COLUMNS: dict[str, sa.Column[Any]] = {
    "id": t.trajectory.c.id,
    "external_id": t.trajectory.c.external_id,
    "task": t.task.c.key,
    "policy": t.policy.c.name,
    "env": t.env.c.name,
    "group": t.trajectory.c.group_key,
    "status": t.trajectory.c.status,
    "parent": t.trajectory.c.parent_id,
}
_NAMES = {*_COLUMNS, "seed", "since", "until", "ended", "outcome", "without", "limit"}
T = TypeVar("T")


def latest_outcome() -> sa.ScalarSelect[Any]:
    """Return, as SQL, the last opinion on how a trajectory went."""
    rows = sa.select(t.outcome.c.value).where(t.outcome.c.trajectory_id == t.trajectory.c.id)
    return rows.order_by(t.outcome.c.at.desc()).limit(1).correlate(t.trajectory).scalar_subquery()


def chunks(items: Sequence[T], size: int = _MOST_AT_ONCE) -> Iterator[Sequence[T]]:
    """Yield the items, as many at a time as one statement takes."""
    return (items[first : first + size] for first in range(0, len(items), size))


def several(wanted: Any) -> list[Any]:
    """Return one value, or several, as a list."""
    return [wanted] if isinstance(wanted, (str, UUID)) or not isinstance(wanted, Iterable) else list(wanted)


def require_filters(given: Iterable[str], unless: Collection[str] = ()) -> None:
    """Raise TypeError for a keyword that is no filter here."""
    known = _NAMES - set(unless)
    if wrong := sorted(set(given) - known):
        raise TypeError(f"{', '.join(wrong)} is no filter here: there are {', '.join(sorted(known))}")


def find(database: Database, **filters: Any) -> list[UUID]:
    """Return the ids of the trajectories that match, oldest first; see `Store.trajectories`.

    Raises InvalidTrajectory for a `since` or `until` without a time zone.
    """
    ids, limit = filters.pop("id", None), filters.pop("limit", None)
    begun = (t.trajectory.c.started_at, t.trajectory.c.id)
    queries = [matching(begun, filters).order_by(*begun)]
    if ids is not None:
        wanted = list(dict.fromkeys(several(ids)))
        queries = [queries[0].where(t.trajectory.c.id.in_(chunk)) for chunk in chunks(wanted)]
    found: list[tuple[int, UUID]] = []
    for query in queries:
        with database.reading() as connection:
            found += [(row[0], row[1]) for row in connection.execute(query.limit(limit))]
    return [key for _, key in sorted(found)[:limit]]


def matching(columns: Sequence[Any], filters: Mapping[str, Any]) -> sa.Select[Any]:
    """Return, as SQL, columns of the trajectories that match; see `Store.trajectories`."""
    joined = t.trajectory.join(t.task).outerjoin(t.env).outerjoin(t.policy)
    query = sa.select(*columns).select_from(joined).where(*_rest(filters))
    for name, column in _COLUMNS.items():
        if filters.get(name) is not None:
            query = query.where(column.in_([_clean(value) for value in several(filters[name])]))
    return query


def _clean(value: Any) -> Any:
    return values.clean_text(value) if isinstance(value, str) else value


def _rest(filters: Mapping[str, Any]) -> Iterator[sa.ColumnElement[bool]]:
    if filters.get("seed") is not None:
        yield _seeded([int(seed) for seed in several(filters["seed"])])
    if filters.get("since") is not None:
        yield t.trajectory.c.started_at >= _stamp("since", filters["since"])
    if filters.get("until") is not None:
        yield t.trajectory.c.started_at < _stamp("until", filters["until"])
    if filters.get("ended") is not None:
        ended = t.trajectory.c.status.is_not(None)
        yield ended if filters["ended"] else ~ended
    if filters.get("outcome") is not None:
        yield latest_outcome().between(*filters["outcome"])
    if filters.get("without") is not None:
        scored = sa.select(t.score.c.trajectory_id).join(t.scorer)
        yield t.trajectory.c.id.not_in(scored.where(t.scorer.c.digest == filters["without"].digest))


def _seeded(seeds: list[int]) -> sa.ColumnElement[bool]:
    """Return which have one of the seeds; one beyond 64 bits stands beside the first observation."""
    huge = [seed for seed in seeds if not SMALLEST <= seed <= LARGEST]
    is_plain = t.trajectory.c.seed.in_([seed for seed in seeds if seed not in huge])
    if not huge:
        return is_plain
    named = [t.content.c.odd.contains(f'"seed":{values.encode(seed)[0]}', autoescape=True) for seed in huge]
    first = (t.content.c.trajectory_id == t.trajectory.c.id, t.content.c.idx == -1)
    return is_plain | sa.exists().where(*first, sa.or_(*named))


def _stamp(name: str, moment: datetime) -> int:
    if moment.utcoffset() is None:
        raise InvalidTrajectory(f"{name} has no time zone: {moment!r}; say datetime.now(UTC)")
    return microseconds(moment)
