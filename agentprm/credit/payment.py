"""What the learner was paid, beside what the world and the model said, and whether that moved the optimum."""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import answer
from agentprm.credit.spelling import json_at, json_number
from agentprm.credit.table import Table
from agentprm.credit.where import Where
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["paid", "shaping"]


def _named(row: Any) -> str:
    return f"{row.shape or 'shaping'}@{row.digest[:8]}"


def paid(store: Store, **where: Unpack[Where]) -> Table:
    """Return the mean reward per step of world, model and learner, per shaping recipe, and what shaping added.

    The score is that of the recipe's own scorer. `added` is given less environment reward, with a cluster-robust 95 %
    interval; `unshaped` steps were paid what the world paid.
    """
    e, s, h = parts.episodes(where), t.step, t.shaping
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    said = (t.score.c.scorer_id == t.scorer.c.id) & parts.at(t.score, s) & (t.score.c.part_id == part)
    joined = s.join(e, e.c.id == s.c.trajectory_id).outerjoin(h).outerjoin(t.scorer, t.scorer.c.digest == h.c.scorer)
    given = sa.func.coalesce(s.c.given_reward, s.c.env_reward).label("given")
    columns = (s.c.trajectory_id, s.c.shaping_id, s.c.env_reward, given, t.score.c.value)
    p = (
        sa.select(*columns)
        .select_from(joined.outerjoin(t.score, said))
        .where(s.c.env_reward.is_not(None))
        .cte("payments")
    )
    scored = sa.case((p.c.value.is_not(None), 1), else_=0)
    extra = (p.c.env_reward, p.c.given, p.c.value, scored)
    sums = parts.clustered(p, p.c.given - p.c.env_reward, None, "shaping_id", extra=extra)
    shape = json_at(h.c.spec, "params", "shape").label("shape")
    query = sa.select(sums, shape, h.c.digest).select_from(sums.outerjoin(h, h.c.id == sums.c.shaping_id))
    columns_ = ("shaping", "n", "episodes", "mean_env", "mean_score", "mean_given", "added", "low", "high")
    return answer(
        store,
        query.order_by(sums.c.shaping_id),
        "What the learner was paid, per step",
        columns_,
        _paid_row,
        where=where,
    )


def _paid_row(row: Any) -> tuple[Any, ...]:
    name = "unshaped" if row.shaping_id is None else _named(row)
    score = row.x2 / row.x3 if row.x3 else None
    sums = parts.clustered_row(row.n, row.k, row.s, row.ss, row.sn, row.nn)
    return name, round(row.n), row.k, row.x0 / row.n, score, row.x1 / row.n, *sums


def shaping(store: Store, *, tolerance: float = 1e-6, **where: Unpack[Where]) -> Table:
    """Return whether shaping left the best policy what it was: per recipe, what it added to whole terminated episodes.

    Potential-based shaping (Ng et al. 1999) adds Σ γᵗ(given − env) = −weight·start to every terminated episode,
    whatever happened in it. `added` is the mean of that sum (normal interval over episodes), `expected` what it should
    be, `worst` the largest distance from it; `kept` says whether that is within `tolerance`.
    """
    e, s, h = parts.episodes(where), t.step, t.shaping
    gamma = sa.func.coalesce(json_number(h.c.spec, "params", "gamma"), 1.0)
    weight, start = (
        sa.func.coalesce(json_number(h.c.spec, "params", name), other)
        for name, other in (("weight", 1.0), ("start", 0.0))
    )
    recipes = sa.select(
        h.c.id,
        gamma.label("gamma"),
        (-weight * start).label("expected"),
        h.c.digest,
        json_at(h.c.spec, "params", "shape").label("shape"),
    ).cte("recipes")
    r = recipes.c
    added = (s.c.given_reward - s.c.env_reward) * sa.case((r.gamma == 1.0, 1.0), else_=sa.func.pow(r.gamma, s.c.idx))
    ended = t.trajectory.c.terminated.is_(sa.true())
    joined = (
        s.join(recipes, r.id == s.c.shaping_id)
        .join(e, e.c.id == s.c.trajectory_id)
        .join(t.trajectory, t.trajectory.c.id == e.c.id)
    )
    per = sa.select(s.c.trajectory_id, r.id, r.shape, r.digest, r.expected, sa.func.sum(added).label("added"))
    per = per.select_from(joined).where(ended)
    each = per.group_by(s.c.trajectory_id, r.id, r.shape, r.digest, r.expected).cte("each")
    worst = sa.func.max(sa.func.abs(each.c.added - each.c.expected)).label("worst")
    keys = (each.c.shape, each.c.digest, each.c.expected)
    sums = (
        sa.func.count().label("n"),
        sa.func.sum(each.c.added).label("s"),
        sa.func.sum(each.c.added * each.c.added).label("ss"),
    )
    query = sa.select(*keys, *sums, worst).group_by(each.c.id, *keys).order_by(each.c.id)

    def row(found: Any) -> tuple[Any, ...]:
        mean, low, high = parts.clustered_row(found.n, found.n, found.s, found.ss, found.s, found.n)
        kept = "yes" if found.worst <= tolerance else "no"
        return _named(found), found.n, mean, low, high, found.expected, found.worst, kept

    columns = ("shaping", "n", "added", "low", "high", "expected", "worst", "kept")
    return answer(store, query, "Did shaping keep the optimum?", columns, row, where=where, needs=("shaping",))
