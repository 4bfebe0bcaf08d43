"""What gains value and what destroys it: per tool or verb, per kind of error, per token, second and dollar."""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts, sums
from agentprm.credit.asking import ScorerForm, answer, choose
from agentprm.credit.spelling import before, first_line, json_at, readable, whole_json
from agentprm.credit.table import Table
from agentprm.credit.where import Where, named_tool
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["cost", "errors", "value_by_action"]


def value_by_action(store: Store, scorer: ScorerForm = None, **where: Unpack[Where]) -> Table:
    """Return how much value steps of each kind gained or lost, per tool, else per first word of the action.

    `n` counts steps (a step with several calls is shared among them), `episodes` the episodes they stand in, `errors`
    the share of calls that failed or were rejected. The 95 % interval treats an episode's steps as one draw
    (cluster-robust); it is empty under ten episodes, where a normal interval would promise too much.
    """
    by = choose(store, scorer)
    s = sums.per_action(by, where).c
    query = sa.select(s.action, s.n, s.k, s.s, s.ss, s.sn, s.nn, s.calls, s.failed).order_by(s.s / s.n, s.action)
    columns = ("action", "n", "episodes", "mean_delta", "low", "high", "errors")
    title = "Value gained or lost per action"
    return answer(store, query, title, columns, _action_row, where=where, needs=("scores",), scorer=by.label)


def _action_row(row: Any) -> tuple[Any, ...]:
    action, n, k, *sums, calls, failed = row
    return action, round(n), k, *parts.clustered_row(n, k, *sums), failed / calls if calls else None


def errors(store: Store, scorer: ScorerForm = None, **where: Unpack[Where]) -> Table:
    """Return the value lost per kind of failed tool call, and how often the next step made good for some of it.

    `error` is what the tool said up to its first colon, parenthesis aside (an exception's name), else its status.
    `n` counts calls; the interval of `mean_delta` is cluster-robust, that of `recovered` Wilson's over calls that a
    scored step followed.
    """
    by = choose(store, scorer)
    call, e, s = t.tool_call, parts.episodes(where), parts.scored(by.id)
    has_failed = call.c.status.in_(sa.literal_column(f"'{word}'") for word in ("error", "rejected"))
    joined = call.join(t.tool).join(e, e.c.id == call.c.trajectory_id).join(s, parts.at(s, call))
    changes = (
        (s.c.value - _beside(call, by.id, -1)).label("delta"),
        (_beside(call, by.id, 1) - s.c.value).label("following"),
    )
    failed = sa.select(s.c.trajectory_id, *changes, t.tool.c.name.label("tool"), _kind(call).label("error"))
    f = failed.select_from(joined).where(has_failed, *named_tool(where, s)).cte("failed_calls")
    made_good = (sa.case((f.c.following > 0, 1), else_=0), sa.case((f.c.following.is_not(None), 1), else_=0))
    added = parts.clustered(f, f.c.delta, None, "tool", "error", extra=made_good)
    columns = (
        "tool",
        "error",
        "n",
        "episodes",
        "mean_delta",
        "low",
        "high",
        "recovered",
        "low_recovered",
        "high_recovered",
    )
    query = sa.select(added).order_by(added.c.s, added.c.tool, added.c.error)
    return answer(
        store,
        query,
        "Value lost per kind of error",
        columns,
        _error_row,
        where=where,
        needs=("scores", "calls", "failed calls"),
        scorer=by.label,
    )


def _beside(call: sa.FromClause, scorer_id: int, side: int) -> sa.ScalarSelect[float]:
    """Return the last score given before a call's step, or the first one after it."""
    s = t.score.alias("before" if side < 0 else "after")
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    given = (s.c.scorer_id == scorer_id, s.c.trajectory_id == call.c.trajectory_id, s.c.part_id == part)
    place, order = (s.c.idx < call.c.idx, s.c.idx.desc()) if side < 0 else (s.c.idx > call.c.idx, s.c.idx)
    query = sa.select(s.c.value).where(*given, s.c.value.is_not(None), place).order_by(order).limit(1)
    return query.correlate(call).scalar_subquery()


def _kind(call: sa.FromClause) -> sa.ColumnElement[str]:
    """Return what kind of failure a call's output tells of."""
    native = whole_json(call.c.output_native)
    fields = sa.case((native.like("{%"), sa.func.coalesce(json_at(native, "error"), json_at(native, "message"))))
    said = first_line(sa.func.coalesce(call.c.output_text, fields, readable(native), call.c.status))
    return sa.func.coalesce(sa.func.nullif(sa.func.substr(before(before(said, ":"), "("), 1, 40), ""), call.c.status)


def _error_row(row: Any) -> tuple[Any, ...]:
    tool, error, n, k, *sums, recovered, followed = row
    return tool, error, round(n), k, *parts.clustered_row(n, k, *sums), *parts.share_row(recovered, followed)


def cost(store: Store, scorer: ScorerForm = None, **where: Unpack[Where]) -> Table:
    """Return, per tool or verb, the value gained beside what its steps took in tokens, seconds and dollars.

    From each step's ``info``: `tokens` (a number, or its `total`), `latency` in seconds, `cost` in dollars; a step with
    several calls is shared among them. `gain` is the sum of the changes; `gain_per_1k_tokens` and `gain_per_minute`
    divide it. `mean_delta` has the cluster-robust interval.
    """
    by = choose(store, scorer)
    s = sums.per_action(by, where, paid=True).c
    columns = (
        "action",
        "n",
        "episodes",
        "mean_delta",
        "low",
        "high",
        "gain",
        "tokens",
        "seconds",
        "dollars",
        "gain_per_1k_tokens",
        "gain_per_minute",
    )
    names = ("action", "n", "k", "s", "ss", "sn", "nn", "tokens", "seconds", "dollars")
    query = sa.select(*(s[name] for name in names)).order_by(s.s.desc(), s.action)
    return answer(
        store,
        query,
        "Value gained for what it took",
        columns,
        _cost_row,
        where=where,
        needs=("scores", "spent"),
        scorer=by.label,
    )


def _cost_row(row: Any) -> tuple[Any, ...]:
    action, n, k, s, ss, sn, nn, tokens, seconds, dollars = row
    per_tokens, per_minute = s * 1000 / tokens if tokens else None, s * 60 / seconds if seconds else None
    return (
        action,
        round(n),
        k,
        *parts.clustered_row(n, k, s, ss, sn, nn),
        s,
        tokens,
        seconds,
        dollars,
        per_tokens,
        per_minute,
    )
