"""Which policy is better, and why: success, pairs on the same tasks, and where the difference in value comes from."""

from __future__ import annotations

import math
from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts, sums
from agentprm.credit.asking import ScorerForm, answer, choose, rows_of
from agentprm.credit.table import Table
from agentprm.credit.where import Where
from agentprm.errors import UnknownName
from agentprm.ops.agree import mean_interval, sign_test
from agentprm.store.store import Store
from agentprm.suggest import did_you_mean

__all__ = ["paired", "success", "why_better"]


def success(store: Store, **where: Unpack[Where]) -> Table:
    """Return how often each policy succeeded: episodes, share of outcomes ≥ 0.5, and its 95 % interval (Wilson)."""
    e = parts.episodes(where, "policy", "env", known=True)
    query = sa.select(e.c.policy, e.c.env, sa.func.count(), sa.func.sum(parts.won(e.c.outcome)))
    query = query.group_by(e.c.policy, e.c.env).order_by(e.c.policy, e.c.env)
    columns = ("policy", "env", "n", "success", "low", "high")
    return answer(
        store,
        query,
        "Success by policy",
        columns,
        lambda row: (*row[:3], *parts.share_row(row[3], row[2])),
        where=where,
        needs=("outcomes",),
    )


def paired(store: Store, a: str | None = None, b: str | None = None, **where: Unpack[Where]) -> Table:
    """Return how policies compare on the tasks that both played: one row per pair; `a` and `b` name one pair.

    `n` counts tasks; per task, outcomes are averaged. `difference` is b − a with its 95 % normal interval over tasks
    (from ten tasks on); `p` is the exact two-sided sign test over the tasks where they differ.
    """
    e = parts.episodes(where, "policy", "task", known=True)
    per_task = sa.select(e.c.policy, e.c.task, sa.func.avg(e.c.outcome).label("outcome")).where(e.c.policy.is_not(None))
    one = per_task.group_by(e.c.policy, e.c.task).cte("per_task")
    two = one.alias("other")
    is_pair = two.c.policy > one.c.policy if a is None or b is None else (one.c.policy == a) & (two.c.policy == b)
    difference = two.c.outcome - one.c.outcome
    counts = [sa.func.sum(sa.case((wins, 1), else_=0)) for wins in (difference < 0, difference > 0)]
    sums = (sa.func.sum(difference), sa.func.sum(difference * difference))
    query = sa.select(one.c.policy, two.c.policy, sa.func.count(), *counts, *sums)
    query = query.join_from(one, two, (two.c.task == one.c.task) & is_pair)
    if (named := a or b) and (a is None or b is None):
        query = query.where((one.c.policy == named) | (two.c.policy == named))
    query = query.group_by(one.c.policy, two.c.policy).order_by(one.c.policy, two.c.policy)
    columns = ("a", "b", "n", "a_better", "b_better", "ties", "difference", "low", "high", "p")
    title = "Policies on the same tasks"
    return answer(store, query, title, columns, _paired_row, where=where, needs=("outcomes", "two policies"))


def _paired_row(row: Any) -> tuple[Any, ...]:
    a, b, n, a_wins, b_wins, total, squares = row
    mean = total / n
    variance = (squares - n * mean * mean) / (n - 1) / n if n >= parts.FEWEST else None
    low, high = (None, None) if variance is None else mean_interval(mean, variance)
    return a, b, n, a_wins, b_wins, n - a_wins - b_wins, mean, low, high, sign_test(a_wins, b_wins)


def why_better(
    store: Store, a: str | None = None, b: str | None = None, scorer: ScorerForm = None, **where: Unpack[Where]
) -> Table:
    """Return what policy `b` gains more than `a`, per tool or verb: the largest gain first.

    `a` and `b` are the two policies with most episodes unless named. `difference` is the difference of `mean_delta`,
    with a cluster-robust 95 % interval; `per_episode` is the difference of what the action adds to a whole episode:
    over all actions these add up to the difference between the policies in value gained.
    """
    by = choose(store, scorer)
    a, b = _two_policies(store, where, a, b)
    added = sums.per_action(by, {**where, "policy": [a, b]}, by="policy")
    of = parts.episodes({**where, "policy": [a, b]}, "policy", name="everything")
    played = [sa.select(sa.func.count()).where(of.c.policy == name).scalar_subquery() for name in (a, b)]
    one, two = (added.alias(name) for name in ("a", "b"))
    names = sa.select(added.c.action).distinct().cte("actions")
    joined = names.outerjoin(one, (one.c.action == names.c.action) & (one.c.policy == a)).outerjoin(
        two, (two.c.action == names.c.action) & (two.c.policy == b)
    )
    cells = [side.c[name] for side in (one, two) for name in ("n", "k", "s", "ss", "sn", "nn")]
    per_episode = sa.func.coalesce(two.c.s, 0.0) / sa.func.nullif(played[1], 0) - sa.func.coalesce(
        one.c.s, 0.0
    ) / sa.func.nullif(played[0], 0)
    query = sa.select(names.c.action, per_episode.label("gain"), *cells).select_from(joined)
    query = query.order_by(per_episode.desc(), names.c.action)
    columns = ("action", "n_a", "n_b", "mean_delta_a", "mean_delta_b", "difference", "low", "high", "per_episode")
    title = f"Where {b} gains more than {a}"
    return answer(
        store, query, title, columns, _gain_row, where=where, needs=("scores", "two policies"), scorer=by.label
    )


def _gain_row(row: Any) -> tuple[Any, ...]:
    action, gain, *cells = row
    means, widths = [], []
    for n, k, *four in (cells[:6], cells[6:]):
        mean, low, high = (None, None, None) if n is None else parts.clustered_row(n, k, *four)
        means.append(mean)
        widths.append(None if low is None or high is None else (high - low) / 2)
    one, two = means
    difference = None if one is None or two is None else two - one
    half = None if widths[0] is None or widths[1] is None else math.hypot(widths[0], widths[1])
    interval = (None, None) if half is None or difference is None else (difference - half, difference + half)
    return action, round(cells[0] or 0), round(cells[6] or 0), *means, difference, *interval, gain


def _two_policies(store: Store, where: Where, a: str | None, b: str | None) -> tuple[str, str]:
    e = parts.episodes(where, "policy")
    query = sa.select(e.c.policy).where(e.c.policy.is_not(None)).group_by(e.c.policy)
    most = [row[0] for row in rows_of(store, query.order_by(sa.func.count().desc(), e.c.policy))]
    for name in (a, b):
        if name is not None and name not in most:
            meant = did_you_mean(name, most)
            raise UnknownName(f"no episode by policy {name!r} matches{meant}; there are {', '.join(most) or 'none'}")
    if a is None and b is None:
        a, b = sorted([*most[:2], "", ""][:2])
    other = next((name for name in most if name not in (a, b)), "")
    return other if a is None else a, other if b is None else b
