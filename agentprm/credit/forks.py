"""What if: episodes played again from the middle, and what that says of actions, of the score, and of each step.

Only here is a difference an *effect*: the state before the step is the same, and what differs was chosen, not found.
"""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import ScorerForm, answer, choose
from agentprm.credit.spelling import first_word, json_at, readable
from agentprm.credit.table import Table
from agentprm.credit.where import Where
from agentprm.ops.agree import difference_interval
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["effects", "leave_one_out", "rollout_values"]

_NEEDS = ("forks", "outcomes")


def _places(where: Where) -> sa.CTE:
    """Return per parent, step and intervention how many forks there are, and the sum of their outcomes.

    The filters choose the forks' parents' kin: forks match them too, having the same task, environment and group.
    """
    e = parts.episodes({**where, "forks": True}, "parent_id", "fork_index", "fork", known=True)
    is_fork = e.c.parent_id.is_not(None) & e.c.fork_index.is_not(None)
    call = sa.select(t.trajectory.c.fork_call).where(t.trajectory.c.id == e.c.id).scalar_subquery()
    keys = (e.c.parent_id, e.c.fork_index, e.c.fork)
    sums = (sa.func.count().label("n"), sa.func.sum(e.c.outcome).label("total"))
    return sa.select(*keys, *sums).where(is_fork, call.is_(None)).group_by(*keys).cte("places")


def _beside_baseline(where: Where) -> sa.CTE:
    """Return every intervention beside its baseline: forks without one at the same step, else how the parent went."""
    p = _places(where)
    base = p.alias("base")
    here = (base.c.parent_id == p.c.parent_id) & (base.c.fork_index == p.c.fork_index) & base.c.fork.is_(None)
    parent = parts.episodes({"forks": True}, name="recorded")
    n = sa.func.coalesce(base.c.n, sa.case((parent.c.outcome.is_not(None), 1), else_=0)).label("base_n")
    total = sa.func.coalesce(base.c.total, parent.c.outcome).label("base_total")
    joined = p.outerjoin(base, here).outerjoin(parent, parent.c.id == p.c.parent_id)
    return sa.select(p, n, total).select_from(joined).where(p.c.fork.is_not(None)).cte("interventions")


def effects(store: Store, *, limit: int | None = None, **where: Unpack[Where]) -> Table:
    """Return what each intervention did: mean outcome of the forks with it, less that of those without, at one step.

    The baseline is the forks from that step without an intervention, else the recorded episode alone (`n_base` 1).
    Intervals are Wilson's, and of the difference Newcombe's (1998). The largest effect first.
    """
    i = _beside_baseline(where)
    effect = i.c.total / i.c.n - i.c.base_total / sa.func.nullif(i.c.base_n, 0)
    query = sa.select(i.c.parent_id, i.c.fork_index, readable(i.c.fork), i.c.n, i.c.total, i.c.base_n, i.c.base_total)
    query = query.order_by(sa.func.abs(effect).desc(), i.c.parent_id, i.c.fork_index, i.c.fork).limit(limit)
    columns = (
        "trajectory",
        "step",
        "intervention",
        "n",
        "success",
        "low",
        "high",
        "n_base",
        "base",
        "effect",
        "effect_low",
        "effect_high",
    )
    return answer(store, query, "What interventions did", columns, _effect_row, where=where, needs=_NEEDS)


def _effect_row(row: Any) -> tuple[Any, ...]:
    parent, step, fork, n, total, base_n, base_total = row
    share = parts.share_row(total, n)
    if not base_n:
        return parent, step, fork, n, *share, 0, None, None, None, None
    effect = total / n - base_total / base_n
    return (
        parent,
        step,
        fork,
        n,
        *share,
        base_n,
        base_total / base_n,
        effect,
        *difference_interval(total, n, base_total, base_n),
    )


