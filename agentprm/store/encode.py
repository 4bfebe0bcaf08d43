"""From events to rows. Values are encoded at once, so that whoever reuses a buffer changes nothing recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from agentprm import values
from agentprm.types import Began, Ended, Event, Image, Observation, Scores, Spec, Step, Stepped, ToolCall, Trajectory

__all__ = ["Encoder", "Noun", "Rows", "microseconds"]

SAME_AS_TEXT = '{"$text":true}'
"""Stands in a native column for a string that the text column holds already."""
SMALLEST, LARGEST = -(2**63), 2**63 - 1
"""What an integer column takes."""


class Noun(NamedTuple):
    """A row of a table of nouns, before its small integer is known."""

    table: str
    key: tuple[Any, ...]
    """The values of its unique columns."""


class Rows:
    """Rows waiting for one transaction, by table, and the nouns that they name."""

    __slots__ = ("ended", "n_steps", "nouns", "tables")

    TABLES = ("trajectory", "content", "step", "tool_call", "score", "score_note", "outcome", "label", "blob")

    def __init__(self) -> None:
        self.tables: dict[str, list[tuple[Any, ...]]] = {name: [] for name in self.TABLES}
        self.nouns: dict[Noun, tuple[Any, ...]] = {}
        self.ended: list[tuple[Any, ...]] = []
        self.n_steps = 0

    def __len__(self) -> int:
        return sum(self.sizes())

    def sizes(self) -> tuple[int, ...]:
        """Return how many rows wait in each table."""
        return (len(self.ended), *map(len, self.tables.values()))

    def shrink(self, sizes: tuple[int, ...]) -> None:
        """Take back every row that came after `sizes` were taken."""
        for rows, size in zip((self.ended, *self.tables.values()), sizes, strict=True):
            del rows[size:]

    def extend(self, other: Rows) -> None:
        """Add another batch behind this one."""
        for name, rows in other.tables.items():
            self.tables[name] += rows
        self.nouns |= other.nouns
        self.ended += other.ended
        self.n_steps += other.n_steps

    def by_trajectory(self) -> dict[Any, Rows]:
        """Return the same rows apart, one batch per trajectory; pictures go with every one of them."""
        parts: dict[Any, Rows] = {}
        columns = {"trajectory": 0, "content": 0, "step": 0, "tool_call": 0, "outcome": 0}
        columns |= {"score": 1, "score_note": 1, "label": 1}
        for name, column in columns.items():
            for row in self.tables[name]:
                parts.setdefault(row[column], Rows()).tables[name].append(row)
        for row in self.ended:
            parts.setdefault(row[-1], Rows()).ended.append(row)
        for part in parts.values():
            named = {cell for rows in part.tables.values() for row in rows for cell in row if isinstance(cell, Noun)}
            part.nouns = {noun: row for noun, row in self.nouns.items() if noun in named}
            part.tables["blob"] = self.tables["blob"]
            part.n_steps = len(part.tables["step"])
        return parts


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970, exactly."""
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1_000_000 + moment.microsecond


