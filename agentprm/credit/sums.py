"""What a scorer said, added up per episode and per action: made from the facts once, and never stale.

A finished episode with a score row for every step cannot change any more: steps are never edited, scores are never
overwritten, and no place is left for another. What was added up of it holds for ever. Every other episode, and all of
them where nothing may be written, is read from its scores as it is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from agentprm.credit import parts
from agentprm.credit.spelling import json_number
from agentprm.credit.where import Where, among, named_tool
from agentprm.errors import StoreError
from agentprm.progress import progress_bar
from agentprm.store import tables as t
from agentprm.store.filters import chunks
from agentprm.store.store import Store

__all__ = ["Chosen", "add_up", "episode_sums", "only_reading", "per_action"]


class Chosen(NamedTuple):
    """A scorer of the store: `id` −1 and an empty `label` when there is none yet."""

    id: int
    label: str
    unit: str = ""
    is_added_up: bool = True
    """Whether all that it said is in `episode_score`, so that nothing need be read from its scores."""


_EPISODES = 1_000
"""Added up in one transaction."""
_LONG = 20
"""Transactions from which on progress is shown."""
_SPENT = {"tokens": (("tokens", "total"), ("tokens",)), "seconds": (("latency",),), "dollars": (("cost",),)}
"""Where a step's `info` says what it took; the first number found counts."""
_SUMS = ("n", "total", "calls", "failed", "paid_n", "paid_total", *_SPENT)

Which = sa.Select[Any]
"""Ids of trajectories, as SQL."""


_only_reading: ContextVar[bool] = ContextVar("only_reading", default=False)


@contextmanager
def only_reading() -> Iterator[None]:
    """Let questions add nothing up in this block: what is not added up yet is read from the scores."""
    before = _only_reading.set(True)
    try:
        yield
    finally:
        _only_reading.reset(before)


def add_up(store: Store, scorer_id: int) -> bool:
    """Add up what the scorer said of finished episodes of which that was not done; return whether nothing is left.

    What is left is read from its scores: of episodes that go on or are scored in part, or where nothing can be written.
    """
    with store.connection() as connection:
        found = connection.execute(_left(scorer_id)).all()
    todo = [key for key, is_whole in found if is_whole]
    if store._database.is_read_only or _only_reading.get():
        return not found
    is_long = len(todo) > _LONG * _EPISODES
    with progress_bar("adding up scores", len(todo), None if is_long else False) as advance:
        for chunk in chunks(todo, _EPISODES):
            try:
                with store._database.migrating() as connection:
                    _add_up(connection, scorer_id, chunk)
            except (StoreError, DBAPIError):  # may only read, or others are writing: the facts answer too
                return False
            advance(len(chunk), "")
    if len(todo) > _EPISODES:
        _analyse(store)
    return len(todo) == len(found)


def _analyse(store: Store) -> None:
    with suppress(StoreError, DBAPIError), store._database.migrating() as connection:
        for table in (t.episode_score, t.action_score):
            connection.exec_driver_sql(f"ANALYZE {table.name}")


def _left(scorer_id: int) -> sa.Select[Any]:
    """Return the scored episodes that are not added up, and whether they can be."""
    key = t.trajectory.c.id
    scores = sa.select(sa.func.count()).where(t.score.c.trajectory_id == key, *parts.by_it(scorer_id))
    n_steps = sa.select(sa.func.count()).where(t.step.c.trajectory_id == key).scalar_subquery()
    is_whole = t.trajectory.c.status.is_not(None) & (n_steps == scores.scalar_subquery())
    is_scored = sa.exists().where(t.score.c.scorer_id == scorer_id, t.score.c.trajectory_id == key)
    return sa.select(key, is_whole).where(is_new(scorer_id), is_scored).order_by(key)


def _add_up(connection: sa.Connection, scorer_id: int, chunk: Sequence[Any]) -> None:
    fresh = sa.select(t.trajectory.c.id).where(t.trajectory.c.id.in_(chunk), is_new(scorer_id))
    ids = list(connection.scalars(fresh))  # another process may have been quicker
    if not ids:
        return
    which = sa.select(t.trajectory.c.id).where(t.trajectory.c.id.in_(ids))
    for table, found in (
        (t.action_score, _actions_of(scorer_id, which)),
        (t.episode_score, _episodes_of(scorer_id, which)),
    ):
        columns = [column.name for column in table.c]
        rows = found.cte(f"new_{table.name}")
        cells = [sa.literal(scorer_id), *(rows.c[name] for name in columns[1:])]
        connection.execute(sa.insert(table).from_select(columns, sa.select(*cells)))


