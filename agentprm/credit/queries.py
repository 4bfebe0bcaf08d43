"""Named credit questions: each one SQL statement, the same on every engine.

What a step changed is its score less the last one before it. Such a difference is a correlation, not an effect: another
action might have fared no better. Columns are called `mean_delta`; "effect" is kept for episodes played again.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.table import Table
from agentprm.errors import NoSuchTrajectory
from agentprm.ops.agree import mean_interval, wilson
from agentprm.store import tables as t
from agentprm.store.store import Store
from agentprm.types import Spec

__all__ = ["agreement", "calibration", "sinking_steps", "success", "timeline", "value_by_action"]


def _ask(store: Store, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> tuple[list[Any], str]:
    with store.connection() as connection:
        rows = list(connection.execute(query))
        text = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    return rows, str(text)


def _dialect(store: Store) -> str:
    return "postgresql" if store.url.startswith("postgresql") else "sqlite"


def success(store: Store, **filters: str | None) -> Table:
    """Return how often each policy succeeded: episodes, share of outcomes ≥ 0.5, and its 95 % interval (Wilson)."""
    e = parts.episodes(filters)
    n_won = sa.func.sum(sa.case((e.c.outcome >= 0.5, 1), else_=0))
    query = sa.select(e.c.policy, e.c.env, sa.func.count(), n_won).where(e.c.outcome.is_not(None))
    rows, sql = _ask(store, query.group_by(e.c.policy, e.c.env).order_by(e.c.policy, e.c.env))
    table = [(policy, env, n, won / n, *(wilson(won, n) or (None, None))) for policy, env, n, won in rows]
    return Table("Success by policy", ("policy", "env", "n", "success", "low", "high"), tuple(table), sql)


def sinking_steps(
    store: Store,
    scorer: Spec | str | None = None,
    *,
    below: float = 0.5,
    limit: int | None = None,
    **filters: str | None,
) -> Table:
    """Return, for each episode with an outcome under `below`, the step that lost most value; the worst first.

    An episode in which no step lost anything does not appear.
    """
    e, d = parts.episodes(filters), parts.deltas(parts.scored(scorer))
    rank = sa.func.row_number().over(partition_by=d.c.trajectory_id, order_by=(d.c.delta, d.c.idx))
    ranked = sa.select(d, rank.label("rank")).where(d.c.delta < 0).cte("ranked")
    joined = ranked.join(e, e.c.id == ranked.c.trajectory_id).join(
        t.content, (t.content.c.trajectory_id == ranked.c.trajectory_id) & (t.content.c.idx == ranked.c.idx)
    )
    action = parts.action_text(ranked)
    query = (
        sa.select(e.c.id, e.c.task, ranked.c.idx, action)
        .add_columns(ranked.c.before, ranked.c.value, ranked.c.delta)
        .select_from(joined)
        .where(ranked.c.rank == 1, e.c.outcome < below)
        .order_by(ranked.c.delta, e.c.id)
        .limit(limit)
    )
    rows, sql = _ask(store, query)
    columns = ("trajectory", "task", "step", "action", "before", "after", "delta")
    return Table("The step that sank each failed episode", columns, tuple(map(tuple, rows)), sql)


def value_by_action(store: Store, scorer: Spec | str | None = None, **filters: str | None) -> Table:
    """Return how much value steps of each kind gained or lost, per tool, else per first word of the action.

    `n` counts steps (a step with several calls is shared among them), `episodes` the episodes they stand in. The 95 %
    interval treats an episode's steps as one draw (cluster-robust); it is empty under ten episodes, where a normal
    interval would promise too much.
    """
    e, d = parts.episodes(filters), parts.deltas(parts.scored(scorer))
    at = (t.content.c.trajectory_id == d.c.trajectory_id) & (t.content.c.idx == d.c.idx)
    step = (t.step.c.trajectory_id == d.c.trajectory_id) & (t.step.c.idx == d.c.idx)
    called = (t.tool_call.c.trajectory_id == d.c.trajectory_id) & (t.tool_call.c.idx == d.c.idx)
    joined = d.join(e, e.c.id == d.c.trajectory_id).join(t.content, at).join(t.step, step)
    joined = joined.outerjoin(t.tool_call, called).outerjoin(t.tool)
    word = parts.first_word(sa.func.coalesce(t.content.c.action_text, t.content.c.action_native), _dialect(store))
    share = 1.0 / sa.func.count().over(partition_by=(d.c.trajectory_id, d.c.idx))
    named = sa.case((t.step.c.kind == "message", "(message)"), else_=sa.func.coalesce(t.tool.c.name, word))
    calls = sa.select(named.label("action"), d.c.trajectory_id, d.c.delta, share.label("share")).select_from(joined)
    each = calls.where(d.c.delta.is_not(None)).cte("each_call")
    total, weight = sa.func.sum(each.c.delta * each.c.share), sa.func.sum(each.c.share)
    per_episode = sa.select(each.c.action, total.label("s"), weight.label("n"))
    c = per_episode.group_by(each.c.action, each.c.trajectory_id).cte("per_episode")
    sums = [sa.func.sum(x) for x in (c.c.s, c.c.s * c.c.s, c.c.s * c.c.n, c.c.n * c.c.n)]
    query = sa.select(c.c.action, sa.func.sum(c.c.n), sa.func.count(), *sums).group_by(c.c.action)
    rows, sql = _ask(store, query.order_by(sa.func.sum(c.c.s) / sa.func.sum(c.c.n)))
    columns = ("action", "n", "episodes", "mean_delta", "low", "high")
    return Table("Value gained or lost per action", columns, tuple(map(_mean_row, rows)), sql)


def _mean_row(row: Any) -> tuple[Any, ...]:
    action, n, k, s, ss, sn, nn = row
    mean = s / n
    if k < 10:
        return action, round(n), k, mean, None, None
    variance = k / (k - 1) * (ss - 2 * mean * sn + mean * mean * nn) / n**2
    return action, round(n), k, mean, *mean_interval(mean, variance)


def agreement(store: Store, scorer: Spec | str | None = None, **filters: str | None) -> Table:
    """Return how well scores tell successes from failures: AUC and Brier of all steps, and of first, mean, min, last.

    An episode counts as a success from an outcome of 0.5; ties count half in the AUC.
    """
    e, s = parts.episodes(filters), parts.scored(scorer)
    known = sa.select(s, e.c.outcome).join(e, e.c.id == s.c.trajectory_id).where(e.c.outcome.is_not(None)).cte("known")
    place = sa.func.row_number()
    first = place.over(partition_by=known.c.trajectory_id, order_by=known.c.idx).label("first")
    last = place.over(partition_by=known.c.trajectory_id, order_by=known.c.idx.desc()).label("last")
    marked = sa.select(known, first, last).cte("marked")

    def of(name: str, value: Any) -> sa.Select[Any]:
        return sa.select(sa.literal(name).label("of"), value.label("value"), marked.c.outcome)

    def over_episode(name: str, function: Any) -> sa.Select[Any]:
        return of(name, function(marked.c.value)).group_by(marked.c.trajectory_id, marked.c.outcome)

    pairs = [
        of("every step", marked.c.value),
        *(of(f"{name} score", marked.c.value).where(marked.c[name] == 1) for name in ("first", "last")),
        over_episode("mean score", sa.func.avg),
        over_episode("min score", sa.func.min),
    ]
    rows, sql = _ask(store, _agreement_of(sa.union_all(*pairs).cte("pairs")))
    columns = ("of", "n", "successes", "auc", "brier")
    return Table("Do the scores agree with the outcomes?", columns, tuple(map(tuple, rows)), sql)


def _agreement_of(pairs: sa.CTE) -> sa.Select[Any]:
    won = sa.case((pairs.c.outcome >= 0.5, 1), else_=0).label("won")
    ties = sa.func.count().over(partition_by=(pairs.c.of, pairs.c.value))
    rank = sa.func.rank().over(partition_by=pairs.c.of, order_by=pairs.c.value) + (ties - 1) / 2.0
    r = sa.select(pairs, won, rank.label("rank")).cte("ranks")
    n, n_won = sa.func.count(), sa.func.sum(r.c.won)
    above = sa.func.sum(r.c.rank * r.c.won) - n_won * (n_won + 1) / 2.0
    auc = above / sa.func.nullif(n_won * (n - n_won) * 1.0, 0)
    brier = sa.func.avg((r.c.value - r.c.outcome) * (r.c.value - r.c.outcome))
    return sa.select(r.c.of, n, n_won, auc, brier).group_by(r.c.of).order_by(r.c.of)


def calibration(store: Store, scorer: Spec | str | None = None, *, bins: int = 10, **filters: str | None) -> Table:
    """Return, per bin of step scores in [0, 1], the mean score beside the share of episodes that succeeded.

    `low` and `high` are the 95 % interval of that share over the `episodes` in the bin (Wilson).
    """
    e, s = parts.episodes(filters), parts.scored(scorer)
    bin_of = sa.case(*((s.c.value < (i + 1) / bins, i) for i in range(bins - 1)), else_=bins - 1).label("bin")
    known = sa.select(bin_of, s.c.value, e.c.outcome, s.c.trajectory_id).join(e, e.c.id == s.c.trajectory_id)
    k = known.where(e.c.outcome.is_not(None)).cte("known")
    counts = (sa.func.count(), sa.func.count(sa.distinct(k.c.trajectory_id)))
    query = sa.select(k.c.bin, *counts, sa.func.avg(k.c.value), sa.func.avg(k.c.outcome))
    rows, sql = _ask(store, query.group_by(k.c.bin).order_by(k.c.bin))
    table = [(f"{b / bins:.2f}–{(b + 1) / bins:.2f}", n, m, score, won, *(wilson(won * m, m) or (None, None)))
             for b, n, m, score, won in rows]  # fmt: skip
    n_all = sum(row[1] for row in rows)
    error = sum(row[1] * abs(row[3] - row[4]) for row in rows) / n_all if n_all else 0.0
    columns = ("score", "n", "episodes", "mean_score", "success", "low", "high")
    return Table("Is the score calibrated?", columns, tuple(table), sql, f"expected calibration error {error:.3f}")


def timeline(store: Store, id: UUID, scorer: Spec | str | None = None) -> Table:
    """Return one episode's steps in order: action, score, what it changed, and the rewards of world and learner.

    Raises NoSuchTrajectory.
    """
    d = parts.deltas(parts.scored(scorer))
    joined: Any = t.step
    for other in (d, t.content):
        same = (other.c.trajectory_id == t.step.c.trajectory_id) & (other.c.idx == t.step.c.idx)
        joined = joined.outerjoin(other, same)
    action = parts.action_text(t.step)
    given = sa.func.coalesce(t.step.c.given_reward, t.step.c.env_reward)
    query = sa.select(t.step.c.idx, action, d.c.value, d.c.delta, t.step.c.env_reward, given).select_from(joined)
    rows, sql = _ask(store, query.where(t.step.c.trajectory_id == id).order_by(t.step.c.idx))
    if not rows and next(store.trajectories(id=id), None) is None:
        raise NoSuchTrajectory(f"the store holds no trajectory {id}")
    columns = ("step", "action", "score", "delta", "env_reward", "given_reward")
    return Table(f"Episode {id}", columns, tuple(map(tuple, rows)), sql)
