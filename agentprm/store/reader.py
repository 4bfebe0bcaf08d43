"""From rows back to trajectories and scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from agentprm import values
from agentprm.errors import InvalidSpec, NoSuchTrajectory
from agentprm.store import tables as t
from agentprm.store.database import Database
from agentprm.store.encode import SAME_AS_TEXT, microseconds
from agentprm.types import Action, Ending, Fork, Image, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory

__all__ = ["Rewards", "latest_outcome", "matching", "read_rewards", "read_scores", "read_trajectories"]

_CHUNK = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_START, _LAST = -1, 0


class Rewards(NamedTuple):
    """The three rewards of one trajectory, side by side; each as long as it has steps."""

    env: tuple[float | None, ...]
    """What the world said."""
    score: tuple[float | None, ...]
    """What the model said; None where it had no opinion, or there was no model."""
    given: tuple[float | None, ...]
    """What the learner was paid; the world's own reward where nothing stood between them."""


def _moment(stamp: int) -> datetime:
    return _EPOCH + timedelta(microseconds=stamp)


def latest_outcome() -> sa.ScalarSelect[Any]:
    """Return, as SQL, the last opinion on how a trajectory went."""
    rows = sa.select(t.outcome.c.value).where(t.outcome.c.trajectory_id == t.trajectory.c.id)
    return rows.order_by(t.outcome.c.at.desc()).limit(1).correlate(t.trajectory).scalar_subquery()


def _among(column: sa.Column[Any], wanted: Any) -> sa.ColumnElement[bool]:
    if isinstance(wanted, (str, UUID)) or not isinstance(wanted, Iterable):
        return column == wanted
    return column.in_(list(wanted))


def matching(**filters: Any) -> sa.Select[Any]:
    """Return, as SQL, the ids of the trajectories that match, oldest first; see `Store.trajectories`."""
    joined = t.trajectory.join(t.task).outerjoin(t.env).outerjoin(t.policy)
    query = sa.select(t.trajectory.c.id).select_from(joined)
    columns = {
        "id": t.trajectory.c.id,
        "external_id": t.trajectory.c.external_id,
        "task": t.task.c.key,
        "policy": t.policy.c.name,
        "env": t.env.c.name,
        "group": t.trajectory.c.group_key,
        "status": t.trajectory.c.status,
        "parent": t.trajectory.c.parent_id,
        "seed": t.trajectory.c.seed,
    }
    for name, column in columns.items():
        if filters.get(name) is not None:
            query = query.where(_among(column, filters[name]))
    query = _where_rest(query, filters)
    return query.order_by(t.trajectory.c.started_at, t.trajectory.c.id).limit(filters.get("limit"))


def _where_rest(query: sa.Select[Any], filters: dict[str, Any]) -> sa.Select[Any]:
    if filters.get("since") is not None:
        query = query.where(t.trajectory.c.started_at >= microseconds(filters["since"]))
    if filters.get("until") is not None:
        query = query.where(t.trajectory.c.started_at < microseconds(filters["until"]))
    if filters.get("ended") is not None:
        ended = t.trajectory.c.status.is_not(None)
        query = query.where(ended if filters["ended"] else ~ended)
    if filters.get("outcome") is not None:
        low, high = filters["outcome"]
        query = query.where(latest_outcome().between(low, high))
    if filters.get("without") is not None:
        scored = sa.select(t.score.c.trajectory_id).join(t.scorer)
        query = query.where(t.trajectory.c.id.not_in(scored.where(t.scorer.c.digest == filters["without"].digest)))
    return query


def read_trajectories(database: Database, query: sa.Select[Any]) -> Iterator[Trajectory]:
    """Yield the trajectories whose ids `query` gives, in its order, a few hundred at a time."""
    with database.reading() as connection:
        ids = [row[0] for row in connection.execute(query)]
    for first in range(0, len(ids), _CHUNK):
        chunk = ids[first : first + _CHUNK]
        with database.reading() as connection:
            found = _Chunk(connection, chunk)
        yield from (found.trajectory(i) for i in chunk if i in found.heads)


