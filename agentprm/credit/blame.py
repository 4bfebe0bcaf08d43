"""Which step lost it: the worst step of each failure, every large drop, recoveries, and which agent of several.

What a step changed is its score less the last one before it. Such a difference is a correlation, not an effect: another
action might have fared no better. Columns are called `mean_delta`; "effect" is kept for episodes played again.
"""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import ScorerForm, answer, choose
from agentprm.credit.table import Table
from agentprm.credit.where import Where, named_tool
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["drops", "recovery", "sinking_steps", "subagents"]

_NEEDS = ("scores", "outcomes")


def sinking_steps(
    store: Store, scorer: ScorerForm = None, *, below: float = 0.5, limit: int | None = None, **where: Unpack[Where]
) -> Table:
    """Return, for each episode with an outcome under `below`, the step that lost most value; the worst first.

    An episode in which no step lost anything does not appear. Each row is one observation: it has no interval.
    """
    by = choose(store, scorer)
    e = parts.episodes(where, "task", known=True)
    failed = sa.select(e).where(e.c.outcome < below).cte("failed")
    d = parts.deltas(parts.scored(by.id), failed, "task")
    rank = sa.func.row_number().over(partition_by=d.c.trajectory_id, order_by=(d.c.delta, d.c.idx)).label("rank")
    ranked = sa.select(d, rank).where(d.c.delta < 0, *named_tool(where, d)).cte("ranked")
    worst = sa.select(ranked).where(ranked.c.rank == 1).order_by(ranked.c.delta, ranked.c.trajectory_id)
    query = _shown(worst.limit(limit).cte("worst"), "task")
    columns = ("trajectory", "task", "step", "action", "before", "after", "delta")
    title = "The step that sank each failed episode"
    none = f"no episode with an outcome under {below:g} lost value at any step"
    return answer(store, query, title, columns, where=where, needs=_NEEDS, scorer=by.label, otherwise=none)


def drops(
    store: Store, scorer: ScorerForm = None, *, over: float = 0.2, limit: int | None = None, **where: Unpack[Where]
) -> Table:
    """Return every step that lost more than `over`, whatever became of the episode; the worst first.

    Each row is one observation: it has no interval.
    """
    by = choose(store, scorer)
    d = parts.deltas(parts.scored(by.id))
    fell = sa.select(d).where(d.c.delta < -over, *named_tool(where, d)).cte("fell")
    e = parts.episodes(where)
    joined = sa.select(fell, e.c.outcome).join_from(fell, e, e.c.id == fell.c.trajectory_id)
    worst = joined.order_by(fell.c.delta, fell.c.trajectory_id, fell.c.idx).limit(limit).cte("worst")
    columns = ("trajectory", "outcome", "step", "action", "before", "after", "delta")
    title = f"Where value fell by more than {over:g}"
    return answer(
        store,
        _shown(worst, "outcome"),
        title,
        columns,
        where=where,
        needs=_NEEDS[:1],
        scorer=by.label,
        otherwise=f"no step lost more than {over:g}",
    )


def _shown(worst: sa.CTE, beside: str) -> sa.Select[Any]:
    w = worst.c
    query = sa.select(w.trajectory_id, w[beside], w.idx, parts.acted(worst), w.before, w.value, w.delta)
    return query.order_by(w.delta, w.trajectory_id, w.idx)


