"""How far to trust the score: does it foretell outcomes, is it calibrated, is it just length, which plans were good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts, sums
from agentprm.credit.asking import Chosen, ScorerForm, answer, choose
from agentprm.credit.spelling import first_line
from agentprm.credit.table import Table
from agentprm.credit.where import Where, named_tool
from agentprm.ops.agree import Moments, auc_interval, correlation_interval
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["agreement", "calibration", "length_bias", "plans"]

_NEEDS = ("scores", "outcomes")


def agreement(store: Store, scorer: ScorerForm = None, **where: Unpack[Where]) -> Table:
    """Return how well scores tell successes from failures: AUC and Brier of all steps, and of first, mean, min, last.

    Also of the last score among the shorter and the longer half of the episodes. An episode counts as a success from an
    outcome of 0.5; ties count half in the AUC. The 95 % interval is Hanley and McNeil's (1982), over episodes; steps of
    one episode are not independent, so `every step` has none.
    """
    by = choose(store, scorer)
    e, s = parts.episodes(where, known=True), parts.scored(by.id, "every_score")
    every = sa.select(s.c.value, e.c.outcome).join_from(s, e, e.c.id == s.c.trajectory_id).subquery("every_step")
    ways = [_agreement_of("every step", every.c), *_summaries(e, by)]
    both = sa.union_all(*ways).subquery("both")
    query = sa.select(both).order_by(both.c.of)
    columns = ("of", "n", "successes", "auc", "low", "high", "brier")
    title = "Do the scores agree with the outcomes?"
    return answer(store, query, title, columns, _agreement_row, where=where, needs=_NEEDS, scorer=by.label)


def _summaries(e: sa.CTE, by: Chosen) -> Iterator[sa.Select[Any]]:
    """Yield how each of several ways of putting an episode's scores into one agrees with its outcome."""
    g = sums.episode_sums(by, "total", "least", "first", "last", "last_idx").c
    half = sa.func.ntile(2).over(order_by=(g.last_idx, g.trajectory_id)).label("half")
    columns = ((g.total / g.n).label("mean"), g.least, g.first, g.last, e.c.outcome, half)
    h = sa.select(*columns).where(e.c.id == g.trajectory_id).cte("halved").c
    ways = {"mean score": h.mean, "min score": h.least, "first score": h.first, "last score": h.last}
    for name, value in ways.items():
        yield _agreement_of(name, sa.select(value.label("value"), h.outcome).subquery().c)
    for i, name in enumerate(("shorter", "longer"), 1):
        some = sa.select(h.last.label("value"), h.outcome).where(h.half == i).subquery().c
        yield _agreement_of(f"last score, {name} half", some)


def _agreement_of(name: str, p: Any) -> sa.Select[Any]:
    """Return the name, n, successes, AUC and Brier of pairs of a value and an outcome.

    Sorted once: of the pairs of a success and a failure, a = Σ failures up to each success and b = Σ successes up to
    each failure count those in order once, and ties in both; of n pairs the AUC is (a − b + n) / 2n.
    """
    one, squared = parts.won(p.outcome), (p.value - p.outcome) * (p.value - p.outcome)
    up_to = [sa.func.sum(x).over(order_by=p.value).label(of) for x, of in ((one, "won_to"), (1 - one, "lost_to"))]
    r = sa.select(one.label("won"), squared.label("squared"), *up_to).subquery().c
    n, n_won = sa.func.count(), sa.func.sum(r.won)
    n_pairs = n_won * 1.0 * (n - n_won)
    order = sa.func.sum(sa.case((r.won == 1, r.lost_to), else_=-r.won_to))
    auc = (order + n_pairs) / sa.func.nullif(2.0 * n_pairs, 0)
    columns = (n.label("n"), n_won.label("won"), auc.label("auc"), (sa.func.sum(r.squared) / n).label("brier"))
    query: Any = sa.select(sa.literal(name).label("of"), *columns).having(n > 0)
    return query  # type: ignore[no-any-return]


def _agreement_row(row: Any) -> tuple[Any, ...]:
    of, n, n_won, auc, brier = row
    interval = None if of == "every step" or auc is None else auc_interval(auc, n_won, n - n_won)
    return of, n, n_won, auc, *(interval or (None, None)), brier


