"""What credit questions are made of, as SQL: episodes, scores, what each step changed, what was done."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from agentprm.credit.spelling import first_word, readable, whole
from agentprm.credit.where import Where, conditions, last_outcome
from agentprm.ops.agree import mean_interval, wilson
from agentprm.store import tables as t

__all__ = [
    "acted",
    "at",
    "by_it",
    "clustered",
    "clustered_row",
    "deed",
    "deltas",
    "episodes",
    "in_bin",
    "known",
    "over_episodes",
    "scored",
    "share_row",
    "won",
]

ALL: sa.ColumnElement[int] = sa.literal_column("9223372036854775807")
"""As a limit: a fence, behind which an engine computes a row once, and not for every use of it."""
FEWEST = 10
"""Episodes under which no normal interval of a mean is given: it would promise too much."""
_NOUNS = {"task": (t.task, t.task.c.key), "policy": (t.policy, t.policy.c.name), "env": (t.env, t.env.c.name)}
_PLAIN = {
    name: t.trajectory.c[name]
    for name in ("started_at", "group_key", "parent_id", "fork_index", "fork", "meta", "state_hash")
}


def episodes(where: Where, *columns: str, known: bool = False, bare: bool = False, name: str = "episodes") -> sa.CTE:
    """Return id, latest outcome and the named `columns` of the episodes that match; `known`: only with an outcome.

    `bare`: without the outcome.
    """
    last = last_outcome()
    joined: Any = t.trajectory
    if not bare or where.get("outcome"):
        joined = joined.join(last, last.c.trajectory_id == t.trajectory.c.id, isouter=not known)
    shown = [t.trajectory.c.id, *(() if bare else (last.c.value.label("outcome"),))]
    for column in columns:
        if column in _NOUNS:
            table, text = _NOUNS[column]
            joined = joined.outerjoin(table)
            shown.append(text.label(column))
        else:
            shown.append(_PLAIN[column].label(column))
    return sa.select(*shown).select_from(joined).where(*conditions(where, last.c.value)).cte(name)


def by_it(scorer_id: int, score: sa.FromClause = t.score) -> tuple[sa.ColumnElement[bool], ...]:
    """Return that a row of `score` is the scorer's, and no part of a score."""
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    return score.c.scorer_id == scorer_id, score.c.part_id == part


def scored(scorer_id: int, name: str = "scored", which: sa.Select[Any] | None = None) -> sa.CTE:
    """Return trajectory, step and score of every step on which the scorer had an opinion; `which`: only of those."""
    c = t.score.c
    query = sa.select(c.trajectory_id, c.idx, c.value).where(*by_it(scorer_id), c.value.is_not(None))
    return (query if which is None else query.where(c.trajectory_id.in_(which))).cte(name)


def in_bin(value: sa.ColumnElement[float], i: int, bins: int) -> sa.ColumnElement[bool]:
    """Return that a score lies in the bin `i` of [0, 1]; the first and the last take what lies beside."""
    above, below = value >= i / bins, value < (i + 1) / bins
    return below if i == 0 else above if i == bins - 1 else above & below


def deltas(given: sa.CTE, among: sa.CTE | None = None, *columns: str, name: str = "deltas") -> sa.CTE:
    """Return what each scored step changed: its score less the last one given before it; NULL for the first.

    With `among`, only of those episodes, with their named `columns` beside.
    """
    before = sa.func.lag(given.c.value).over(partition_by=given.c.trajectory_id, order_by=given.c.idx).label("before")
    if among is None:
        pairs = sa.select(given, before).cte(f"pairs_of_{name}")
    elif not columns:
        pairs = sa.select(given, before).where(given.c.trajectory_id.in_(sa.select(among.c.id))).cte(f"pairs_of_{name}")
    else:
        joined = given.join(among, among.c.id == given.c.trajectory_id)
        pairs = (
            sa.select(given, before, *(among.c[column] for column in columns))
            .select_from(joined)
            .cte(f"pairs_of_{name}")
        )
    return sa.select(pairs, (pairs.c.value - pairs.c.before).label("delta")).cte(name)