def is_new(scorer_id: int) -> sa.ColumnElement[bool]:
    """Return that a trajectory was not added up."""
    c = t.episode_score.c
    return ~sa.exists().where(c.scorer_id == scorer_id, c.trajectory_id == t.trajectory.c.id)


def _without(scorer_id: int) -> Which:
    """Return the trajectories that were not added up."""
    return sa.select(t.trajectory.c.id).where(is_new(scorer_id))


def kept_of(table: sa.Table, scorer_id: int) -> sa.ColumnElement[bool]:
    """Return that a row of sums is the scorer's."""
    return table.c.scorer_id == scorer_id


def episode_sums(by: Chosen, *names: str) -> sa.CTE:
    """Return trajectory_id, n and the named columns of `episode_score`, of each episode the scorer said anything of."""
    c, wanted = t.episode_score.c, ("trajectory_id", "n", *names)
    kept = sa.select(*(c[name] for name in wanted)).where(kept_of(t.episode_score, by.id), c.n > 0)
    if by.is_added_up:
        return kept.cte("added_up")
    facts = _episodes_of(by.id, _without(by.id)).cte("from_facts").c
    rest = sa.select(*(facts[name] for name in wanted)).where(facts.n > 0)
    return kept.union_all(rest).cte("added_up")


def _episodes_of(scorer_id: int, which: Which) -> sa.Select[Any]:
    """Return what `episode_score` holds of some trajectories, from their scores; also of those with none."""
    given = parts.scored(scorer_id, "scored_of_some", which)
    c = given.c
    bins = [column for i in range(t.BINS) for column in _in_bin(c.value, i)]
    plain = (
        sa.func.count().label("n"),
        sa.func.sum(c.value).label("total"),
        sa.func.min(c.value).label("least"),
        sa.func.min(c.idx).label("first_idx"),
        sa.func.max(c.idx).label("last_idx"),
    )
    added = sa.select(c.trajectory_id, *plain, *bins).group_by(c.trajectory_id)
    again = parts.scored(scorer_id, "scored_again", which)  # read twice: quicker than to keep and sort it
    return _with_ends(_together(added, _worst(again), which), scorer_id)


def _worst(given: sa.CTE) -> sa.Select[Any]:
    """Return the step of each episode that lost most, or gained least; the first of several."""
    d = parts.deltas(given, name="changes_of_some")
    rank = sa.func.row_number().over(partition_by=d.c.trajectory_id, order_by=(d.c.delta, d.c.idx)).label("rank")
    r = sa.select(d, rank).where(d.c.delta.is_not(None)).cte("ranked_changes").c
    step = (r.idx.label("worst_idx"), r.before, r.value.label("after"))
    return sa.select(r.trajectory_id, *step).where(r.rank == 1)


def _together(added: sa.Select[Any], worst: sa.Select[Any], which: Which) -> sa.CTE:
    """Return one row per trajectory of `which`, of what two queries say of it; put in a row, not joined by search."""
    kinds = {
        column.name: column.type for column in t.episode_score.c if column.name not in ("scorer_id", "first", "last")
    }
    kinds["first_idx"] = sa.Integer()
    nobody = sa.select(which.cte("some").c.id.label("trajectory_id"))
    rows = []
    for query in (added, worst, nobody):
        c = query.subquery().c
        rows.append(
            sa.select(*(c[name] if name in c else sa.cast(sa.null(), kind).label(name) for name, kind in kinds.items()))
        )
    c = sa.union_all(*rows).cte("told").c
    names = [name for name in kinds if name != "trajectory_id"]
    return (
        sa.select(c.trajectory_id, *(sa.func.max(c[name]).label(name) for name in names))
        .group_by(c.trajectory_id)
        .cte("told_once")
    )


def _with_ends(told: sa.CTE, scorer_id: int) -> sa.Select[Any]:
    """Return the sums with the first and the last score beside, in the order of the table's columns."""
    first, last, c = t.score.alias("first_score"), t.score.alias("last_score"), told.c
    joined: Any = told
    for end, idx in ((first, c.first_idx), (last, c.last_idx)):
        is_there = (end.c.trajectory_id == c.trajectory_id) & (end.c.idx == idx)
        joined = joined.outerjoin(end, sa.and_(is_there, *parts.by_it(scorer_id, end)))
    names = [column.name for column in t.episode_score.c][1:]
    cells: dict[str, Any] = {"first": first.c.value, "last": last.c.value}
    cells |= {name: sa.func.coalesce(c[name], 0) for name in ("n", *(f"n_{i}" for i in range(t.BINS)))}
    return sa.select(*((cells[name] if name in cells else c[name]).label(name) for name in names)).select_from(joined)


