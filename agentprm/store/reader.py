"""From rows back to trajectories and scores."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from agentprm import values
from agentprm.errors import DamagedDatabase, InvalidSpec, NoSuchTrajectory
from agentprm.store import tables as t
from agentprm.store.database import Database
from agentprm.store.encode import SAME_AS_TEXT
from agentprm.store.fetch import fetch
from agentprm.store.filters import chunks, find, latest_outcome, several
from agentprm.store.long_columns import names_in
from agentprm.store.url import plain_url
from agentprm.types import Action, Ending, Fork, Image, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory

__all__ = ["Rewards", "latest_outcome", "read_rewards", "read_scores", "read_trajectories"]

_CHUNK = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_START = -1


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


def read_trajectories(database: Database, **filters: Any) -> Iterator[Trajectory]:
    """Yield the trajectories that match, oldest first, a few hundred at a time; see `Store.trajectories`."""
    for chunk in chunks(find(database, **filters), _CHUNK):
        with database.reading() as connection:
            found = _Chunk(connection, chunk)
        yield from (_sound(database, found, i) for i in chunk if i in found.heads)


def _sound(database: Database, found: _Chunk, key: UUID) -> Trajectory:
    try:
        return found.trajectory(key)
    except (LookupError, ValueError, TypeError, OverflowError) as error:
        way_out = "`agentprm db salvage` puts what can be read into a new store" if database.is_sqlite else "delete it"
        why = f"{type(error).__name__}: {error}"
        raise DamagedDatabase(f"trajectory {key} in {plain_url(database.url)} is damaged ({why}): {way_out}") from error


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
        self.blobs = fetch(connection, self._names())

    def _names(self) -> Iterator[str]:
        yield from names_in("trajectory", self.heads.values())
        yield from names_in("content", chain.from_iterable(self.contents.values()))
        yield from names_in("tool_call", chain.from_iterable(self.calls.values()))

    def trajectory(self, key: UUID) -> Trajectory:
        head = self.heads[key]
        contents = {row.idx: row for row in self.contents.get(key, ())}
        first = contents.get(_START)
        exact = self._odd(first)
        observation, steps = self._observation(first, exact), []
        for row in self.steps.get(key, ()):
            content = contents[row.idx]
            odd = self._odd(content)
            info = self._value(content.info) if content.info else {}
            reward = odd.get("reward", row.env_reward)
            steps.append(Step(observation, self._action(key, content, odd), reward, info))
            observation = self._observation(content, odd)
        task = Task(exact.get("task", head.task_text), exact.get("task_key", head.task))
        named = {name: exact.get(name, getattr(head, name)) for name in ("external_id", "env", "policy", "seed")}
        return Trajectory(
            key, task, tuple(steps), observation, _ending(head), **named, group=exact.get("group", head.group_key),
            parent=self._fork(head, exact), started_at=_moment(head.started_at),
            meta=self._value(head.meta) if head.meta else {},
        )  # fmt: skip

    def _observation(self, row: Any, odd: dict[str, Any]) -> Observation:
        if row is None:
            return Observation()
        images = tuple(self._image(name) for name in (row.result_images or "").split(",") if name)
        text = self.blobs.cell(row.result_text, row.result_hash)
        return Observation(odd.get("result", text or ""), self._native(row.result_native, text), images)

    def _action(self, key: UUID, row: Any, odd: dict[str, Any]) -> Action:
        calls = tuple(self._call(call, odd) for call in self.calls.get((key, row.idx), ()))
        text, plan = self.blobs.cell(row.action_text, row.action_hash), self.blobs.cell(row.plan, row.plan_hash)
        native = self._native(row.action_native, text)
        return Action(odd.get("action", text or ""), odd.get("plan", plan or ""), calls, native)

    def _image(self, name: str) -> Image:
        return Image(self.blobs.media_type(name), self.blobs.data(name))

    def _value(self, encoded: str) -> Any:
        return values.decode(self.blobs.json(encoded))

    def _native(self, encoded: str | None, text: str | None) -> Any:
        if encoded is None:
            return None
        return text if encoded == SAME_AS_TEXT else self._value(encoded)

    def _odd(self, row: Any) -> dict[str, Any]:
        """Return the exact form of what no column would take."""
        return self._value(row.odd) if row is not None and row.odd else {}

    def _call(self, row: Any, odd: dict[str, Any]) -> ToolCall:
        text = self.blobs.cell(row.output_text, row.output_hash)
        output = text if row.output_native is None else self._value(row.output_native)
        name, given = odd.get(f"tool {row.position}", row.name), odd.get(f"call {row.position}", row.call_id)
        return ToolCall(name, self._value(row.arguments), given, output, row.status, row.attempts)

    def _fork(self, head: Any, exact: dict[str, Any]) -> Fork | None:
        if head.parent_id is None:
            return None
        intervention = self._value(head.fork) if head.fork else {}
        return Fork(head.parent_id, head.fork_index, exact.get("call", head.fork_call), intervention)


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


def _ending(head: Any) -> Ending | None:
    if head.status is None:
        return None
    ended_at = _moment(head.ended_at)
    return Ending(head.status, bool(head.terminated), bool(head.truncated), head.outcome, ended_at)


def spec_from_json(text: str) -> Spec:
    """Return the spec that ``Spec.to_json`` wrote."""
    plain = json.loads(text)
    if not isinstance(plain, dict) or "name" not in plain:
        raise InvalidSpec(f"the store holds no scorer's recipe here: {text!r}")
    return Spec(plain["name"], plain.get("params", {}))


def read_scores(database: Database, ids: Any, wanted: Sequence[sa.ColumnElement[bool]]) -> Iterator[Scores]:
    """Yield one `Scores` per scorer version and trajectory, in that order; of all trajectories if `ids` is None."""
    head = sa.select(t.score.c.scorer_id, t.score.c.trajectory_id).join(t.scorer).where(*wanted).distinct()
    pairs: list[Any] = []
    with database.reading() as connection:
        for chunk in [None] if ids is None else chunks(several(ids)):
            query = head if chunk is None else head.where(t.score.c.trajectory_id.in_(chunk))
            pairs += [tuple(row) for row in connection.execute(query)]
        scorers = {row.id: row for row in connection.execute(sa.select(t.scorer))}
    for chunk in chunks(sorted(set(pairs)), _CHUNK):
        with database.reading() as connection:
            rows, notes = _score_rows(connection, chunk)
        for pair in chunk:
            if rows[pair]:
                yield _scores(scorers[pair[0]], pair[1], rows[pair], notes[pair])


def _score_rows(connection: sa.Connection, pairs: Sequence[Any]) -> tuple[Any, Any]:
    rows: dict[Any, dict[str, dict[int, float | None]]] = defaultdict(lambda: defaultdict(dict))
    notes: dict[Any, dict[int, str]] = defaultdict(dict)
    query = sa.select(t.score, t.part.c.name).join(t.part).where(*_among_pairs(t.score, pairs))
    for row in connection.execute(query):
        rows[row.scorer_id, row.trajectory_id][row.name][row.idx] = row.value
    said = connection.execute(sa.select(t.score_note).where(*_among_pairs(t.score_note, pairs))).all()
    blobs = fetch(connection, (row.text_hash for row in said if row.text_hash))
    for row in said:
        notes[row.scorer_id, row.trajectory_id][row.idx] = blobs.cell(row.text, row.text_hash) or ""
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
    same = (t.content.c.trajectory_id == t.step.c.trajectory_id) & (t.content.c.idx == t.step.c.idx)
    columns = (t.step.c.env_reward, value.label("score"), t.step.c.given_reward, t.content.c.odd)
    query = sa.select(*columns).select_from(t.step.join(t.content, same)).where(t.step.c.trajectory_id == key)
    with database.reading() as connection:
        rows = connection.execute(query.order_by(t.step.c.idx)).all()
        if not rows and connection.execute(sa.select(t.trajectory.c.id).filter_by(id=key)).first() is None:
            raise NoSuchTrajectory(f"the store holds no trajectory {key}")
    env, given = [], []
    for row in rows:
        odd = values.decode(row.odd) if row.odd else {}  # what stands apart is no number
        env.append(odd.get("reward", row.env_reward))
        paid = odd.get("given", row.given_reward)
        given.append(env[-1] if paid is None else paid)
    return Rewards(tuple(env), tuple(row.score for row in rows), tuple(given))


def _paid_by() -> sa.ScalarSelect[Any]:
    """Return, as SQL, the scorer that the step's shaping recipe names."""
    rows = sa.select(t.scorer.c.id).join(t.shaping, t.shaping.c.scorer == t.scorer.c.digest)
    return rows.where(t.shaping.c.id == t.step.c.shaping_id).correlate(t.step).scalar_subquery()
