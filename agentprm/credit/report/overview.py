"""The first look at a store: how often it went well, how far the score can be trusted, what gains and what loses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import sqlalchemy as sa

from agentprm.credit import parts
from agentprm.credit.asking import Chosen, ScorerForm, answer, choose
from agentprm.credit.gains import value_by_action
from agentprm.credit.policies import success
from agentprm.credit.report.plain import plain_table
from agentprm.credit.table import Table
from agentprm.credit.trust import agreement, calibration
from agentprm.credit.where import Where
from agentprm.ops.agree import wilson
from agentprm.store.store import Store

__all__ = ["largest_drops", "overview", "whose"]

_BINS = 20
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


def whose(store: Store, scorer: ScorerForm = None) -> Chosen:
    """Return the scorer meant: by default the newest live one, else the newest labels; an empty one where is none."""
    chosen = choose(store, scorer)
    return chosen if chosen.label else choose(store, None, labels=True)


def overview(store: Store, scorer: ScorerForm = None, **where: Unpack[Where]) -> dict[str, Any]:
    """Return what a first look shows, as plain data: the scorer, overall success, and five credit tables by name."""
    by = whose(store, scorer)
    name = by.label or None
    tables = {
        "success": success(store, **where),
        "agreement": agreement(store, name, **where),
        "calibration": calibration(store, name, **where),
        "drops": largest_drops(store, name, **where),
        "actions": value_by_action(store, name, **where),
    }
    plain = {key: plain_table(table) for key, table in tables.items()}
    return {"scorer": by.label, "unit": by.unit, "success": _overall(tables["success"]), "tables": plain}


def _overall(table: Table) -> dict[str, Any]:
    """Return the success of all policies together, with Wilson's interval."""
    n, won = sum(row["n"] for row in table), sum(round(row["success"] * row["n"]) for row in table)
    interval = wilson(won, n)
    share = won / n if n else None
    return {"n": n, "share": share, "low": interval and interval.low, "high": interval and interval.high}


def largest_drops(store: Store, scorer: ScorerForm = None, **where: Unpack[Where]) -> Table:
    """Return a histogram of each episode's largest drop of the score: failed and succeeded ones beside each other.

    A row is a bin: drops from `low` up to `high`; an episode in which nothing fell counts as a drop of 0.
    """
    by = whose(store, scorer)
    e = parts.episodes(where, known=True)
    d = parts.deltas(parts.scored(by.id), e, "outcome")
    fell = sa.func.max(sa.case((d.c.delta < 0, -d.c.delta), else_=0.0)).label("drop")
    won = sa.func.max(parts.won(d.c.outcome)).label("won")
    query = sa.select(fell, won).group_by(d.c.trajectory_id)
    title, needs = "How deep did the score fall?", ("scores", "outcomes")
    columns = ("low", "high", "n", "failed", "succeeded")
    return answer(store, query, title, columns, rows=_binned, where=where, needs=needs, scorer=by.label)


def _binned(found: Sequence[Any]) -> list[tuple[Any, ...]]:
    drops = [(min(float(row.drop), 1e300), row.won) for row in found]
    if not drops:
        return []
    width = _nice(max(drop for drop, _ in drops) / _BINS)
    bins = [[0, 0] for _ in range(int(max(drop for drop, _ in drops) / width) + 1)]
    for drop, won in drops:
        bins[int(drop / width)][won] += 1
    return [(i * width, (i + 1) * width, sum(two), two[0], two[1]) for i, two in enumerate(bins)]


def _nice(width: float) -> float:
    """Return the next round number from `width` on."""
    if width <= 0:
        return 0.05
    size = 10.0 ** math.floor(math.log10(width))
    return next(size * nice for nice in _NICE if size * nice >= width * (1 - 1e-9))
