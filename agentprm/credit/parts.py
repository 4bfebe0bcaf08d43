"""What credit questions are made of, as SQL: a scorer, its scores, what each step changed, how episodes went."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from agentprm.store import tables as t
from agentprm.store.reader import latest_outcome
from agentprm.types import Spec

__all__ = ["Filters", "action_text", "chosen_scorer", "deltas", "episodes", "first_word", "scored"]

Filters = dict[str, Any]
"""Which episodes: `policy`, `env`, `task` (a name each); None means any."""


def chosen_scorer(scorer: Spec | str | None) -> sa.ScalarSelect[Any]:
    """Return the id of the scorer meant: by spec, by name (the newest such), else the newest live one with scores."""
    ids = sa.select(sa.func.max(t.scorer.c.id))
    if isinstance(scorer, Spec):
        return ids.where(t.scorer.c.digest == scorer.digest).scalar_subquery()
    if scorer is not None:
        return ids.where(t.scorer.c.name == scorer).scalar_subquery()
    is_used = sa.exists().where(t.score.c.scorer_id == t.scorer.c.id)
    return ids.where(t.scorer.c.sees != "episode", is_used).scalar_subquery()


def episodes(filters: Filters) -> sa.CTE:
    """Return id, task, policy and latest outcome of the episodes that match."""
    joined = t.trajectory.join(t.task).outerjoin(t.policy).outerjoin(t.env)
    columns = {"policy": t.policy.c.name, "env": t.env.c.name, "task": t.task.c.key}
    wanted = [columns[name] == value for name, value in filters.items() if value is not None]
    named = (t.task.c.key.label("task"), t.policy.c.name.label("policy"), t.env.c.name.label("env"))
    query = sa.select(t.trajectory.c.id, *named, latest_outcome().label("outcome")).select_from(joined)
    return query.where(*wanted).cte("episodes")


def scored(scorer: Spec | str | None) -> sa.CTE:
    """Return trajectory, step and score of every step on which the scorer had an opinion."""
    part = sa.select(t.part.c.id).where(t.part.c.name == "score").scalar_subquery()
    query = sa.select(t.score.c.trajectory_id, t.score.c.idx, t.score.c.value)
    wanted = (t.score.c.scorer_id == chosen_scorer(scorer), t.score.c.part_id == part, t.score.c.value.is_not(None))
    return query.where(*wanted).cte("scored")


def deltas(given: sa.CTE) -> sa.CTE:
    """Return what each scored step changed: its score less the last one given before it; NULL for the first."""
    before = sa.func.lag(given.c.value).over(partition_by=given.c.trajectory_id, order_by=given.c.idx).label("before")
    pairs = sa.select(given, before).cte("pairs")
    return sa.select(pairs, (pairs.c.value - pairs.c.before).label("delta")).cte("deltas")


def action_text(step: sa.FromClause) -> sa.ColumnElement[str]:
    """Return what was done, for people: the action's text, else the tools it called, else the plan or native action."""
    called = t.tool_call.join(t.tool)
    names = sa.select(sa.func.aggregate_strings(t.tool.c.name, " + ")).select_from(called)
    of_step = (t.tool_call.c.trajectory_id == step.c.trajectory_id, t.tool_call.c.idx == step.c.idx)
    tools = names.where(*of_step).correlate(step).scalar_subquery()
    return sa.func.coalesce(t.content.c.action_text, tools, t.content.c.plan, t.content.c.action_native)


def first_word(text: sa.ColumnElement[str], dialect: str) -> sa.ColumnElement[str]:
    """Return a text up to its first space."""
    if dialect == "postgresql":
        return sa.func.split_part(text, " ", 1)
    return sa.func.substr(text, 1, sa.func.instr(text + " ", " ") - 1)
