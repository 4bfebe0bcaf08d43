"""How far to trust the score: does it foretell outcomes, is it calibrated, is it just length, which plans were good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import ScorerForm, answer, choose
from agentprm.credit.spelling import first_line, json_number
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
    every = sa.select(s.c.value, e.c.outcome).join_from(s, e, e.c.id == s.c.trajectory_id).cte("every_step")
    both = sa.union_all(_every_step(every), _agreement_of(_summaries(e, by.id))).subquery("both")
    query = sa.select(both).order_by(both.c.of)
    columns = ("of", "n", "successes", "auc", "low", "high", "brier")
    title = "Do the scores agree with the outcomes?"
    return answer(store, query, title, columns, _agreement_row, where=where, needs=_NEEDS, scorer=by.label)


def _summaries(e: sa.CTE, scorer_id: int) -> sa.CTE:
    """Return one score per episode in each of several ways, with the outcome beside: of, value, outcome."""
    s = parts.scored(scorer_id)
    spans = (sa.func.min(s.c.idx).label("first"), sa.func.max(s.c.idx).label("last"))
    values = (sa.func.avg(s.c.value).label("mean"), sa.func.min(s.c.value).label("least"))
    g = sa.select(s.c.trajectory_id, *spans, *values).group_by(s.c.trajectory_id).cte("each")
    half = sa.func.ntile(2).over(order_by=(g.c.last, g.c.trajectory_id)).label("half")
    known = sa.select(g, e.c.outcome, half).join_from(g, e, e.c.id == g.c.trajectory_id)
    halved = known.cte("halved")
    ends = t.score.alias("ends")
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    by_it = (ends.c.scorer_id == scorer_id) & (ends.c.part_id == part)

    def end(name: str, at: str, half: int | None = None) -> sa.Select[Any]:
        here = by_it & (ends.c.trajectory_id == halved.c.trajectory_id) & (ends.c.idx == halved.c[at])
        found = sa.select(sa.literal(name).label("of"), ends.c.value.label("value"), halved.c.outcome)
        found = found.join_from(halved, ends, here)
        return found if half is None else found.where(halved.c.half == half)

    ways = [
        sa.select(sa.literal("mean score").label("of"), halved.c.mean.label("value"), halved.c.outcome),
        sa.select(sa.literal("min score"), halved.c.least, halved.c.outcome),
        end("first score", "first"),
        end("last score", "last"),
        end("last score, shorter half", "last", 1),
        end("last score, longer half", "last", 2),
    ]
    return sa.union_all(*ways).cte("summaries")


def _every_step(pairs: sa.CTE) -> sa.Select[Any]:
    """Return n, successes, AUC and Brier of every step: as `_agreement_of`, on the only table that is long."""
    p, one = pairs.c, parts.won(pairs.c.outcome)
    squared = sa.func.sum((p.value - p.outcome) * (p.value - p.outcome)).label("squared")
    counts = (sa.func.sum(one).label("won"), sa.func.sum(1 - one).label("lost"))
    v = sa.select(p.value, *counts, squared).group_by(p.value).cte("steps_seen").c
    below = sa.func.sum(v.lost).over(order_by=v.value) - v.lost / 2.0
    r = sa.select(v.won, v.lost, v.squared, (v.won * below).label("above")).cte("ranked_steps").c
    return sa.select(sa.literal("every step").label("of"), *_auc(r)).having(sa.func.count() > 0)


def _agreement_of(pairs: sa.CTE) -> sa.Select[Any]:
    """Return n, successes, AUC and Brier per kind of summary: the AUC by counting the failures below each success."""
    p, one = pairs.c, parts.won(pairs.c.outcome)
    squared = sa.func.sum((p.value - p.outcome) * (p.value - p.outcome)).label("squared")
    counts = (sa.func.sum(one).label("won"), sa.func.sum(1 - one).label("lost"))
    v = sa.select(p.of, p.value, *counts, squared).group_by(p.of, p.value).cte("values_seen").c
    below = sa.func.sum(v.lost).over(partition_by=v.of, order_by=v.value) - v.lost / 2.0
    r = sa.select(v.of, v.won, v.lost, v.squared, (v.won * below).label("above")).cte("ranked").c
    return sa.select(r.of, *_auc(r)).group_by(r.of)


def _auc(r: Any) -> list[sa.ColumnElement[Any]]:
    n_won, n_lost = sa.func.sum(r.won), sa.func.sum(r.lost)
    auc = sa.func.sum(r.above) / sa.func.nullif(n_won * n_lost * 1.0, 0)
    n = n_won + n_lost
    return [n.label("n"), n_won.label("won"), auc.label("auc"), (sa.func.sum(r.squared) / n).label("brier")]


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
    k = parts.known(where, by.id)
    bin_of = sa.case(*((k.c.value < (i + 1) / bins, i) for i in range(bins - 1)), else_=bins - 1).label("bin")
    depth = _third(k) if by_depth else sa.literal_column("0").label("depth")
    placed = sa.select(k.c.trajectory_id, k.c.value, k.c.outcome, bin_of, depth).cte("placed")
    p = placed.c
    sums = (sa.func.count().label("n"), sa.func.sum(p.value).label("value"))
    per_episode = sa.select(p.depth, p.bin, p.outcome, *sums).group_by(p.depth, p.bin, p.trajectory_id, p.outcome)
    e = per_episode.cte("per_episode").c
    n = sa.func.sum(e.n)
    means = (sa.func.sum(e.value) / n, sa.func.sum(e.outcome * e.n) / n)
    query = sa.select(e.depth, e.bin, n, sa.func.count(), *means).group_by(e.depth, e.bin).order_by(e.depth, e.bin)
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
    k = parts.known(where, by.id)
    tokens = sa.case((t.content.c.info.is_not(None), json_number(t.content.c.info, "tokens", "output")))
    characters = _length(t.content)
    measures = (k.c.idx.label("position"), characters.label("characters"), tokens.label("tokens"))
    steps = sa.select(k.c.trajectory_id, k.c.value, k.c.outcome, *measures)
    s = steps.select_from(k.outerjoin(t.content, parts.at(t.content, k))).cte("steps").c
    own = [sums for name in ("position", "characters", "tokens") for sums in _sums(s[name], s.value, name)]
    means = (sa.func.count().label("length"), sa.func.avg(s.value).label("mean"))
    e = sa.select(s.trajectory_id, s.outcome, *means, *own).group_by(s.trajectory_id, s.outcome).cte("each").c
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


def _length(content: sa.FromClause) -> sa.ColumnElement[int]:
    """Return how many characters an action has, else its plan: of a long one the count stands with its whole."""
    said = content.c.action_text.is_not(None)
    name = sa.case((said, content.c.action_hash), else_=content.c.plan_hash)
    long = sa.select(t.blob.c.n_chars).where(t.blob.c.hash == name).correlate(content).scalar_subquery()
    return sa.case(
        (name.is_(None), sa.func.length(sa.func.coalesce(content.c.action_text, content.c.plan))), else_=long
    )


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
    k = parts.known(where, by.id)
    template = sa.func.lower(sa.func.substr(first_line(t.content.c.plan), 1, 60)).label("plan")
    said = sa.select(k.c.trajectory_id, k.c.outcome, k.c.value, template).join_from(
        k, t.content, parts.at(t.content, k)
    )
    p = said.where(t.content.c.plan.is_not(None), *named_tool(where, k)).cte("said").c
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
