"""Which episodes a page lists: failures first, the deepest drop of the score first among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack
from uuid import UUID

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import ScorerForm, rows_of
from agentprm.credit.report.overview import whose
from agentprm.credit.report.plain import brief, number
from agentprm.credit.where import Where
from agentprm.store import tables as t
from agentprm.store.filters import chunks
from agentprm.store.store import Store

__all__ = ["index", "is_people"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK = 1_000


def index(
    store: Store, scorer: ScorerForm = None, *, limit: int | None = None, **where: Unpack[Where]
) -> dict[str, Any]:
    """Return the `episodes` a page lists and how many there are in `total`, as plain data.

    Each with its id, task, policy, outcome, number of steps, the step that lost most (`sank`, `delta`, `action`), the
    first step that people marked as wrong (`marked`) and the scorer's `curve`.
    """
    by = whose(store, scorer)
    # Two statements, put together here: joined, SQLite would look for each episode through all the others.
    fell = {row.trajectory_id: row for row in rows_of(store, _falls(by.id, where))}
    heads = rows_of(store, sa.select(parts.episodes(where, "policy", "env", "started_at")))
    found = sorted(heads, key=lambda head: _place(head, fell.get(head.id)))[:limit]
    ids = [row.id for row in found]
    said, deeds = _said(store, ids), _deeds(store, [(key, fell[key].idx) for key in ids if key in fell])
    curves, marked = _curves(store, by.id, ids), _marked(store, ids)
    episodes = [
        {
            **_episode(row, said[row.id], fell.get(row.id), deeds.get(row.id)),
            "marked": marked.get(row.id),
            "curve": curves.get(row.id, []),
        }
        for row in found
    ]
    return {"total": len(heads), "episodes": episodes}


def _falls(scorer_id: int, where: Where) -> sa.Select[Any]:
    """Return the step that lost most, of each episode in which one lost anything."""
    d = parts.deltas(parts.scored(scorer_id), parts.episodes(where))
    rank = sa.func.row_number().over(partition_by=d.c.trajectory_id, order_by=(d.c.delta, d.c.idx)).label("rank")
    ranked = sa.select(d.c.trajectory_id, d.c.idx, d.c.delta, rank).where(d.c.delta < 0).cte("ranked")
    return sa.select(ranked).where(ranked.c.rank == 1)


def _place(head: Any, fall: Any) -> tuple[Any, ...]:
    """Return what orders the list: failures first, the deepest fall, then the newest."""
    has_failed = head.outcome is not None and head.outcome < 0.5
    return not has_failed, fall.delta if fall else 0.0, -head.started_at, head.id


def _said(store: Store, ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Return the task, its key, the status and the number of steps of each episode."""
    steps = sa.select(sa.func.count()).where(t.step.c.trajectory_id == t.trajectory.c.id).scalar_subquery()
    query = sa.select(t.trajectory.c.id, t.task.c.text, t.task.c.key, t.trajectory.c.status, steps.label("steps"))
    query = query.select_from(t.trajectory.join(t.task))
    return {
        row.id: row
        for chunk in chunks(ids, _CHUNK)
        for row in rows_of(store, query.where(t.trajectory.c.id.in_(chunk)))
    }


def _deeds(store: Store, steps: Sequence[tuple[UUID, int]]) -> dict[UUID, str]:
    """Return what was done at one step of each episode."""
    found: dict[UUID, str] = {}
    query = sa.select(t.step.c.trajectory_id, t.step.c.idx, parts.acted(t.step))
    for chunk in chunks(steps, _CHUNK):
        at = dict(chunk)
        # Two conditions where a pair would do: no engine but PostgreSQL looks pairs up in an index.
        here = query.where(t.step.c.trajectory_id.in_(at), t.step.c.idx.in_(set(at.values())))
        found |= {row.trajectory_id: row.action for row in rows_of(store, here) if at[row.trajectory_id] == row.idx}
    return found


def _episode(row: Any, said: Any, fall: Any, action: str | None) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "task": brief(said.text),
        "key": brief(said.key),
        "policy": brief(row.policy) or None,
        "env": brief(row.env) or None,
        "outcome": number(row.outcome),
        "status": said.status,
        "steps": said.steps,
        "began": (_EPOCH + timedelta(microseconds=row.started_at)).isoformat(timespec="seconds"),
        "sank": fall and fall.idx,
        "delta": fall and number(fall.delta, 4),
        "action": brief(action, 80) if fall else None,
    }


def _curves(store: Store, scorer_id: int, ids: Sequence[UUID]) -> dict[UUID, list[float | None]]:
    """Return each episode's scores by step, None where the scorer had no opinion."""
    values: dict[UUID, dict[int, float]] = defaultdict(dict)
    s = parts.scored(scorer_id)
    for chunk in chunks(ids, _CHUNK):
        for row in rows_of(store, sa.select(s).where(s.c.trajectory_id.in_(chunk))):
            values[row.trajectory_id][row.idx] = number(row.value, 4)
    return {key: [by_step.get(i) for i in range(max(by_step) + 1)] for key, by_step in values.items()}


def is_people(scorer: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return, as SQL, that a scorer stands for what people said."""
    return (scorer.c.name == "human") | scorer.c.spec.contains('"by":"human"')


def _marked(store: Store, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the first step of each episode that people called wrong."""
    s, label = t.score, t.label
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    people = sa.select(t.scorer.c.id).where(is_people(t.scorer))
    first: dict[UUID, int] = {}
    for chunk in chunks(ids, _CHUNK):
        scored = sa.select(s.c.trajectory_id, sa.func.min(s.c.idx).label("idx"))
        scored = scored.where(s.c.scorer_id.in_(people), s.c.part_id == part, s.c.value < 0.5)
        labelled = sa.select(label.c.trajectory_id, sa.func.min(label.c.idx).label("idx")).where(label.c.value < 0.5)
        for query, table in ((scored, s), (labelled, label)):
            query = query.where(table.c.trajectory_id.in_(chunk)).group_by(table.c.trajectory_id)
            _keep_first(first, rows_of(store, query))
    return first


def _keep_first(first: dict[UUID, int], rows: Iterable[Any]) -> None:
    for row in rows:
        if row.idx is not None:
            first[row.trajectory_id] = min(row.idx, first.get(row.trajectory_id, row.idx))
