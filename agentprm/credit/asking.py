"""Putting a question to a store: whose scores, one statement, and why an answer is empty."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from agentprm.credit.hints import described, spelled
from agentprm.credit.sums import Chosen, add_up
from agentprm.credit.table import Table
from agentprm.credit.where import Where
from agentprm.errors import UnknownName
from agentprm.store import tables as t
from agentprm.store.store import Store
from agentprm.suggest import did_you_mean
from agentprm.types import Spec

__all__ = ["Chosen", "ScorerForm", "answer", "choose", "choose_two", "pasteable", "rows_of"]

Query = sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[*tuple[Any, ...]]
ScorerForm = Spec | str | None
"""A scorer: its spec, its name, or ``name@version`` with the beginning of a version's digest; None for the newest."""

Row = tuple[Any, ...]


_NOBODY = Chosen(-1, "")


def choose(store: Store, scorer: ScorerForm = None, *, labels: bool = False) -> Chosen:
    """Return the scorer meant: by default the newest that could have paid a live reward and has scores.

    With `labels`, by default the newest that saw the whole episode comes first. Raises UnknownName for one that is
    named and not there.
    """
    found = (_chosen(store, None, ("episode",)) if labels and scorer is None else []) or _chosen(store, scorer)
    if found:
        return found[0]._replace(is_added_up=add_up(store, found[0].id))
    if scorer is not None:
        raise UnknownName(_unknown(store, scorer))
    return _NOBODY


def choose_two(store: Store, a: ScorerForm, b: ScorerForm) -> tuple[Chosen, Chosen]:
    """Return two scorers to compare: by default the two newest; the first is the older."""
    if a is not None and b is not None:
        return choose(store, a), choose(store, b)
    newest = _chosen(store, None)
    if a is not None or b is not None:
        named = choose(store, a if b is None else b)
        other = next((c for c in newest if c.id != named.id), _NOBODY)
        return (named, other) if b is None else (other, named)
    newest = [*newest, _NOBODY, _NOBODY]
    return newest[1], newest[0]


_LIVE = ("action", "result")


def _chosen(store: Store, scorer: ScorerForm, sees: tuple[str, ...] = _LIVE) -> list[Chosen]:
    c = t.scorer.c
    query = sa.select(c.id, c.name, c.digest, c.unit).order_by(c.id.desc())
    if isinstance(scorer, Spec):
        query = query.where(c.digest == scorer.digest)
    elif scorer is not None:
        name, _, version = scorer.partition("@")
        query = query.where(c.name == name, c.digest.startswith(version, autoescape=True))
    else:
        is_used = sa.exists().where(t.score.c.scorer_id == c.id)
        query = query.where(c.sees.in_(sees), is_used)
    with store.connection() as connection:
        return [Chosen(row.id, f"{row.name}@{row.digest[:8]}", row.unit) for row in connection.execute(query)]


def _unknown(store: Store, scorer: Spec | str) -> str:
    with store.connection() as connection:
        rows = connection.execute(sa.select(t.scorer.c.name, t.scorer.c.digest).order_by(t.scorer.c.id))
        known = [f"{row.name}@{row.digest[:8]}" for row in rows]
    named = f"{scorer.name}@{scorer.digest[:8]}" if isinstance(scorer, Spec) else scorer
    meant = did_you_mean(named, [*known, *(label.partition("@")[0] for label in known)])
    return f"the store holds no scores by {named!r}{meant}; there are {', '.join(known) or 'none'}"


_PLANNING = {"jit": "off", "work_mem": "'64MB'"}
"""How PostgreSQL goes about a question: compiling takes longer than most answers, and sums fit into memory."""


def rows_of(store: Store, query: Query) -> list[Any]:
    """Return the rows of one statement; a sum that an engine gives as a decimal is a plain number."""
    with store.connection() as connection:
        if connection.dialect.name == "postgresql":
            for name, value in _PLANNING.items():
                connection.exec_driver_sql(f"SET LOCAL {name} = {value}")
        found = list(connection.execute(query))
    if not any(isinstance(cell, Decimal) for row in found[:1] for cell in row):
        return found
    shape = namedtuple("Row", found[0]._fields, rename=True)  # type: ignore[misc]
    return [shape(*map(_number, row)) for row in found]


def _number(cell: Any) -> Any:
    if not isinstance(cell, Decimal):
        return cell
    return int(cell) if cell == cell.to_integral_value() else float(cell)