class _Chunk:
    """The rows of a few trajectories."""

    def __init__(self, connection: sa.Connection, ids: Sequence[UUID]) -> None:
        self.heads = {row.id: row for row in connection.execute(_heads(ids))}
        self.contents = _by_trajectory(connection, t.content, ids)
        self.steps = _by_trajectory(connection, t.step, ids)
        calls = t.tool_call.join(t.tool)
        query = sa.select(t.tool_call, t.tool.c.name).select_from(calls).where(t.tool_call.c.trajectory_id.in_(ids))
        self.calls: dict[tuple[UUID, int], list[Any]] = defaultdict(list)
        for row in connection.execute(query.order_by(t.tool_call.c.trajectory_id, t.tool_call.c.idx, "position")):
            self.calls[row.trajectory_id, row.idx].append(row)
        self.images = _images(connection, (row for rows in self.contents.values() for row in rows))

    def trajectory(self, key: UUID) -> Trajectory:
        head = self.heads[key]
        contents = {row.idx: row for row in self.contents.get(key, ())}
        observation, steps = self._observation(contents.get(_START)), []
        for row in self.steps.get(key, ()):
            content = contents[row.idx]
            odd = values.decode(content.odd) if content.odd else {}
            info = values.decode(content.info) if content.info else {}
            reward = odd.get("reward", row.env_reward)
            steps.append(Step(observation, self._action(key, content, odd), reward, info))
            observation = self._observation(content)
        meta = values.decode(head.meta) if head.meta else {}
        seed = meta.pop("$seed", head.seed)
        return Trajectory(
            key, Task(head.task_text, head.task), tuple(steps), observation, _ending(head), head.external_id, head.env,
            head.policy, seed, head.group_key, _fork(head), _moment(head.started_at), meta,
        )  # fmt: skip

    def _observation(self, row: Any) -> Observation:
        if row is None:
            return Observation()
        odd = values.decode(row.odd) if row.odd else {}
        images = tuple(self.images[name] for name in (row.result_images or "").split(",") if name)
        return Observation(
            odd.get("result", row.result_text or ""), _native(row.result_native, row.result_text), images
        )

    def _action(self, key: UUID, row: Any, odd: dict[str, Any]) -> Action:
        calls = tuple(map(_call, self.calls.get((key, row.idx), ())))
        text, plan = odd.get("action", row.action_text or ""), odd.get("plan", row.plan or "")
        return Action(text, plan, calls, _native(row.action_native, row.action_text))


def _heads(ids: Sequence[UUID]) -> sa.Select[Any]:
    joined = t.trajectory.join(t.task).outerjoin(t.env).outerjoin(t.policy)
    named = (t.task.c.key.label("task"), t.task.c.text.label("task_text"), t.env.c.name.label("env"))
    columns = (t.trajectory, *named, t.policy.c.name.label("policy"), latest_outcome().label("outcome"))
    return sa.select(*columns).select_from(joined).where(t.trajectory.c.id.in_(ids))


