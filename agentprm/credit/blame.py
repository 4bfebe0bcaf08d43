"""Which step lost it: the worst step of each failure, every large drop, recoveries, and which agent of several.

What a step changed is its score less the last one before it. Such a difference is a correlation, not an effect: another
action might have fared no better. Columns are called `mean_delta`; "effect" is kept for episodes played again.
"""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts, sums
from agentprm.credit.asking import Chosen, ScorerForm, answer, choose
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
    w = _worst_steps(by, where)
    failed = (
        sa.select(w, e.c.task).join_from(e, w, w.c.trajectory_id == e.c.id).where(e.c.outcome < below, w.c.delta < 0)
    )
    worst = failed.order_by(w.c.delta, w.c.trajectory_id)
    query = _shown(worst.limit(limit).cte("worst"), "task")
    columns = ("trajectory", "task", "step", "action", "before", "after", "delta")
    title = "The step that sank each failed episode"
    none = f"no episode with an outcome under {below:g} lost value at any step"
    return answer(store, query, title, columns, where=where, needs=_NEEDS, scorer=by.label, otherwise=none)


def _worst_steps(by: Chosen, where: Where) -> sa.CTE:
    """Return the step of each episode that lost most, of those that called the tool asked for if one was."""
    if where.get("tool"):
        d = parts.deltas(parts.scored(by.id))
        rank = sa.func.row_number().over(partition_by=d.c.trajectory_id, order_by=(d.c.delta, d.c.idx)).label("rank")
        ranked = sa.select(d, rank).where(d.c.delta.is_not(None), *named_tool(where, d)).cte("ranked")
        return sa.select(ranked).where(ranked.c.rank == 1).cte("worst_steps")
    s = sums.episode_sums(by, "worst_idx", "before", "after").c
    step = (s.trajectory_id, s.worst_idx.label("idx"), s.after.label("value"), s.before)
    delta = (s.after - s.before).label("delta")
    return sa.select(*step, delta).where(s.worst_idx.is_not(None)).cte("worst_steps")


def drops(
    store: Store, scorer: ScorerForm = None, *, over: float = 0.2, limit: int | None = None, **where: Unpack[Where]
) -> Table:
    """Return every step that lost more than `over`, whatever became of the episode; the worst first.

    Each row is one observation: it has no interval.
    """
    by = choose(store, scorer)
    w, e = _worst_steps(by, where), parts.episodes(where)
    fell = sa.select(e).join_from(e, w, w.c.trajectory_id == e.c.id).where(w.c.delta < -over)
    # The worst steps of all lie in as many episodes at most: those that hold the worst.
    some = fell.order_by(w.c.delta, w.c.trajectory_id).limit(limit).cte("fell")
    d = parts.deltas(parts.scored(by.id, which=sa.select(some.c.id)))
    steps = sa.select(d, some.c.outcome).join_from(some, d, some.c.id == d.c.trajectory_id)
    steps = steps.where(d.c.delta < -over, *named_tool(where, d))
    worst = steps.order_by(d.c.delta, d.c.trajectory_id, d.c.idx).limit(limit).cte("worst")
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
    s = sums.episode_sums(by, "before", "after").c
    fell = sa.case((s.after - s.before < -over, 1), else_=0).label("fell")
    each = sa.select(e.c.policy, e.c.outcome, fell).where(e.c.id == s.trajectory_id).cte("each")
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
    e = sums.episode_sums(by, "before", "after", "first", "last").c
    changes = ((e.after - e.before).label("delta"), (e.last - e.first).label("s"), (e.n - 1).label("n"))
    found = sa.select(family.c.root, family.c.path, e.trajectory_id, *changes)
    lost = found.where(e.trajectory_id == family.c.id, e.n > 1).cte("lost")
    order = (lost.c.delta, lost.c.trajectory_id)
    rank = sa.func.row_number().over(partition_by=lost.c.root, order_by=order).label("rank")
    ranked = sa.select(lost, rank).cte("ranked")
    worst = sa.func.max(sa.case(((ranked.c.rank == 1) & (ranked.c.delta < 0), 1), else_=0)).label("worst")
    s, n = sa.func.sum(ranked.c.s).label("s"), sa.func.sum(ranked.c.n).label("n")
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