def pasteable(store: Store, query: Query) -> str:
    """Return a statement as one can paste it into the database's shell."""
    with store.connection() as connection:
        # Not in the driver's own style, which doubles every percent sign.
        dialect = type(connection.dialect)(paramstyle="named")
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def answer(
    store: Store,
    query: Query,
    title: str,
    columns: Iterable[str],
    row: Callable[[Any], Row] = tuple,
    *,
    where: Where,
    needs: Iterable[str] = (),
    scorer: str = "",
    rows: Callable[[list[Any]], Iterable[Row]] | None = None,
    note: str | Callable[[tuple[Row, ...]], str] = "",
    otherwise: str = "no episode qualifies",
) -> Table:
    """Return the table of one statement; `needs` says without what it must be empty (`_LACKS`), `otherwise` why else.

    `row` makes a row of the table of one of the statement, or `rows` all of them at once.
    """
    found = rows_of(store, query)
    made = tuple(rows(found)) if rows else tuple(map(row, found))
    said = _why_empty(store, where, needs, otherwise) if not made else note if isinstance(note, str) else note(made)
    return Table(title, tuple(columns), made, pasteable(store, query), said, scorer)


def _live() -> sa.ColumnElement[bool]:
    return sa.exists().where(t.score.c.scorer_id == t.scorer.c.id) & (t.scorer.c.sees != "episode")


_LACKS: dict[str, tuple[Any, str]] = {
    "episodes": (sa.select(t.trajectory.c.id), "the store holds no episodes: record some, or import them"),
    "scores": (
        sa.select(t.scorer.c.id).where(_live()),
        "nothing is scored yet: run `agentprm score URL MODEL`, or name whose labels to read ({scorer})",
    ),
    "outcomes": (
        sa.select(t.outcome.c.trajectory_id),
        "no outcome is known: give the recorder outcome=, or say store.set_outcome(1.0, id=...)",
    ),
    "forks": (
        sa.select(t.trajectory.c.id).where(t.trajectory.c.parent_id.is_not(None), t.trajectory.c.fork_call.is_(None)),
        "nothing was played again: see agentprm.credit.counterfactual",
    ),
    "plans": (
        sa.select(t.content.c.idx).where(t.content.c.plan.is_not(None)),
        "no plans were recorded: say Action(plan=...), or ep.plan(...)",
    ),
    "calls": (sa.select(t.tool_call.c.idx), "no tool calls were recorded"),
    "failed calls": (
        sa.select(t.tool_call.c.idx).where(t.tool_call.c.status.in_(("error", "rejected"))),
        "no tool call failed",
    ),
    "shaping": (
        sa.select(t.step.c.idx).where(t.step.c.shaping_id.is_not(None)),
        "no shaped reward was paid: wrap the environment in PRMRewardWrapper(env, scorer, store)",
    ),
    "any scores": (sa.select(t.score.c.idx), "there are neither labels nor scores: run `agentprm label URL METHOD`"),
    "marks": (
        sa.select(sa.literal(1))
        .select_from(t.label)
        .union_all(sa.select(sa.literal(1)).select_from(t.scorer).where(t.scorer.c.name == "human")),
        "nobody marked a step: label some, or name whose scores to take for the truth ({truth})",
    ),
    "two scorers": (
        sa.select(sa.literal(1)).where(sa.select(sa.func.count()).where(_live()).scalar_subquery() > 1),
        "there is one scorer only: score with another one or another version, or name both ({a}, {b})",
    ),
    "two policies": (
        sa.select(sa.literal(1)).where(sa.select(sa.func.count()).select_from(t.policy).scalar_subquery() > 1),
        'there is one policy only: name policies when recording (policy="ppo@1")',
    ),
    "spent": (
        sa.select(t.content.c.idx).where(t.content.c.info.like('%"latency"%') | t.content.c.info.like('%"tokens"%')),
        "no step says what it took: put latency, tokens or cost into its info",
    ),
    "subagents": (
        sa.select(t.trajectory.c.id).where(t.trajectory.c.fork_call.is_not(None)),
        "no agent was started by another agent's tool call",
    ),
}
"""What a question may need, how to see whether the store has any, and what to do when it has not."""


def _why_empty(store: Store, where: Where, needs: Iterable[str], otherwise: str) -> str:
    with store.connection() as connection:
        for need in ("episodes", *needs):
            if need not in _LACKS:
                continue
            query, lacking = _LACKS[need]
            if connection.execute(query.limit(1)).first() is None:
                return spelled(lacking)
    filters = described(where)
    return f"nothing matches {filters}" if filters else otherwise