def calibration(
    store: Store, scorer: ScorerForm = None, *, bins: int = 10, by_depth: bool = False, **where: Unpack[Where]
) -> Table:
    """Return, per bin of step scores in [0, 1], the mean score beside the share of episodes that succeeded.

    `low` and `high` are the 95 % interval of that share over the `episodes` in the bin (Wilson). With `by_depth`, also
    per third of the episode. The note gives the expected calibration error.
    """
    by = choose(store, scorer)
    is_added_up = bins == t.BINS and not by_depth
    query = _bins_added_up(by, where) if is_added_up else _bins_of_steps(by.id, where, bins, by_depth)
    columns = (*(("depth",) if by_depth else ()), "score", "n", "episodes", "mean_score", "success", "low", "high")

    def row(found: Any) -> tuple[Any, ...]:
        depth, b, n, m, score, share = found
        name = f"{b / bins:.2f}–{(b + 1) / bins:.2f}"
        return (*((_THIRDS[depth],) if by_depth else ()), name, n, m, score, *parts.share_row(share * m, m))

    def note(rows: tuple[tuple[Any, ...], ...]) -> str:
        counts = [(row[-6], abs(row[-4] - row[-3])) for row in rows]
        return f"expected calibration error {sum(n * gap for n, gap in counts) / sum(n for n, _ in counts):.3f}"

    title = "Is the score calibrated?"
    return answer(store, query, title, columns, row, where=where, needs=_NEEDS, scorer=by.label, note=note)


def _bins_added_up(by: Chosen, where: Where) -> sa.CompoundSelect[Any]:
    """Return per bin: depth 0, bin, n, episodes, mean score and mean outcome of the steps, from sums of episodes."""
    names = [f"{name}_{i}" for name in ("n", "total") for i in range(t.BINS)]
    e, s = parts.episodes(where, known=True), sums.episode_sums(by, *names).c
    cells = []
    for i in range(t.BINS):
        n = s[f"n_{i}"]
        cells += [
            sa.func.sum(n).label(f"n_{i}"),
            sa.func.sum(sa.case((n > 0, 1), else_=0)).label(f"k_{i}"),
            sa.func.sum(s[f"total_{i}"]).label(f"s_{i}"),
            sa.func.sum(e.c.outcome * n).label(f"o_{i}"),
        ]
    c = sa.select(*cells).where(e.c.id == s.trajectory_id).cte("all_bins").c
    rows = [
        sa.select(
            sa.literal_column("0").label("depth"),
            sa.literal_column(str(i)).label("bin"),
            c[f"n_{i}"].label("n"),
            c[f"k_{i}"].label("k"),
            (c[f"s_{i}"] / c[f"n_{i}"]).label("score"),
            (c[f"o_{i}"] / c[f"n_{i}"]).label("success"),
        ).where(c[f"n_{i}"] > 0)
        for i in range(t.BINS)
    ]
    return sa.union_all(*rows).order_by("bin")


def _bins_of_steps(scorer_id: int, where: Where, bins: int, by_depth: bool) -> sa.Select[Any]:
    """Return the same of any number of bins and, if asked, per third of the episode, from every step."""
    k = parts.known(where, scorer_id)
    bin_of = sa.case(*((k.c.value < (i + 1) / bins, i) for i in range(bins - 1)), else_=bins - 1).label("bin")
    depth = _third(k) if by_depth else sa.literal_column("0").label("depth")
    placed = sa.select(k.c.trajectory_id, k.c.value, k.c.outcome, bin_of, depth).cte("placed")
    p = placed.c
    added = (sa.func.count().label("n"), sa.func.sum(p.value).label("value"))
    per_episode = sa.select(p.depth, p.bin, p.outcome, *added).group_by(p.depth, p.bin, p.trajectory_id, p.outcome)
    e = per_episode.cte("per_episode").c
    n = sa.func.sum(e.n)
    means = (sa.func.sum(e.value) / n, sa.func.sum(e.outcome * e.n) / n)
    return sa.select(e.depth, e.bin, n, sa.func.count(), *means).group_by(e.depth, e.bin).order_by(e.depth, e.bin)


_THIRDS = ("early", "middle", "late")


def _third(k: sa.CTE) -> sa.ColumnElement[int]:
    """Return the third of its episode (by scored steps) in which a step lies: 0, 1 or 2."""
    length = sa.func.max(k.c.idx).over(partition_by=k.c.trajectory_id) + 1
    return sa.case((k.c.idx * 3 < length, 0), (k.c.idx * 3 < 2 * length, 1), else_=2).label("depth")