class Encoder:
    """Turns events into rows for one engine; counts the values that have no exact form."""

    def __init__(self, *, native_uuid: bool) -> None:
        self.native_uuid = native_uuid
        self._key: Callable[[UUID], Any] = (lambda uuid: uuid) if native_uuid else (lambda uuid: uuid.bytes)
        self._digests: dict[int, tuple[Spec, str]] = {}
        self.degraded = 0

    def encode(self, event: Event, rows: Rows) -> None:
        """Add the rows of one event."""
        if isinstance(event, Stepped):
            self._stepped(event, rows)
        elif isinstance(event, Began):
            self._began(event.trajectory, event.trajectory.last, rows)
        else:
            self._ended(event, rows)

    def trajectory(self, t: Trajectory, rows: Rows) -> None:
        """Add the rows of a whole episode."""
        first, *results = t.observations
        self._began(t, first, rows)
        key = self._key(t.id)
        for index, (step, result) in enumerate(zip(t.steps, results, strict=True)):
            self._step(key, index, step, result, rows)
        if t.ending is not None:
            self._ended(Ended(t.id, t.ending), rows)

    def scores(self, scores: Scores, rows: Rows) -> None:
        """Add the rows of one set of scores."""
        scorer = self.scorer(scores.source, scores.unit, scores.sees, rows)
        key = self._key(scores.trajectory_id)
        for name, series in (("score", scores.values), *scores.parts.items()):
            part = self._noun(rows, "part", values.clean_text(name))
            rows.tables["score"] += [(scorer, key, scores.start + i, part, value) for i, value in enumerate(series)]
        for i, note in enumerate(scores.notes):
            if note is not None:
                self.degraded += not values.is_clean(note)
                rows.tables["score_note"].append((scorer, key, scores.start + i, values.clean_text(note)))

    def outcome(self, trajectory_id: UUID, source: str, value: float, at: int, rows: Rows) -> None:
        """Add the row of one opinion on how an episode went."""
        rows.tables["outcome"].append((self._key(trajectory_id), values.clean_text(source), at, value))

    def _began(self, t: Trajectory, first: Observation, rows: Rows) -> None:
        key, parent = self._key(t.id), t.parent
        odd: dict[str, Any] = {}
        seed = None if t.seed is None else int(t.seed)
        if seed is not None and not SMALLEST <= seed <= LARGEST:
            odd["seed"], seed = seed, None
        rows.tables["trajectory"].append((
            key,
            self._noun(rows, "task", _clean("task_key", t.task.key, odd), _clean("task", t.task.text, odd)),
            None if t.env is None else self._noun(rows, "env", _clean("env", t.env, odd)),
            None if t.policy is None else self._noun(rows, "policy", _clean("policy", t.policy, odd)),
            None if t.external_id is None else _clean("external_id", t.external_id, odd),
            seed,
            None if t.group is None else _clean("group", t.group, odd),
            None if parent is None else self._key(parent.trajectory_id),
            None if parent is None else int(parent.index),
            None if parent is None or parent.call is None else _clean("call", parent.call, odd),
            None if parent is None or not parent.intervention else self._value(dict(parent.intervention)),
            microseconds(t.started_at),
            self._value(dict(t.meta)) if t.meta else None,
        ))  # fmt: skip
        result = self._observation(first, odd, rows)
        rows.tables["content"].append((key, -1, None, None, None, None, *result, self._odd(odd)))

    def _stepped(self, event: Stepped, rows: Rows) -> None:
        shaping = None if event.shaping is None else self._shaping(event.shaping, rows)
        key = self._key(event.trajectory_id)
        self._step(key, event.index, event.step, event.result, rows, event.given_reward, shaping)
        for scores in event.scores:
            self.scores(scores, rows)

    def _step(
        self,
        key: Any,
        index: int,
        step: Step,
        seen: Observation,
        rows: Rows,
        given: float | None = None,
        shaping: Noun | None = None,
    ) -> None:
        action = step.action
        odd: dict[str, Any] = {}
        text = _clean("action", action.text, odd) if action.text else None
        plan = _clean("plan", action.plan, odd) if action.plan else None
        native = None if action.native is None else self._native(action.native, text)
        info = self._value(step.info if type(step.info) is dict else dict(step.info)) if step.info else None
        result = self._observation(seen, odd, rows, action.tool_calls)
        reward = _real("reward", step.reward, odd)
        if given is not None:
            given = _real("given", given, odd)
        for position, call in enumerate(action.tool_calls):
            self._tool_call(key, index, position, call, odd, rows)
        rows.tables["content"].append((key, index, text, plan, native, info, *result, self._odd(odd)))
        rows.tables["step"].append((key, index, action.kind, reward, given, shaping))
        rows.n_steps += 1

    def _ended(self, event: Ended, rows: Rows) -> None:
        ending, key = event.ending, self._key(event.trajectory_id)
        at = microseconds(ending.ended_at)
        rows.ended.append((ending.status, ending.terminated, ending.truncated, at, key))
        if ending.outcome is not None:
            rows.tables["outcome"].append((key, "env", at, float(ending.outcome)))

    def _tool_call(self, key: Any, idx: int, position: int, call: ToolCall, odd: dict[str, Any], rows: Rows) -> None:
        is_text = type(call.output) is str and values.is_clean(call.output)
        rows.tables["tool_call"].append((
            key,
            idx,
            position,
            self._noun(rows, "tool", _clean(f"tool {position}", call.name, odd)),
            None if call.id is None else _clean(f"call {position}", call.id, odd),
            self._value(call.arguments),
            call.output if is_text else None,
            None if is_text or call.output is None else self._value(call.output),
            call.status,
            int(call.attempts),
        ))  # fmt: skip

    def _observation(
        self, observation: Observation, odd: dict[str, Any], rows: Rows, calls: tuple[ToolCall, ...] = ()
    ) -> tuple[Any, ...]:
        text = _clean("result", observation.text, odd) if observation.text else None
        native = None if observation.native is None else self._native(observation.native, text)
        images = ",".join([self._image(image, rows) for image in observation.images]) if observation.images else None
        content = text if native is None or native == SAME_AS_TEXT else native
        return text, native, images, _state_hash(content, images, calls)

    def _image(self, image: Image, rows: Rows) -> str:
        media_type = values.clean_text(image.media_type)
        name = hashlib.blake2b(media_type.encode() + b"\n" + image.data, digest_size=16).hexdigest()
        rows.tables["blob"].append((name, media_type, image.data))
        return name

    def _native(self, native: Any, text: str | None) -> str:
        return SAME_AS_TEXT if type(native) is str and native == text else self._value(native)

    def _value(self, value: Any) -> str:
        text, lost = values.encode(value)
        self.degraded += lost
        return text

    def _odd(self, odd: dict[str, Any]) -> str | None:
        return self._value(odd) if odd else None

    def _noun(self, rows: Rows, table: str, *key: str) -> Noun:
        noun = Noun(table, key)
        if noun not in rows.nouns:
            rows.nouns[noun] = key
        return noun

    def _digest(self, spec: Spec) -> str:
        known = self._digests.get(id(spec))
        if known is None:
            if len(self._digests) > 256:
                self._digests.clear()
            known = self._digests[id(spec)] = (spec, spec.digest)
        return known[1]

    def scorer(self, spec: Spec, unit: str, sees: str, rows: Rows) -> Noun:
        """Add a version of a scorer to the nouns; return the one that stands for it."""
        noun = Noun("scorer", (self._digest(spec),))
        if noun not in rows.nouns:
            named = [_text_or_none(spec.params.get(name)) for name in ("weights", "template", "tokenizer")]
            name = values.clean_text(spec.name)
            rows.nouns[noun] = (*noun.key, name, unit, sees, _recipe(spec), *named)
        return noun

    def _shaping(self, spec: Spec, rows: Rows) -> Noun:
        noun = Noun("shaping", (self._digest(spec),))
        if noun not in rows.nouns:
            scorer = spec.params.get("scorer")
            digest = self._digest(scorer) if isinstance(scorer, Spec) else None
            rows.nouns[noun] = (*noun.key, _recipe(spec), digest)
        return noun


def _state_hash(content: str | None, images: str | None, calls: tuple[ToolCall, ...]) -> int | None:
    """Return 64 bits that name what is seen, what tools gave back included; None where nothing is."""
    name = "" if content is None and (calls or images) else f"{content}"
    if calls:  # what they gave back is the next observation, and stands with the calls
        name += "".join(f"\x1f{call.name}\x1f{values.encode(call.output)[0]}" for call in calls)
    elif content is None and images is None:
        return None
    digest = hashlib.blake2b(f"{name}{images or ''}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else values.clean_text(str(value))


def _recipe(spec: Spec) -> str:
    """Return a recipe as JSON that every database takes."""
    text = spec.to_json()
    return text if values.is_clean(text) else json.dumps(json.loads(text))


def _clean(name: str, text: str, odd: dict[str, Any]) -> str:
    """Return text as a column takes it; what a column would refuse is kept exactly in `odd`."""
    clean = values.clean_text(text)
    if clean is not text:
        odd[name] = text
    return clean


def _real(name: str, number: float, odd: dict[str, Any]) -> float | None:
    """Return a number as a column takes it; NaN, which SQLite makes NULL, is kept in `odd`."""
    number = float(number)
    if number - number == 0:
        return number
    odd[name] = number
    return None