def _by_trajectory(connection: sa.Connection, table: sa.Table, ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    grouped: dict[UUID, list[Any]] = defaultdict(list)
    query = sa.select(table).where(table.c.trajectory_id.in_(ids)).order_by(table.c.trajectory_id, table.c.idx)
    for row in connection.execute(query):
        grouped[row.trajectory_id].append(row)
    return grouped


def _images(connection: sa.Connection, contents: Iterable[Any]) -> dict[str, Image]:
    names = {name for row in contents if row.result_images for name in row.result_images.split(",")}
    if not names:
        return {}
    rows = connection.execute(sa.select(t.blob).where(t.blob.c.hash.in_(names)))
    return {row.hash: Image(row.media_type, row.data) for row in rows}


def _native(encoded: str | None, text: str | None) -> Any:
    if encoded is None:
        return None
    return text if encoded == SAME_AS_TEXT else values.decode(encoded)


def _call(row: Any) -> ToolCall:
    output = row.output_text if row.output_native is None else values.decode(row.output_native)
    return ToolCall(row.name, values.decode(row.arguments), row.call_id, output, row.status, row.attempts)


def _ending(head: Any) -> Ending | None:
    if head.status is None:
        return None
    ended_at = _moment(head.ended_at)
    return Ending(head.status, bool(head.terminated), bool(head.truncated), head.outcome, ended_at)


def _fork(head: Any) -> Fork | None:
    if head.parent_id is None:
        return None
    return Fork(head.parent_id, head.fork_index, head.fork_call, values.decode(head.fork) if head.fork else {})


def spec_from_json(text: str) -> Spec:
    """Return the spec that ``Spec.to_json`` wrote."""
    plain = values.decode(text)
    if not isinstance(plain, dict) or "name" not in plain:
        raise InvalidSpec(f"the store holds no scorer's recipe here: {text!r}")
    return Spec(plain["name"], plain.get("params", {}))


def read_scores(database: Database, wanted: Sequence[sa.ColumnElement[bool]]) -> Iterator[Scores]:
    """Yield one `Scores` per scorer version and trajectory, in the order of the key."""
    head = sa.select(t.score.c.scorer_id, t.score.c.trajectory_id).join(t.scorer).where(*wanted).distinct()
    with database.reading() as connection:
        pairs = connection.execute(head.order_by(t.score.c.scorer_id, t.score.c.trajectory_id)).all()
        scorers = {row.id: row for row in connection.execute(sa.select(t.scorer))}
    for first in range(0, len(pairs), _CHUNK):
        chunk = pairs[first : first + _CHUNK]
        with database.reading() as connection:
            rows, notes = _score_rows(connection, chunk)
        for pair in chunk:
            yield _scores(scorers[pair[0]], pair[1], rows[tuple(pair)], notes[tuple(pair)])


def _score_rows(connection: sa.Connection, pairs: Sequence[Any]) -> tuple[Any, Any]:
    rows: dict[Any, dict[str, dict[int, float | None]]] = defaultdict(lambda: defaultdict(dict))
    notes: dict[Any, dict[int, str]] = defaultdict(dict)
    query = sa.select(t.score, t.part.c.name).join(t.part).where(*_among_pairs(t.score, pairs))
    for row in connection.execute(query):
        rows[row.scorer_id, row.trajectory_id][row.name][row.idx] = row.value
    for row in connection.execute(sa.select(t.score_note).where(*_among_pairs(t.score_note, pairs))):
        notes[row.scorer_id, row.trajectory_id][row.idx] = row.text
    return rows, notes


def _among_pairs(table: sa.Table, pairs: Sequence[Any]) -> list[sa.ColumnElement[bool]]:
    columns = (table.c.scorer_id, table.c.trajectory_id)
    return [column.in_({pair[i] for pair in pairs}) for i, column in enumerate(columns)]


def _scores(scorer: Any, key: UUID, series: dict[str, dict[int, float | None]], notes: dict[int, str]) -> Scores:
    indices = [i for part in series.values() for i in part]
    start, after = min(indices), max(indices) + 1
    aligned = {name: tuple(part.get(i) for i in range(start, after)) for name, part in series.items()}
    main = aligned.pop("score", (None,) * (after - start))
    remarks = tuple(notes.get(i) for i in range(start, after)) if notes else ()
    return Scores(key, spec_from_json(scorer.spec), scorer.unit, main, start, aligned, remarks, scorer.sees)


def read_rewards(database: Database, key: UUID, scorer: Spec | None) -> Rewards:
    """Return the three rewards of one trajectory; see `Store.rewards`."""
    chosen = (
        sa.select(t.scorer.c.id).where(t.scorer.c.digest == scorer.digest).scalar_subquery() if scorer else _paid_by()
    )
    value = (
        sa.select(t.score.c.value)
        .join(t.part)
        .where(t.part.c.name == "score", t.score.c.scorer_id == chosen)
        .where(t.score.c.trajectory_id == t.step.c.trajectory_id, t.score.c.idx == t.step.c.idx)
        .correlate(t.step)
        .scalar_subquery()
    )
    given = sa.func.coalesce(t.step.c.given_reward, t.step.c.env_reward)
    query = sa.select(t.step.c.env_reward, value, given).where(t.step.c.trajectory_id == key).order_by(t.step.c.idx)
    with database.reading() as connection:
        rows = connection.execute(query).all()
        if not rows and connection.execute(sa.select(t.trajectory.c.id).filter_by(id=key)).first() is None:
            raise NoSuchTrajectory(f"the store holds no trajectory {key}")
    env, score, paid = zip(*rows, strict=True) if rows else ((), (), ())
    return Rewards(env, score, paid)


def _paid_by() -> sa.ScalarSelect[Any]:
    """Return, as SQL, the scorer that the step's shaping recipe names."""
    rows = sa.select(t.scorer.c.id).join(t.shaping, t.shaping.c.scorer == t.scorer.c.digest)
    return rows.where(t.shaping.c.id == t.step.c.shaping_id).correlate(t.step).scalar_subquery()