def _in_bin(value: Any, i: int) -> tuple[Any, Any]:
    """Return how many scores lie in a bin, and their sum."""
    is_in = parts.in_bin(value, i, t.BINS)
    return sa.func.sum(sa.case((is_in, 1), else_=0)).label(f"n_{i}"), sa.func.sum(sa.case((is_in, value))).label(
        f"total_{i}"
    )


def _actions_of(scorer_id: int, which: Which, where: Where | None = None) -> sa.Select[Any]:
    """Return what `action_score` holds of some trajectories, from their scores and what they did."""
    d = parts.deltas(parts.scored(scorer_id, "scored_of_some", which), name="changes_of_some")
    changed = sa.select(d.c.trajectory_id, d.c.idx, d.c.delta)
    wanted = changed.where(d.c.delta.is_not(None), *named_tool(where or {}, d))
    return _deeds_of(wanted.cte("changed_of_some"))


def _deeds_of(changed: sa.CTE) -> sa.Select[Any]:
    """Return the sums per action and trajectory of the rows of `changed`: trajectory_id, idx and delta."""
    deeds = parts.deed(changed)
    paid = t.content.alias("paid")
    told = deeds.outerjoin(paid, parts.at(paid, deeds) & paid.c.info.is_not(None))
    spent = [_spent(paid.c.info, name).label(name) for name in _SPENT]
    is_paid = sa.case((paid.c.info.is_not(None), 1)).label("is_paid")
    # A fence: the JSON is looked into once, not for every sum.
    c = sa.select(*deeds.c, is_paid, *spent).select_from(told).limit(parts.ALL).cte("deeds_paid").c
    sums = {
        "n": c.share,
        "total": c.delta * c.share,
        "calls": c.calls,
        "failed": c.failed,
        "paid_n": c.is_paid * c.share,
        "paid_total": c.is_paid * c.delta * c.share,
        **{name: c[name] * c.share for name in _SPENT},
    }
    totals = [sa.func.sum(value).label(name) for name, value in sums.items()]
    return sa.select(c.action, c.trajectory_id, *totals).group_by(c.action, c.trajectory_id)


def _spent(info: sa.ColumnElement[str], name: str) -> sa.ColumnElement[float]:
    return sa.func.coalesce(*(json_number(info, *path) for path in _SPENT[name]), None)


def per_action(who: Chosen, where: Where, *, by: str | None = None, paid: bool = False) -> sa.CTE:
    """Return, per action (and per `by`, a noun of the episode), what a mean change and its variance need.

    n, episodes k, four sums, calls and failed ones, and what it took; `paid`: only of steps that say what they took.
    """
    keys, c = ("action", *((by,) if by else ())), t.action_score.c
    kept = sa.select(c.action, c.trajectory_id, *(c[name] for name in _SUMS)).where(kept_of(t.action_score, who.id))
    if where.get("tool"):  # of the steps that called it only
        which = sa.select(parts.episodes(where).c.id)
        return _adding(_actions_of(who.id, which, where).cte("from_facts"), where, keys, paid).cte("sums")
    if who.is_added_up:
        return _adding(kept.subquery("kept"), where, keys, paid).cte("sums")
    facts = _actions_of(who.id, _without(who.id)).cte("from_facts")
    # One by one: put together first, a million rows would have to be sorted.
    both = sa.union_all(*(_adding(rows, where, keys, paid) for rows in (kept.subquery("kept"), facts))).cte("both").c
    totals = [sa.func.sum(column).label(column.name) for column in both if column.name not in keys]
    return sa.select(*(both[key] for key in keys), *totals).group_by(*(both[key] for key in keys)).cte("sums")


def _adding(rows: sa.CTE | sa.Subquery, where: Where, keys: Sequence[str], paid: bool) -> sa.Select[Any]:
    """Return the sums of rows per action and trajectory that belong to episodes asked about, per action."""
    c = rows.c
    n, s = (c.paid_n, c.paid_total) if paid else (c.n, c.total)
    products = {"n": n, "s": s, "ss": s * s, "sn": s * n, "nn": n * n}
    products |= {name: c[name] for name in ("calls", "failed", *_SPENT)}
    totals = [sa.func.sum(product).label(name) for name, product in products.items()]
    query = sa.select(c.action, sa.func.count().label("k"), *totals)
    if keys[1:]:
        e = parts.episodes(where, *keys[1:], bare=True, name=f"episodes_of_{rows.name}")
        names = [e.c[key] for key in keys[1:]]
        query = query.add_columns(*names).join_from(rows, e, e.c.id == c.trajectory_id).group_by(c.action, *names)
    else:
        query = query.where(among(where, c.trajectory_id)).group_by(c.action)
    return query.where(n.is_not(None)) if paid else query
