"""The same state again: what each action there was worth beside the others, and steps wasted in loops."""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import answer
from agentprm.credit.hints import option
from agentprm.credit.spelling import readable, whole
from agentprm.credit.table import Table
from agentprm.credit.where import Where
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["anchor_advantage", "loops"]


def anchor_advantage(store: Store, *, visits: int = 10, limit: int | None = 20, **where: Unpack[Where]) -> Table:
    """Return, in states that several episodes came through, what each action was worth beside the others there.

    Episodes are compared within their group, else within their task. `advantage` is the mean outcome after the action
    less that of all visits to the state (Feng et al. 2025, GiGPO, on outcomes without discount); an episode counts
    once per state and action; what won or lost most outcomes comes first. States with at least `visits` visits and two
    actions; `success` has Wilson's interval.
    """
    e = parts.episodes(where, "task", "group_key", known=True)
    group = sa.func.coalesce(e.c.group_key, e.c.task).label("compared_in")
    # Most states are met once: leaving those out first leaves little to sort.
    c = _seen().subquery("met").c
    met = sa.select(c.state_hash).group_by(c.state_hash).having(sa.func.count() >= visits)
    seen = _seen(met).cte("seen")
    columns = (group, seen.c.state_hash, seen.c.trajectory_id, e.c.outcome, sa.func.min(seen.c.idx).label("idx"))
    visit = sa.select(*columns).join_from(seen, e, seen.c.trajectory_id == e.c.id)
    v = visit.group_by(group, seen.c.state_hash, seen.c.trajectory_id, e.c.outcome).cte("visits")
    state = (v.c.compared_in, v.c.state_hash)
    n_visits = sa.func.count().over(partition_by=state).label("n_visits")
    place = sa.func.row_number().over(partition_by=state, order_by=v.c.trajectory_id).label("place")
    counted = sa.select(v, n_visits, place).cte("counted")
    often = sa.select(counted).where(counted.c.n_visits >= visits).cte("often")
    a = _per_action(often)
    everyone = (a.c.compared_in, a.c.state_hash)
    sums = [sa.func.sum(x).over(partition_by=everyone) for x in (a.c.total, a.c.n)]
    beside = (sums[0] / sums[1]).label("of_state"), sa.func.count().over(partition_by=everyone).label("n_actions")
    b = sa.select(a, *beside).cte("beside").c
    gain = b.total - b.n * b.of_state
    best = sa.select(b.compared_in, b.state_hash, b.action, b.n, b.total, b.of_state).where(b.n_actions > 1)
    top = best.order_by(sa.func.abs(gain).desc(), b.compared_in, b.state_hash, b.action).limit(limit).cte("top").c
    example = often.c.place == 1, often.c.compared_in == top.compared_in, often.c.state_hash == top.state_hash
    words = whole(t.content.c.result_text, t.content.c.result_hash)
    text = sa.func.substr(sa.func.coalesce(words, readable(t.content.c.result_native)), 1, 200)
    here = (t.content.c.trajectory_id == often.c.trajectory_id) & (t.content.c.idx == often.c.idx - 1)
    state_text = sa.select(text).select_from(often.join(t.content, here)).where(*example).scalar_subquery()
    query = sa.select(top.compared_in, state_text, top.action, top.n, top.total, top.of_state)
    query = query.order_by(
        sa.func.abs(top.total - top.n * top.of_state).desc(), top.compared_in, top.state_hash, top.action
    )
    names = ("group", "state", "action", "n", "success", "low", "high", "advantage")
    title = "What actions were worth in the same state"
    return answer(
        store,
        query,
        title,
        names,
        _anchor_row,
        where=where,
        needs=("outcomes",),
        otherwise=f"no state was met by {visits} episodes and left by two actions: lower {option('visits')}",
    )


def _seen(which: sa.Select[Any] | None = None) -> sa.CompoundSelect[Any]:
    """Return every state seen, or only some: the trajectory, the step about to be taken in it, and the state's hash."""
    first, c = t.trajectory.c, t.step.c
    began = sa.select(first.id.label("trajectory_id"), sa.literal_column("0").label("idx"), first.state_hash)
    went = sa.select(c.trajectory_id, (c.idx + 1).label("idx"), c.state_hash)
    ways = ((went, c.state_hash), (began, first.state_hash))
    return sa.union_all(*(way.where(h.is_not(None) if which is None else h.in_(which)) for way, h in ways))


def _per_action(often: sa.CTE) -> sa.CTE:
    """Return per group, state and action how many episodes took it there, and the sum of their outcomes."""
    acted = sa.select(often.c.compared_in, often.c.state_hash, often.c.outcome, parts.acted(often))
    named = acted.limit(parts.ALL).cte("named").c  # a fence: what was done is looked up once
    counts = (sa.func.count().label("n"), sa.func.sum(named.outcome).label("total"))
    query = sa.select(named.compared_in, named.state_hash, named.action, *counts).where(named.action.is_not(None))
    return query.group_by(named.compared_in, named.state_hash, named.action).cte("per_action")


def _anchor_row(row: Any) -> tuple[Any, ...]:
    group, state, action, n, total, of_state = row
    share, low, high = parts.share_row(total, n)
    return group, state, action, n, share, low, high, total / n - of_state


def loops(store: Store, **where: Unpack[Where]) -> Table:
    """Return, per policy, how many episodes came back to a state they had been in, and what that went with.

    A state is what was seen, what tools gave back included; a turn that nothing is seen after counts as none. `wasted`
    is the share of steps that led to a state seen before in the episode; `looping` the share of the `n`
    episodes with such a step (Wilson). `success` is that of looping episodes, `success_others` that of the others; both
    of those whose outcome is known.
    """
    e = parts.episodes(where, "policy", "state_hash")
    step = t.step.c
    repeats = sa.func.count(step.state_hash) - sa.func.count(sa.distinct(step.state_hash))
    added = (sa.func.count().label("steps"), repeats.label("repeats"))
    counts = sa.select(step.trajectory_id, *added).group_by(step.trajectory_id).cte("counts")
    came_back = sa.exists().where(step.trajectory_id == counts.c.trajectory_id, step.state_hash == e.c.state_hash)
    again = (counts.c.repeats + sa.case((came_back, 1), else_=0)).label("again")
    each = sa.select(e.c.policy, e.c.outcome, counts.c.steps, again).join_from(
        e, counts, counts.c.trajectory_id == e.c.id
    )
    c = each.where(counts.c.steps > 0).limit(parts.ALL).cte("each")  # a fence, as above
    looped = sa.case((c.c.again > 0, 1), else_=0)
    is_known = sa.case((c.c.outcome.is_not(None), 1), else_=0)
    success = parts.won(c.c.outcome)
    sums = [
        sa.func.sum(x)
        for x in (
            looped,
            c.c.again,
            c.c.steps,
            looped * is_known,
            looped * success,
            (1 - looped) * is_known,
            (1 - looped) * success,
        )
    ]
    query = sa.select(c.c.policy, sa.func.count(), *sums).group_by(c.c.policy).order_by(c.c.policy)
    columns = ("policy", "n", "looping", "low", "high", "wasted", "success", "success_others")
    return answer(store, query, "Loops and wasted steps", columns, _loop_row, where=where)


def _loop_row(row: Any) -> tuple[Any, ...]:
    policy, n, looped, again, steps, known_loops, won_loops, known_others, won_others = row
    shares = (won_loops / known_loops if known_loops else None, won_others / known_others if known_others else None)
    return policy, n, *parts.share_row(looped, n), again / steps, *shares
