"""Opinions side by side: where two scorers differ most, a scorer beside people, and what people should label next."""

from __future__ import annotations

from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import ScorerForm, answer, choose, choose_two
from agentprm.credit.table import Table
from agentprm.credit.where import Where, among, named_tool
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["disagreement", "first_errors", "label_next"]


def disagreement(
    store: Store, a: ScorerForm = None, b: ScorerForm = None, *, limit: int = 20, **where: Unpack[Where]
) -> Table:
    """Return the steps on which two scorers, or two versions of one, differ most: `difference` is b − a.

    By default the two newest; `a` is the older. Each row is one observation: it has no interval. The note gives the
    number of steps that both scored, the mean difference and the mean absolute one.
    """
    one, two = choose_two(store, a, b)
    pairs = _pairs(one.id, two.id, where, "every")
    each = _differences(pairs, named_tool(where, pairs))
    total = _totals(each)
    # The steps that differ most of all lie in as many episodes at most.
    largest = sa.select(each.c.trajectory_id).where(each.c.most.is_not(None))
    some = largest.order_by(each.c.most.desc(), each.c.trajectory_id).limit(limit).cte("largest")
    near = _pairs(one.id, two.id, {"forks": True}, "near", sa.select(some.c.trajectory_id))
    size = sa.func.abs(near.c.difference)
    most = sa.select(near).where(*named_tool(where, near)).order_by(size.desc(), near.c.trajectory_id, near.c.idx)
    top = most.limit(limit).cte("top")
    e = parts.episodes({"forks": True})
    shown = (top.c.trajectory_id, e.c.outcome, top.c.idx, parts.acted(top), top.c.a, top.c.b, top.c.difference)
    query = sa.select(*shown, total.c.n, total.c.mean, total.c.absolute).select_from(
        top.join(total, sa.true()).join(e, e.c.id == top.c.trajectory_id)
    )
    query = query.order_by(sa.func.abs(top.c.difference).desc(), top.c.trajectory_id, top.c.idx)
    totals: list[Any] = []

    def row(found: Any) -> tuple[Any, ...]:
        totals[:] = found[-3:]
        return tuple(found[:-3])

    def note(_: Any) -> str:
        n, mean, absolute = totals
        return f"both scored {n} steps; b − a is {mean:+.3f} on average, {absolute:.3f} in size"

    columns = ("trajectory", "outcome", "step", "action", "a", "b", "difference")
    title = f"Where a = {one.label or 'nobody'} and b = {two.label or 'nobody'} differ most"
    return answer(
        store,
        query,
        title,
        columns,
        row,
        where=where,
        needs=("scores", "two scorers"),
        scorer=", ".join(c.label for c in (one, two) if c.label),
        note=note,
    )


def _differences(pairs: sa.FromClause, of: list[sa.ColumnElement[bool]]) -> sa.CTE:
    """Return per episode how many steps both scored, the sums of the differences, and the largest one `of` some."""
    size = sa.func.abs(pairs.c.difference)
    most = sa.func.max(sa.case((sa.and_(*of), size)) if of else size)
    added = (sa.func.count().label("n"), sa.func.sum(pairs.c.difference).label("s"), sa.func.sum(size).label("sizes"))
    return sa.select(pairs.c.trajectory_id, *added, most.label("most")).group_by(pairs.c.trajectory_id).cte("each")


def _totals(each: sa.CTE) -> sa.CTE:
    n = sa.func.sum(each.c.n)
    means = ((sa.func.sum(each.c.s) / n).label("mean"), (sa.func.sum(each.c.sizes) / n).label("absolute"))
    return sa.select(n.label("n"), *means).cte("total")


def _pairs(a: int, b: int, where: Where, name: str = "both", which: sa.Select[Any] | None = None) -> sa.Subquery:
    """Return every step that both scored, with both scores; `which`: only of those trajectories."""
    one, two = t.score.alias(f"one_of_{name}"), t.score.alias(f"two_of_{name}")
    is_given = (one.c.value.is_not(None), two.c.value.is_not(None), among(where, one.c.trajectory_id))
    given = (*parts.by_it(a, one), *parts.by_it(b, two), *is_given)
    values = (one.c.value.label("a"), two.c.value.label("b"), (two.c.value - one.c.value).label("difference"))
    query = sa.select(one.c.trajectory_id, one.c.idx, *values).join_from(one, two, parts.at(one, two)).where(*given)
    return (query if which is None else query.where(one.c.trajectory_id.in_(which))).subquery(name)


def first_errors(
    store: Store,
    scorer: ScorerForm = None,
    *,
    truth: str = "human",
    below: float = 0.5,
    **where: Unpack[Where],
) -> Table:
    """Return how a scorer's first error (its first score under `below`) compares with the first error people marked.

    People's marks are labels by the annotator `truth` ("human": by anyone) and scores of that name; a mark under 0.5,
    or one without a number, is an error. One row per verdict with its share of the labelled episodes (Wilson). The
    note gives the F1 of ProcessBench (Zheng et al. 2024): the harmonic mean of the shares right among episodes with an
    error and among those without.
    """
    by = choose(store, scorer)
    marks = _marks(truth)
    e = parts.episodes(where)
    is_error = sa.case((sa.func.coalesce(marks.c.value, 0.0) < 0.5, marks.c.idx))
    told = sa.select(marks.c.trajectory_id, sa.func.min(is_error).label("told")).join_from(
        marks, e, e.c.id == marks.c.trajectory_id
    )
    said_by_people = told.group_by(marks.c.trajectory_id).cte("told")
    s = parts.scored(by.id)
    first = sa.select(s.c.trajectory_id, sa.func.min(sa.case((s.c.value < below, s.c.idx))).label("found"))
    found = first.group_by(s.c.trajectory_id).cte("found")
    verdict = _verdict(said_by_people.c.told, found.c.found).label("verdict")
    joined = sa.select(verdict).join_from(
        said_by_people, found, found.c.trajectory_id == said_by_people.c.trajectory_id
    )
    v = joined.cte("verdicts").c.verdict
    query = (
        sa.select(v, sa.func.count(), sa.func.sum(sa.func.count()).over())
        .group_by(v)
        .order_by(sa.func.count().desc(), v)
    )
    columns = ("verdict", "n", "share", "low", "high")
    return answer(
        store,
        query,
        f"The first error, beside what {truth} said",
        columns,
        lambda row: (row[0], row[1], *parts.share_row(row[1], int(row[2]))),
        where=where,
        needs=("scores", "marks"),
        scorer=by.label,
        note=_f1,
    )


