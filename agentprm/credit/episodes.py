"""Single episodes: one step by step with everybody's opinion, and many as rows to train on."""

from __future__ import annotations

from typing import Any, Unpack
from uuid import UUID

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import Chosen, ScorerForm, answer, choose, rows_of
from agentprm.credit.spelling import id_text, readable, whole
from agentprm.credit.table import Table
from agentprm.credit.where import Where, named_tool
from agentprm.errors import NoSuchTrajectory
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["timeline", "training_set"]

_SHORTEST = 4
"""Digits of an id that may stand for it."""
_MOST_SCORERS = 12


def timeline(store: Store, id: UUID | str, scorer: ScorerForm = None) -> Table:
    """Return one episode step by step: action, score, what it changed, three rewards, and every other scorer's opinion.

    `id` is the trajectory's id, or the last digits of it as tables print them. Raises NoSuchTrajectory.
    """
    key = _trajectory(store, id)
    by = choose(store, scorer)
    s = parts.scored(by.id)
    d = parts.deltas(sa.select(s).where(s.c.trajectory_id == key).cte("here"))
    joined: Any = t.step.outerjoin(d, parts.at(d, t.step))
    others = [other for other in _opinions(store, key) if other.id != by.id][:_MOST_SCORERS]
    values = []
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    for i, other in enumerate(others):
        x = t.score.alias(f"other_{i}")
        joined = joined.outerjoin(x, parts.at(x, t.step) & (x.c.scorer_id == other.id) & (x.c.part_id == part))
        values.append(x.c.value)
    given = sa.func.coalesce(t.step.c.given_reward, t.step.c.env_reward)
    query = sa.select(t.step.c.idx, parts.acted(t.step), d.c.value, d.c.delta, t.step.c.env_reward, given, *values)
    query = query.select_from(joined).where(t.step.c.trajectory_id == key).order_by(t.step.c.idx)
    columns = ("step", "action", "score", "delta", "env_reward", "given_reward", *(other.label for other in others))
    return answer(store, query, f"Episode {key}", columns, where={}, scorer=by.label)


def _trajectory(store: Store, id: UUID | str) -> UUID:
    """Return the id that was meant; raises NoSuchTrajectory for none and for several."""
    text = str(id).replace("-", "").lower()
    if len(text) < _SHORTEST or not set(text) <= set("0123456789abcdef"):
        raise NoSuchTrajectory(f"{id!r} is no trajectory's id: expected 32 hex digits, or the last ones of them")
    query = sa.select(t.trajectory.c.id)
    query = (
        query.where(t.trajectory.c.id == UUID(text))
        if len(text) == 32
        else query.where(id_text(t.trajectory.c.id).like(f"%{text}"))
    )
    found = [row[0] for row in rows_of(store, query.limit(2))]
    if not found:
        raise NoSuchTrajectory(f"the store holds no trajectory {id}")
    if len(found) > 1:
        raise NoSuchTrajectory(f"several trajectories end in {id}: give more digits")
    key: UUID = found[0]
    return key


def _opinions(store: Store, key: UUID) -> list[Chosen]:
    has_scored = sa.exists().where(t.score.c.scorer_id == t.scorer.c.id, t.score.c.trajectory_id == key)
    query = (
        sa.select(t.scorer.c.id, t.scorer.c.name, t.scorer.c.digest).where(has_scored).order_by(t.scorer.c.id.desc())
    )
    return [Chosen(row.id, f"{row.name}@{row.digest[:8]}") for row in rows_of(store, query)]


def training_set(store: Store, scorer: ScorerForm = None, *, limit: int | None = 100, **where: Unpack[Where]) -> Table:
    """Return rows to train on, of at most `limit` episodes, oldest first: what came before, the action, its target.

    The target is a label or score by `scorer`, by default the newest label set (one that saw the whole episode), else
    the newest scorer. `prefix` is everything seen and done before the step, as text, actions after ``> ``; `weight`
    lets every episode count as one. For whole training runs see `agentprm.train`, which streams; this is for export.
    """
    by = choose(store, scorer, labels=True)
    e = parts.episodes(where, "task", "policy", "started_at")
    first = sa.select(e).where(e.c.id.in_(sa.select(t.score.c.trajectory_id).where(t.score.c.scorer_id == by.id)))
    some = first.order_by(e.c.started_at, e.c.id).limit(limit).cte("some")
    c = t.content
    result = sa.func.coalesce(whole(c.c.result_text, c.c.result_hash), readable(c.c.result_native), "")
    here = sa.select(c.c.trajectory_id, c.c.idx).join_from(some, c, c.c.trajectory_id == some.c.id).cte("here")
    deed = sa.func.coalesce("> " + parts.acted(here).self_group() + "\n", "")
    text = (deed + sa.select(result).where(parts.at(c, here)).scalar_subquery()).label("text")
    lines = sa.select(here, text).cte("lines")
    before = sa.func.aggregate_strings(lines.c.text, "\n").over(
        partition_by=lines.c.trajectory_id, order_by=lines.c.idx, rows=(None, -1)
    )
    read = sa.select(lines.c.trajectory_id, lines.c.idx, before.label("prefix")).cte("read")
    s = parts.scored(by.id)
    weight = 1.0 / sa.func.count().over(partition_by=s.c.trajectory_id)
    query = sa.select(
        s.c.trajectory_id,
        s.c.idx,
        some.c.task,
        read.c.prefix,
        parts.acted(s),
        s.c.value,
        weight,
        some.c.policy,
        some.c.outcome,
    )
    query = query.join_from(some, s, s.c.trajectory_id == some.c.id).join(read, parts.at(read, s))
    query = query.where(*named_tool(where, s)).order_by(some.c.started_at, s.c.trajectory_id, s.c.idx)
    columns = ("trajectory", "step", "task", "prefix", "action", "target", "weight", "policy", "outcome")
    return answer(store, query, "Rows to train on", columns, where=where, needs=("any scores",), scorer=by.label)
