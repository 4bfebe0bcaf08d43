"""Which episodes a question is about: keywords that every question takes, and that compose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

import sqlalchemy as sa

from agentprm.credit.spelling import json_text, whole_json
from agentprm.errors import InvalidTrajectory, UnknownName
from agentprm.store import tables as t
from agentprm.store.blobs import is_long
from agentprm.store.encode import microseconds
from agentprm.store.filters import several
from agentprm.suggest import did_you_mean
from agentprm.values import clean_text, encode

__all__ = ["UNDATED", "Where", "among", "conditions", "last_outcome", "named_tool"]

Names = str | Iterable[str]


class Where(TypedDict, total=False):
    """Which episodes: all keywords given must hold; one that takes a name takes several, and None means any.

    >>> from agentprm import Store
    >>> from agentprm.credit import success
    >>> failures: Where = {"env": "CartPole-v1", "outcome": "failure"}
    >>> with Store(":memory:") as store:
    ...     len(success(store, **failures, policy="ppo"))
    0
    """

    task: Names | None
    """A task's key."""
    policy: Names | None
    env: Names | None
    group: Names | None
    tool: Names | None
    """Episodes that called this tool; questions about single steps then show only the steps that did."""
    outcome: Literal["success", "failure", "unknown"] | None
    """How it went: an outcome from 0.5 on, one below, or nobody said."""
    since: datetime | None
    """Begun then or later; with a time zone."""
    until: datetime | None
    """Begun before; with a time zone. An episode without a date was begun neither before nor after."""
    tags: Mapping[str, Any] | None
    """Keys and values of the trajectory's `meta`."""
    forks: bool | None
    """Also episodes that were played again from the middle of another one; by default they are left out."""


UNDATED = 0
"""When an episode began of which nobody said it: formats without times leave it at 1970."""
_KNOWN = tuple(Where.__annotations__)
_NOUNS = {
    "task": (t.task.c.key, t.trajectory.c.task_id),
    "policy": (t.policy.c.name, t.trajectory.c.policy_id),
    "env": (t.env.c.name, t.trajectory.c.env_id),
}


def conditions(where: Where, outcome: sa.ColumnElement[float]) -> Iterator[sa.ColumnElement[bool]]:
    """Yield, as SQL, what a trajectory must fulfil; raises UnknownName and InvalidTrajectory for no filter."""
    _require_known(where)
    for name, (column, reference) in _NOUNS.items():
        if wanted := _names(where, name):
            yield reference.in_(sa.select(column.table.c.id).where(column.in_(wanted)))
    if wanted := _names(where, "group"):
        yield t.trajectory.c.group_key.in_(wanted)
    if wanted := _names(where, "tool"):
        called = sa.select(t.tool_call.c.trajectory_id).join(t.tool).where(t.tool.c.name.in_(wanted))
        yield t.trajectory.c.id.in_(called)
    if (went := where.get("outcome")) is not None:
        yield {"success": outcome >= 0.5, "failure": outcome < 0.5, "unknown": outcome.is_(None)}[went]
    if (since := where.get("since")) is not None:
        yield t.trajectory.c.started_at >= _stamp("since", since)
    if (until := where.get("until")) is not None:
        yield (t.trajectory.c.started_at < _stamp("until", until)) & (t.trajectory.c.started_at != UNDATED)
    for key, value in (where.get("tags") or {}).items():
        spelled = _spellings(value)
        meta = whole_json(t.trajectory.c.meta) if any(map(is_long, spelled)) else t.trajectory.c.meta
        yield json_text(meta, key).in_(spelled)
    if not where.get("forks"):
        yield t.trajectory.c.parent_id.is_(None) | t.trajectory.c.fork_call.is_not(None)


def among(where: Where, key: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return, as SQL, that `key` is the id of an episode asked about; quick where all are but those played again."""
    c = t.trajectory.c
    asked = {name: value for name, value in where.items() if value is not None}
    if not set(asked) - {"forks"}:
        again = sa.select(c.id).where(c.parent_id.is_not(None), c.fork_call.is_(None))
        return sa.true() if asked.get("forks") else key.not_in(again)
    o = last_outcome()
    joined = t.trajectory.outerjoin(o, o.c.trajectory_id == c.id) if where.get("outcome") else t.trajectory
    return key.in_(sa.select(c.id).select_from(joined).where(*conditions(where, o.c.value)))


def last_outcome() -> sa.Subquery:
    """Return the latest opinion on how each episode went: trajectory_id and value."""
    o, later = t.outcome, t.outcome.alias("later")
    newer = sa.tuple_(later.c.at, later.c.source) > sa.tuple_(o.c.at, o.c.source)
    is_last = ~sa.exists().where(later.c.trajectory_id == o.c.trajectory_id, newer)
    return sa.select(o.c.trajectory_id, o.c.value).where(is_last).subquery("last_opinion")


def named_tool(where: Where, step: sa.FromClause) -> list[sa.ColumnElement[bool]]:
    """Return, as SQL, that a step called the tool asked for, if one was."""
    wanted = _names(where, "tool")
    if not wanted:
        return []
    same = (t.tool_call.c.trajectory_id == step.c.trajectory_id) & (t.tool_call.c.idx == step.c.idx)
    named = t.tool_call.c.tool_id.in_(sa.select(t.tool.c.id).where(t.tool.c.name.in_(wanted)))
    return [sa.exists().where(same, named)]


def _require_known(where: Where) -> None:
    unknown = sorted(set(where) - set(_KNOWN))
    if unknown:
        raise UnknownName(
            f"no filter is called {', '.join(unknown)}{did_you_mean(unknown[0], _KNOWN)}; there are {', '.join(_KNOWN)}"
        )
    went = where.get("outcome")
    if went not in (None, "success", "failure", "unknown"):
        raise UnknownName(f"an outcome is 'success', 'failure' or 'unknown', not {went!r}")


def _names(where: Where, name: str) -> list[str]:
    value = where.get(name)
    return [] if value is None else [clean_text(str(one)) for one in several(value)]


def _spellings(value: Any) -> list[str]:
    """Return how a value may stand in JSON; a word that is a number or true may be meant as such."""
    spelled = encode(value)[0]
    return [spelled, value] if isinstance(value, str) else [spelled]


def _stamp(name: str, moment: datetime) -> int:
    if moment.utcoffset() is None:
        raise InvalidTrajectory(f"{name} has no time zone: {moment!r}; say datetime.now(UTC)")
    return microseconds(moment)