def _verdict(told: sa.ColumnElement[int], found: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    """Return what the first error found is beside the first one told of, in words."""
    return sa.case(
        (told.is_(None) & found.is_(None), "no error, none found"),
        (told.is_(None), "no error, one found"),
        (found.is_(None), "error missed"),
        (told == found, "error found"),
        (found < told, "found too early"),
        else_="found too late",
    )


def _marks(truth: str) -> sa.CTE:
    """Return trajectory, step and value of everything that people marked, in labels that stand and in scores."""
    later = t.label.alias("later")
    stands = ~sa.exists().where(later.c.supersedes == t.label.c.id)
    labels = sa.select(t.label.c.trajectory_id, t.label.c.idx, t.label.c.value).where(
        t.label.c.idx.is_not(None), stands
    )
    if truth != "human":
        labels = labels.where(t.label.c.annotator == truth)
    named = sa.select(t.scorer.c.id).where(t.scorer.c.name == truth)
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    scores = sa.select(t.score.c.trajectory_id, t.score.c.idx, t.score.c.value)
    wanted = (t.score.c.scorer_id.in_(named), t.score.c.part_id == part, t.score.c.value.is_not(None))
    return labels.union_all(scores.where(*wanted)).cte("marks")


def _f1(rows: tuple[tuple[Any, ...], ...]) -> str:
    n = {row[0]: row[1] for row in rows}
    clean = n.get("no error, none found", 0), n.get("no error, one found", 0)
    wrong = n.get("error found", 0), sum(n.get(v, 0) for v in ("error missed", "found too early", "found too late"))
    if not sum(clean) or not sum(wrong):
        return "F1 needs labelled episodes with and without an error"
    shares = clean[0] / sum(clean), wrong[0] / sum(wrong)
    f1 = 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0
    return f"F1 {f1:.3f}: right on {shares[1]:.0%} of episodes with an error, on {shares[0]:.0%} of those without"


def label_next(
    store: Store, a: ScorerForm = None, b: ScorerForm = None, *, limit: int = 20, **where: Unpack[Where]
) -> Table:
    """Return the steps that a person should label next: where two scorers differ, or one is unsure; actions in turn.

    `priority` is |a − b|, or with a single scorer its doubt 1 − |2a − 1|. Steps with a label are left out, and kinds of
    action take turns, the worst of each first. Each row is one observation: it has no interval.
    """
    one, two = choose_two(store, a, b)
    if one.id < 0:
        one, two = two, one
    w = _wanted(one.id, two.id, where)
    marked = sa.exists().where(t.label.c.trajectory_id == w.c.trajectory_id, t.label.c.idx == w.c.idx)
    many = sa.select(w).where(~marked, *named_tool(where, w)).order_by(w.c.priority.desc(), w.c.trajectory_id, w.c.idx)
    deeds = parts.deed(many.limit(limit * 50).cte("candidates"))
    d = deeds.c
    order = (d.priority.desc(), d.trajectory_id, d.idx)
    turn = sa.func.row_number().over(partition_by=d.action, order_by=order).label("turn")
    turns = sa.select(d.trajectory_id, d.idx, d.a, d.b, d.priority, turn).cte("turns")
    first = sa.select(
        turns.c.trajectory_id,
        turns.c.idx,
        turns.c.a,
        turns.c.b,
        turns.c.priority,
        sa.func.min(turns.c.turn).label("turn"),
    )
    once = first.group_by(*(turns.c[name] for name in ("trajectory_id", "idx", "a", "b", "priority"))).cte("once")
    o = once.c
    top = sa.select(once).order_by(o.turn, o.priority.desc(), o.trajectory_id, o.idx).limit(limit).cte("top")
    p = top.c
    query = sa.select(p.trajectory_id, p.idx, parts.acted(top), p.a, p.b, p.priority)
    columns = ("trajectory", "step", "action", "a", "b", "priority")
    labels = ", ".join(c.label for c in (one, two) if c.label)
    return answer(
        store,
        query.order_by(p.turn, p.priority.desc(), p.trajectory_id, p.idx),
        "What to label next",
        columns,
        where=where,
        needs=("scores",),
        scorer=labels,
    )


def _wanted(a: int, b: int, where: Where) -> sa.CTE:
    if b >= 0:
        pairs = _pairs(a, b, where)
        return sa.select(pairs, sa.func.abs(pairs.c.difference).label("priority")).cte("wanted")
    s, e = parts.scored(a), parts.episodes(where)
    doubt = 1.0 - sa.func.abs(2.0 * s.c.value - 1.0)
    columns = (s.c.trajectory_id, s.c.idx, s.c.value.label("a"), sa.cast(sa.null(), sa.Double).label("b"))
    return sa.select(*columns, doubt.label("priority")).join_from(s, e, e.c.id == s.c.trajectory_id).cte("wanted")