def rollout_values(
    store: Store, scorer: ScorerForm = None, *, limit: int | None = None, **where: Unpack[Where]
) -> Table:
    """Return, at steps that were played on from, the mean outcome of the completions beside the scorer's value there.

    Of forks without an intervention (Monte-Carlo rollouts). `low` and `high` are the mean outcome's interval (Wilson);
    the note says how many scores lie inside. The largest difference first.
    """
    by = choose(store, scorer)
    p, s = _places(where), parts.scored(by.id)
    here = (s.c.trajectory_id == p.c.parent_id) & (s.c.idx == p.c.fork_index)
    step = sa.select(s, p.c.n, p.c.total).join_from(p, s, here).where(p.c.fork.is_(None)).cte("rolled")
    difference = step.c.value - step.c.total / step.c.n
    query = sa.select(step.c.trajectory_id, step.c.idx, parts.acted(step), step.c.n, step.c.total, step.c.value)
    query = query.order_by(sa.func.abs(difference).desc(), step.c.trajectory_id, step.c.idx).limit(limit)
    columns = ("trajectory", "step", "action", "n", "mc_value", "low", "high", "score", "difference")

    def row(found: Any) -> tuple[Any, ...]:
        parent, index, action, n, total, value = found
        return parent, index, action, n, *parts.share_row(total, n), value, value - total / n

    def note(rows: tuple[tuple[Any, ...], ...]) -> str:
        inside = sum(row[5] <= row[7] <= row[6] for row in rows)
        size = sum(abs(row[8]) for row in rows) / len(rows)
        return f"{inside} of {len(rows)} scores lie in the rollouts' interval; mean absolute difference {size:.3f}"

    return answer(
        store,
        query,
        "Rollouts beside the score",
        columns,
        row,
        where=where,
        needs=("forks", "scores"),
        scorer=by.label,
        note=note,
    )


def leave_one_out(store: Store, **where: Unpack[Where]) -> Table:
    """Return the effect of leaving something out: a tool, or a step of each kind.

    Of forks with the interventions `without_tool` and `drop`. Per place, the mean outcome of the forks less that of the
    baseline (see `effects`); `effect` is the mean over places, its 95 % interval normal over recorded episodes, empty
    under ten of them. A negative effect: what was left out was needed.
    """
    i = _beside_baseline(where)
    tool, drop = json_at(i.c.fork, "without_tool"), json_at(i.c.fork, "drop")
    step = sa.select(i, i.c.parent_id.label("trajectory_id"), i.c.fork_index.label("idx"), tool.label("tool"))
    places = step.where(i.c.base_n > 0, tool.is_not(None) | drop.is_not(None)).cte("left_out")
    what = sa.func.coalesce("tool " + places.c.tool, "step " + _verb(places)).label("what")
    effect = (places.c.total / places.c.n - places.c.base_total / places.c.base_n).label("effect")
    named = sa.select(what, places.c.trajectory_id, places.c.n.label("forks"), effect).cte("named")
    sums = parts.clustered(named, named.c.effect, None, "what", extra=(named.c.forks,))
    query = sa.select(sums).order_by(sums.c.s / sums.c.n, sums.c.what)
    columns = ("left_out", "n", "episodes", "effect", "low", "high", "forks")
    return answer(
        store,
        query,
        "What is missed when it is left out",
        columns,
        lambda row: (row[0], round(row[1]), row[2], *parts.clustered_row(*row[1:7]), int(row[7])),
        where=where,
        needs=_NEEDS,
    )


def _verb(step: sa.CTE) -> sa.ScalarSelect[Any]:
    """Return what kind of thing a step did, as `value_by_action` names it; several tools joined by " + "."""
    called = sa.select(sa.func.aggregate_strings(t.tool.c.name, " + ")).select_from(t.tool_call.join(t.tool))
    tools = called.where(parts.at(t.tool_call, step)).correlate(step).scalar_subquery()
    word = first_word(sa.func.coalesce(t.content.c.action_text, readable(t.content.c.action_native), t.content.c.plan))
    named = sa.func.coalesce(tools, word)
    return sa.select(named).where(parts.at(t.content, step)).correlate(step).scalar_subquery()