def at(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return that two rows are about the same step."""
    return (one.c.trajectory_id == other.c.trajectory_id) & (one.c.idx == other.c.idx)


def acted(step: sa.FromClause) -> sa.ColumnElement[str]:
    """Return what was done, for people: the action's text, else the tools it called, else the native action or plan.

    `step` names a trajectory and a step.
    """
    calls = t.tool_call.join(t.tool)
    names = sa.select(sa.func.aggregate_strings(t.tool.c.name, " + ")).select_from(calls)
    tools = names.where(at(t.tool_call, step)).correlate(step).scalar_subquery()
    words = sa.func.coalesce(
        whole(t.content.c.action_text, t.content.c.action_hash),
        tools,
        readable(t.content.c.action_native),
        whole(t.content.c.plan, t.content.c.plan_hash),
    )
    return sa.select(words).where(at(t.content, step)).correlate(step).scalar_subquery().label("action")


def deed(step: sa.FromClause) -> sa.CTE:
    """Return one row per deed in the rows of `step`: per tool called, else of the step's verb, or "(message)".

    `action` names it, `share` is its part of the step, `calls` whether it was a call, `failed` whether that went wrong.
    """
    call, c = t.tool_call, t.content
    is_further = call.c.position > sa.literal_column("0")  # as the partial index says it
    further = sa.select(call.c.trajectory_id, call.c.idx, sa.func.count().label("n")).where(is_further)
    several = further.group_by(call.c.trajectory_id, call.c.idx).cte("several_calls")
    no_call = sa.case((call.c.position.is_(None), step.c.idx))  # a key of NULL is looked up nowhere
    itself = (c.c.trajectory_id == step.c.trajectory_id) & (c.c.idx == no_call)
    joined = (
        step.outerjoin(call, at(call, step))
        .outerjoin(t.tool)
        .outerjoin(c, itself)
        .outerjoin(several, at(several, step))
    )
    native, text = c.c.action_native, c.c.action_text
    named = sa.case(
        (call.c.position.is_not(None), t.tool.c.name),
        (native.is_not(None), first_word(sa.func.coalesce(text, readable(native)))),
        (text.is_not(None) | c.c.plan.is_(None), "(message)"),
        else_="(plan)",
    )
    share = 1.0 / (sa.func.coalesce(several.c.n, 0) + 1)
    is_call = sa.case((call.c.position.is_not(None), 1), else_=0)
    failed = sa.case((call.c.status.in_(("error", "rejected")), 1), else_=0)
    columns = (named.label("action"), share.label("share"), is_call.label("calls"), failed.label("failed"))
    return sa.select(*step.c, *columns).select_from(joined).cte("deeds")


def clustered(
    rows: sa.FromClause, value: sa.ColumnElement[Any], weight: Any, *keys: str, extra: tuple[Any, ...] = ()
) -> sa.CTE:
    """Return, per key, what the mean of `value` and its cluster-robust variance need: n, episodes k and four sums.

    `extra` are columns of the rows that are added up too, as x0, x1, ...
    """
    weight = sa.literal_column("1.0") if weight is None else weight
    sums = [sa.func.sum(value * weight).label("s"), sa.func.sum(weight).label("n")]
    added = [sa.func.sum(column).label(f"x{i}") for i, column in enumerate(extra)]
    per_episode = sa.select(*(rows.c[key] for key in keys), *sums, *added).where(value.is_not(None))
    return over_episodes(per_episode.group_by(*(rows.c[key] for key in keys), rows.c.trajectory_id), *keys)


def over_episodes(per_episode: sa.Select[Any] | sa.CompoundSelect[Any], *keys: str) -> sa.CTE:
    """Return, per key, n, episodes k, four sums and further ones, of rows that each add up one episode's."""
    c = per_episode.cte("per_episode").c
    names = [c[key] for key in keys]
    products = {"s": c.s, "ss": c.s * c.s, "sn": c.s * c.n, "nn": c.n * c.n}
    products |= {column.name: column for column in c if column.name.startswith("x")}
    totals = [sa.func.sum(product).label(name) for name, product in products.items()]
    counts = (sa.func.sum(c.n).label("n"), sa.func.count().label("k"))
    return sa.select(*names, *counts, *totals).group_by(*names).cte("sums")


def clustered_row(
    n: float, k: int, s: float, ss: float, sn: float, nn: float
) -> tuple[float, float | None, float | None]:
    """Return a mean with its 95 % interval, an episode's steps as one draw; no interval under ten episodes."""
    mean = s / n
    if k < FEWEST:
        return mean, None, None
    variance = k / (k - 1) * (ss - 2 * mean * sn + mean * mean * nn) / n**2
    return (mean, *mean_interval(mean, variance))


def share_row(successes: float | None, n: int) -> tuple[float | None, float | None, float | None]:
    """Return a share with its 95 % interval (Wilson); nothing of nothing."""
    interval = wilson(successes or 0.0, n)
    return (None, None, None) if interval is None else ((successes or 0.0) / n, *interval)


def won(outcome: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Return 1 for a success, an outcome from 0.5 on; else 0."""
    return sa.case((outcome >= 0.5, 1), else_=0)


def known(where: Where, scorer_id: int, *columns: str) -> sa.CTE:
    """Return every score of an episode whose outcome is known, beside that outcome and the named columns."""
    e, s = episodes(where, *columns, known=True), scored(scorer_id)
    others = [e.c[name] for name in ("outcome", *columns)]
    return sa.select(s, *others).join_from(s, e, e.c.id == s.c.trajectory_id).cte("known")
