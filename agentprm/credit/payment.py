"""What the learner was paid, beside what the world and the model said, and whether that moved the optimum."""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import answer
from agentprm.credit.spelling import json_at, json_number
from agentprm.credit.table import Table
from agentprm.credit.where import Where, among
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
    h, sums = t.shaping, parts.over_episodes(_paid_per_episode(where), "shaping_id")
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


def _payments(where: Where, name: str) -> Any:
    """Return the columns of what every step was paid, and of what the recipe's scorer said of it."""
    s, h, score = t.step, t.shaping, t.score.alias(f"said_of_{name}")
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    said = (score.c.scorer_id == t.scorer.c.id) & parts.at(score, s) & (score.c.part_id == part)
    joined = s.outerjoin(h).outerjoin(t.scorer, t.scorer.c.digest == h.c.scorer).outerjoin(score, said)
    given = sa.func.coalesce(s.c.given_reward, s.c.env_reward).label("given")
    columns = (s.c.trajectory_id, s.c.shaping_id, s.c.env_reward, given, score.c.value)
    asked = (s.c.env_reward.is_not(None), among(where, s.c.trajectory_id))
    return sa.select(*columns).select_from(joined).where(*asked).subquery(name).c


def _paid_per_episode(where: Where) -> sa.CompoundSelect[Any]:
    """Return the sums of each episode and recipe. Nearly all episodes have one recipe: those need not be sorted."""
    p, q = _payments(where, "one"), _payments(where, "several")
    spread = (
        sa.func.min(p.shaping_id).label("shaping_id"),
        sa.func.max(p.shaping_id).label("highest"),
        sa.func.count(p.shaping_id).label("shaped"),
    )
    each = sa.select(p.trajectory_id, *spread, *_added(p)).group_by(p.trajectory_id).cte("each_trajectory").c
    has_one = (each.shaped == 0) | ((each.shaping_id == each.highest) & (each.shaped == each.n))
    names = [column.name for column in _added(q)]
    one = sa.select(each.shaping_id, *(each[name] for name in names)).where(has_one)
    rest = sa.select(each.trajectory_id).where(~has_one)
    several = sa.select(q.shaping_id, *_added(q)).where(q.trajectory_id.in_(rest))
    return one.union_all(several.group_by(q.shaping_id, q.trajectory_id))


def _added(p: Any) -> list[Any]:
    sums = {"s": p.given - p.env_reward, "n": sa.literal_column("1.0"), "x0": p.env_reward, "x1": p.given}
    sums |= {"x2": p.value, "x3": sa.case((p.value.is_not(None), 1), else_=0)}
    return [sa.func.sum(value).label(name) for name, value in sums.items()]


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