def recovery(store: Store, scorer: ScorerForm = None, *, over: float = 0.2, **where: Unpack[Where]) -> Table:
    """Return how often episodes still succeeded after a step that lost more than `over`, beside those without one.

    One row per policy; intervals are Wilson's over episodes.
    """
    by = choose(store, scorer)
    e = parts.episodes(where, "policy", known=True)
    d = parts.deltas(parts.scored(by.id), e)
    fell = sa.func.max(sa.case((d.c.delta < -over, 1), else_=0)).label("fell")
    worst = sa.select(d.c.trajectory_id, fell).group_by(d.c.trajectory_id).cte("worst")
    each = (
        sa.select(e.c.policy, e.c.outcome, worst.c.fell)
        .join_from(worst, e, e.c.id == worst.c.trajectory_id)
        .cte("each")
    )
    success = parts.won(each.c.outcome)
    fallen, others = sa.func.sum(each.c.fell), sa.func.sum(1 - each.c.fell)
    wins = (sa.func.sum(success * each.c.fell), sa.func.sum(success * (1 - each.c.fell)))
    query = sa.select(each.c.policy, fallen, wins[0], others, wins[1]).group_by(each.c.policy).order_by(each.c.policy)
    columns = ("policy", "n", "recovered", "low", "high", "n_without", "success_without", "low_without", "high_without")
    title = f"Success after a step that lost more than {over:g}"
    return answer(store, query, title, columns, _recovery_row, where=where, needs=_NEEDS, scorer=by.label)


def _recovery_row(row: Any) -> tuple[Any, ...]:
    policy, n, recovered, others, successes = row
    return policy, n, *parts.share_row(recovered, n), others, *parts.share_row(successes, others)


def subagents(store: Store, scorer: ScorerForm = None, *, below: float = 0.5, **where: Unpack[Where]) -> Table:
    """Return which agent took the worst step, where agents call agents: per path of names from the root down.

    `n` counts failed root episodes (outcome under `below`) in which the agent ran and some agent lost value; `blamed`
    is the share in which the largest loss was its own (Wilson). An agent is called by its policy, else by its
    environment.
    """
    by = choose(store, scorer)
    family = _family(parts.episodes(where, known=True), below)
    d = parts.deltas(parts.scored(by.id))
    found = sa.select(family.c.root, family.c.path, d.c.trajectory_id, d.c.idx, d.c.delta)
    lost = found.join_from(family, d, d.c.trajectory_id == family.c.id).cte("lost")
    order = (lost.c.delta, lost.c.trajectory_id, lost.c.idx)
    rank = sa.func.row_number().over(partition_by=lost.c.root, order_by=order).label("rank")
    ranked = sa.select(lost, rank).where(lost.c.delta.is_not(None)).cte("ranked")
    worst = sa.func.max(sa.case(((ranked.c.rank == 1) & (ranked.c.delta < 0), 1), else_=0)).label("worst")
    s, n = sa.func.sum(ranked.c.delta).label("s"), sa.func.count().label("n")
    each = sa.select(ranked.c.root, ranked.c.path, worst, s, n).group_by(ranked.c.root, ranked.c.path).cte("each")
    totals = (sa.func.count(), sa.func.sum(each.c.worst), sa.func.sum(each.c.s) / sa.func.sum(each.c.n))
    query = sa.select(each.c.path, *totals).group_by(each.c.path).order_by(totals[1].desc(), each.c.path)
    columns = ("agent", "n", "blamed", "low", "high", "mean_delta")
    title, needs = "Which agent took the worst step", ("subagents", *_NEEDS)
    return answer(
        store,
        query,
        title,
        columns,
        lambda row: (row[0], row[1], *parts.share_row(row[2], row[1]), row[3]),
        where=where,
        needs=needs,
        scorer=by.label,
    )


def _family(roots: sa.CTE, below: float) -> sa.CTE:
    """Return each failed root and its descendants, with their path."""
    name = sa.func.coalesce(t.policy.c.name, t.env.c.name, "agent")
    named = t.trajectory.outerjoin(t.policy).outerjoin(t.env)
    first = sa.select(t.trajectory.c.id.label("root"), t.trajectory.c.id, name.label("path")).select_from(
        named.join(roots, roots.c.id == t.trajectory.c.id)
    )
    first = first.where(roots.c.outcome < below, t.trajectory.c.parent_id.is_(None))
    tree = first.cte("family", recursive=True)
    child = sa.select(tree.c.root, t.trajectory.c.id, tree.c.path + " / " + name).select_from(
        named.join(tree, tree.c.id == t.trajectory.c.parent_id)
    )
    return tree.union_all(child.where(t.trajectory.c.fork_call.is_not(None)))