def length_bias(store: Store, scorer: ScorerForm = None, **where: Unpack[Where]) -> Table:
    """Return how far the score goes with mere length: its correlation with each measure, and that given the outcome.

    Measures: the step's position, the length of what was done in characters, its output tokens (``info["tokens"]``),
    and the episode's number of steps beside its mean score. `given_outcome` is the partial correlation; `low` and
    `high` its 95 % interval (Fisher's z, over episodes, as steps of one episode are not independent). Only episodes
    with an outcome.
    """
    by = choose(store, scorer)
    score, step, of = t.score, t.step, parts.episodes(where, known=True)
    measures = {"position": score.c.idx, "characters": step.c.characters, "tokens": step.c.tokens}
    own = [added for name, x in measures.items() for added in _sums(x, score.c.value, name)]
    means = (sa.func.count().label("length"), sa.func.avg(score.c.value).label("mean"))
    each = sa.select(score.c.trajectory_id, *means, *own).join_from(score, step, parts.at(step, score))
    each = each.where(*parts.by_it(by.id, score), score.c.value.is_not(None)).group_by(score.c.trajectory_id)
    s = each.cte("each_episode")
    e = sa.select(s, of.c.outcome).join_from(s, of, of.c.id == s.c.trajectory_id).cte("each").c
    cells = [cell for name in ("position", "characters", "tokens") for cell in _moments(e, name)]
    whole = (
        sa.literal(1.0),
        e.length,
        e.mean,
        e.outcome,
        e.length * e.length,
        e.mean * e.mean,
        e.outcome * e.outcome,
        e.length * e.mean,
        e.length * e.outcome,
        e.mean * e.outcome,
    )
    query = sa.select(sa.func.count(), *map(sa.func.sum, (*cells, *whole)))
    columns = ("measure", "n", "episodes", "correlation", "given_outcome", "low", "high")
    title = "Is the score mere length?"
    return answer(store, query, title, columns, rows=_bias_rows, where=where, needs=_NEEDS, scorer=by.label)


def _sums(x: Any, y: Any, name: str) -> list[Any]:
    """Return an episode's sums of a measure x and the score y, over the steps where x is known."""
    given = sa.case((x.is_not(None), y))
    sums = {
        "n": sa.func.count(x),
        "x": sa.func.sum(x),
        "y": sa.func.sum(given),
        "xx": sa.func.sum(x * x),
        "yy": sa.func.sum(given * y),
        "xy": sa.func.sum(x * y),
    }
    return [column.label(f"{name}_{key}") for key, column in sums.items()]


def _moments(e: Any, name: str) -> list[Any]:
    """Return what `Moments` is made of, from an episode's sums: the outcome z is the same in all its steps."""
    n, x, y, xx, yy, xy = (e[f"{name}_{key}"] for key in ("n", "x", "y", "xx", "yy", "xy"))
    z = e.outcome
    return [n, x, y, n * z, xx, yy, n * z * z, xy, x * z, y * z]


def _bias_rows(found: list[Any]) -> Iterator[tuple[Any, ...]]:
    episodes, *cells = found[0]
    for i, name in enumerate(("position", "characters of the action", "output tokens", "steps of the episode")):
        m = Moments(*(float(cell or 0.0) for cell in cells[10 * i : 10 * i + 10]))
        if m.n >= 2 and m.correlation is not None:
            interval = None if m.partial is None else correlation_interval(m.partial, episodes - 1)
            yield name, round(m.n), episodes, m.correlation, m.partial, *(interval or (None, None))


def plans(store: Store, scorer: ScorerForm = None, *, limit: int | None = None, **where: Unpack[Where]) -> Table:
    """Return which plans were good: per first line of the plan (60 characters), its score beside the success.

    Of every step that says a plan. `low` and `high` are the 95 % interval of the success over the `episodes` (Wilson).
    """
    by = choose(store, scorer)
    of, s = parts.episodes(where, known=True), t.score
    template = sa.func.lower(sa.func.substr(first_line(t.content.c.plan), 1, 60)).label("plan")
    said = sa.select(s.c.trajectory_id, of.c.outcome, s.c.value, template)
    said = said.join_from(t.content, s, parts.at(t.content, s) & sa.and_(*parts.by_it(by.id, s)))
    said = said.join(of, of.c.id == s.c.trajectory_id).where(s.c.value.is_not(None))
    p = said.where(t.content.c.plan.is_not(None), *named_tool(where, s)).cte("said").c
    per_episode = sa.select(p.plan, p.outcome, sa.func.count().label("n"), sa.func.sum(p.value).label("value"))
    e = per_episode.group_by(p.plan, p.trajectory_id, p.outcome).cte("per_episode").c
    n, k_ = sa.func.sum(e.n), sa.func.count()
    query = sa.select(e.plan, n, k_, sa.func.sum(e.value) / n, sa.func.sum(parts.won(e.outcome))).group_by(e.plan)
    columns = ("plan", "n", "episodes", "mean_score", "success", "low", "high")
    return answer(
        store,
        query.order_by(k_.desc(), e.plan).limit(limit),
        "Which plans were good?",
        columns,
        lambda row: (*row[:4], *parts.share_row(row[4], row[2])),
        where=where,
        needs=("plans", *_NEEDS),
        scorer=by.label,
    )
