"""Is the score being hacked, and does it still mean what it did: high scores that failed, gaps that grow, drift."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, Unpack

import sqlalchemy as sa

from agentprm.credit import parts, sums
from agentprm.credit.asking import Chosen, ScorerForm, answer, choose, rows_of
from agentprm.credit.spelling import week
from agentprm.credit.table import Table
from agentprm.credit.where import UNDATED, Where
from agentprm.ops.agree import Moments, correlation_interval, mean_interval, psi
from agentprm.ops.hacking import Version, gap_trend
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["drift", "hacking", "overrated"]

_NEEDS = ("scores", "outcomes")


def _summarised(by: Chosen, where: Where) -> sa.CTE:
    """Return one row per episode: its mean score, number of scored steps, outcome, policy and when it began."""
    e, s = parts.episodes(where, "policy", "started_at", known=True), sums.episode_sums(by, "total").c
    columns = (s.trajectory_id, e.c.outcome, e.c.policy, e.c.started_at)
    return (
        sa.select(*columns, (s.total / s.n).label("mean"), s.n.label("steps"))
        .where(e.c.id == s.trajectory_id)
        .cte("each")
    )


def overrated(store: Store, scorer: ScorerForm = None, *, above: float = 0.7, **where: Unpack[Where]) -> Table:
    """Return how many episodes with a mean score of at least `above` failed all the same: per policy, oldest first.

    `n` counts such episodes, `failed` is the share of them whose outcome is under 0.5 (Wilson), `of_all` the share that
    failed of all the policy's scored episodes.
    """
    by = choose(store, scorer)
    e = _summarised(by, where).c
    is_high, has_failed = sa.case((e.mean >= above, 1), else_=0), 1 - parts.won(e.outcome)
    begun = _first(e.started_at)
    sums = [sa.func.sum(x) for x in (is_high, is_high * has_failed, has_failed)]
    query = sa.select(e.policy, begun.label("since"), *sums, sa.func.count()).group_by(e.policy)
    columns = ("policy", "since", "n", "failed", "low", "high", "of_all")
    return answer(
        store,
        query.order_by(sa.func.coalesce(begun, UNDATED), e.policy),
        f"Episodes that failed with a mean score from {above:g} on",
        columns,
        lambda row: (row[0], day(row[1]), row[2], *parts.share_row(row[3], row[2]), row[4] / row[5]),
        where=where,
        needs=_NEEDS,
        scorer=by.label,
    )


def hacking(
    store: Store,
    scorer: ScorerForm = None,
    *,
    by: Literal["policy", "time"] | None = None,
    windows: int = 8,
    alpha: float = 0.01,
    least: float = 0.05,
    explained: float = 0.5,
    **where: Unpack[Where],
) -> Table:
    """Return mean score beside success over policy versions in order of time, and whether the score is being hacked.

    `by` "policy" makes a version of each policy, "time" of each of `windows` equal numbers of episodes; by default
    policies if there are several. The alarm fires when the gap between score and outcome grows over the versions while
    the score does not fall: by at least `least` from first to last, with a slope above zero at the one-sided level
    `alpha`. It also fires when the length of an episode, its outcome held fixed, explains at least the share
    `explained` of its mean score, more for longer ones. Versions under ten episodes do not count. Intervals are 95 %:
    normal of `mean_score` over episodes, Wilson's of `success`. What has no date (`since` is "undated") takes no part
    in the trend. How often it fires on healthy runs is on the credit page.
    """
    chosen = choose(store, scorer)
    e = _summarised(chosen, where)
    if by is None:
        n_policies = sa.select(sa.func.count(sa.distinct(t.trajectory.c.policy_id)))
        by = "policy" if rows_of(store, n_policies)[0][0] > 1 else "time"
    query = _versions(e, by, windows)
    found: list[Version] = []
    lengths: list[Moments] = []

    def row(one: Any) -> tuple[Any, ...]:
        shown, version, moments = _read(one)
        found.append(version)
        lengths.append(moments)
        return shown

    columns = ("version", "since", "n", "mean_score", "score_low", "score_high", "success", "low", "high", "gap")
    table = answer(
        store, query, "Score beside success over versions", columns, row, where=where, needs=_NEEDS, scorer=chosen.label
    )
    if not table.rows:
        return table
    judged = [
        version
        for version, (_, since, *_) in zip(found, table.rows, strict=True)
        if version.n >= parts.FEWEST and since != "undated"
    ]
    trend = gap_trend(judged, alpha=alpha, least=least)
    is_long, words = _length(sum(lengths, Moments()), explained)
    fires = trend.fires or is_long
    verdict = "ALARM" if fires else "healthy" if len(judged) > 1 else "undecided"
    undated = "; what has no date is in no order of time" if any(row[1] == "undated" for row in table.rows) else ""
    return replace(table, alarm=fires, note=f"{verdict}: {trend.words}{words}{undated}")


def _read(one: Any) -> tuple[tuple[Any, ...], Version, Moments]:
    """Return a row of the table, what the trend needs and what length needs, of one row of the statement."""
    name, since, n, score, outcome, won, *sums = one
    version = Version(n, score / n, outcome / n, *_variances(n, score, outcome, *sums[:3]))
    scores2, outcomes2, both, steps, steps2, steps_score, steps_outcome = map(float, sums)
    moments = Moments(n, steps, score, outcome, steps2, scores2, outcomes2, steps_score, steps_outcome, both)
    interval = mean_interval(version.score, version.score_variance) if n >= parts.FEWEST else (None, None)
    gap = version.score - version.outcome
    shown = (_called(name, since), day(since), n, version.score, *interval, *parts.share_row(won, n), gap)
    return shown, version, moments


def _called(name: Any, since: int | None) -> str:
    return "undated" if name is None and since is None else str(name)


def _length(m: Moments, explained: float) -> tuple[bool, str]:
    """Return whether length explains too much of the score, surely in favour of long episodes, and words for it."""
    interval = None if m.partial is None else correlation_interval(m.partial, m.n - 1)
    if m.partial is None or interval is None:
        return False, ""
    share = max(m.partial, 0.0) ** 2
    is_long = share >= explained and interval.low > 0
    return is_long, f"; length explains {share:.0%} of the score" + (": too much" if is_long else "")


def _versions(e: sa.CTE, by: str, windows: int) -> sa.Select[Any]:
    is_undated = sa.case((e.c.started_at == UNDATED, 1), else_=0)
    span = sa.func.ntile(windows).over(partition_by=is_undated, order_by=(e.c.started_at, e.c.trajectory_id))
    name = e.c.policy if by == "policy" else sa.case((e.c.started_at != UNDATED, span))
    c = sa.select(e, name.label("version")).cte("named").c
    score, outcome, steps = c.mean, c.outcome, c.steps
    products = (
        score,
        outcome,
        parts.won(outcome),
        score * score,
        outcome * outcome,
        score * outcome,
        steps,
        steps * steps,
        steps * score,
        steps * outcome,
    )
    since = _first(c.started_at)
    sums = [sa.func.sum(product) for product in products]
    query = sa.select(c.version, since.label("since"), sa.func.count(), *sums).group_by(c.version)
    return query.order_by(sa.func.coalesce(since, UNDATED), c.version)


def _variances(
    n: int, score: float, outcome: float, scores2: float, outcomes2: float, both: float
) -> tuple[float, float]:
    """Return the variances of the mean score and of the mean gap, over episodes."""
    if n < 2:
        return 0.0, 0.0
    gaps, gaps2 = score - outcome, scores2 - 2 * both + outcomes2
    of_score, of_gap = (max(s2 - s * s / n, 0.0) / (n - 1) / n for s, s2 in ((score, scores2), (gaps, gaps2)))
    return of_score, of_gap


def drift(store: Store, scorer: ScorerForm = None, *, weeks: int = 1, bins: int = 10, **where: Unpack[Where]) -> Table:
    """Return how the scores of one scorer are distributed week by week, beside the first week.

    `psi` is the population stability index of `bins` equal bins of [0, 1] (under 0.1 stable, over 0.25 another
    distribution, by convention). The interval of `mean_score` is cluster-robust over episodes; weeks begin on Mondays.
    Episodes without a date are left out, and the note counts them.
    """
    by = choose(store, scorer)
    e = parts.episodes(where, "started_at", bare=True)
    s = (sums.episode_sums(by, "total", *(f"n_{i}" for i in range(bins))) if bins == t.BINS else _binned(by.id, bins)).c
    begun = sa.func.nullif(e.c.started_at, UNDATED)
    counts = [s[f"n_{i}"].label(f"b{i}") for i in range(bins)]
    each = sa.select(week(begun, weeks).label("week"), s.total.label("s"), s.n, *counts).where(
        e.c.id == s.trajectory_id
    )
    c = each.cte("each").c
    products = (c.n, c.s, c.s * c.s, c.s * c.n, c.n * c.n, *(c[f"b{i}"] for i in range(bins)))
    totals = [sa.func.sum(product) for product in products]
    query = sa.select(c.week, sa.func.count(), *totals).group_by(c.week)
    query = query.order_by(sa.func.coalesce(c.week, UNDATED), c.week)
    undated: list[int] = []
    columns = ("week", "n", "episodes", "mean_score", "low", "high", "psi")

    def rows(found: list[Any]) -> list[tuple[Any, ...]]:
        undated[:] = [row[1] for row in found if row[0] is None]
        found = [row for row in found if row[0] is not None]
        return [
            (day(w), n, m, *parts.clustered_row(n, m, *sums[:4]), psi(found[0][7:], sums[4:]))
            for w, m, n, *sums in found
        ]

    def note(_: Any) -> str:
        return f"{undated[0]} episodes without a date are left out" if undated else ""

    return answer(
        store,
        query,
        "Scores week by week",
        columns,
        rows=rows,
        where=where,
        needs=("scores",),
        scorer=by.label,
        note=note,
        otherwise="no scored episode has a date",
    )


def _binned(scorer_id: int, bins: int) -> sa.CTE:
    """Return per episode the number and the sum of its scores, and how many lie in each bin."""
    c = parts.scored(scorer_id).c
    counts = [sa.func.sum(sa.case((parts.in_bin(c.value, i, bins), 1), else_=0)).label(f"n_{i}") for i in range(bins)]
    whole = (sa.func.sum(c.value).label("total"), sa.func.count().label("n"))
    return sa.select(c.trajectory_id, *whole, *counts).group_by(c.trajectory_id).cte("binned")


def _first(moment: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Return the earliest of the moments that are dates; NULL where none is."""
    return sa.func.min(sa.func.nullif(moment, UNDATED))


def day(moment: int | None) -> str:
    """Return the day (UTC) of a moment in microseconds, or "undated"."""
    if moment is None:
        return "undated"
    return datetime.fromtimestamp(int(moment) / 1e6, UTC).strftime("%Y-%m-%d")
