"""From events to rows. Values are encoded at once, so that whoever reuses a buffer changes nothing recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from agentprm import values
from agentprm.store.blobs import SHORT, Blobs
from agentprm.store.rows import Noun, Rows
from agentprm.store.state import state_hash
from agentprm.types import Began, Ended, Event, Observation, Scores, Spec, Step, Stepped, ToolCall, Trajectory

__all__ = ["Encoder", "microseconds"]

SAME_AS_TEXT = '{"$text":true}'
"""Stands in a native column for a string that the text column holds already."""
SMALLEST, LARGEST = -(2**63), 2**63 - 1
"""What an integer column takes."""


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970, exactly."""
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1_000_000 + moment.microsecond


class Encoder:
    """Turns events into rows for one engine; counts the values that have no exact form.

    Long texts and pictures are named within the `scope` of one database, by `blobs` if given.
    """

    def __init__(self, *, native_uuid: bool, scope: bytes = b"", blobs: Blobs | None = None) -> None:
        self.native_uuid = native_uuid
        self.blobs = blobs or Blobs(scope)
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
                cells = self._text(values.clean_text(note), key, "note", rows)
                rows.tables["score_note"].append((scorer, key, scores.start + i, *cells))

    def outcome(self, trajectory_id: UUID, source: str, value: float, at: int, rows: Rows) -> None:
        """Add the row of one opinion on how an episode went."""
        rows.tables["outcome"].append((self._key(trajectory_id), values.clean_text(source), at, value))

    def _began(self, t: Trajectory, first: Observation, rows: Rows) -> None:
        key, parent = self._key(t.id), t.parent
        odd: dict[str, Any] = {}
        text, native, images, state, name = self._observation(key, first, odd, rows)
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
            self._object(dict(parent.intervention), key, "fork", rows) if parent and parent.intervention else None,
            microseconds(t.started_at),
            self._object(dict(t.meta), key, "meta", rows) if t.meta else None,
            state,
        ))  # fmt: skip
        exact = self._object(odd, key, "odd", rows) if odd else None
        nothing = (None,) * 4
        rows.tables["content"].append((key, -1, *nothing, text, native, images, state, exact, None, None, name))

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
        said = _clean("action", action.text, odd) if action.text else None
        text, text_name = self._text(said, key, "action", rows)
        thought = _clean("plan", action.plan, odd) if action.plan else None
        plan, plan_name = self._text(thought, key, "plan", rows)
        native = None if action.native is None else self._spelled_native(action.native, said)
        if native is not None and len(native) > SHORT:
            native = self.blobs.json(native, (key, "native"), rows.tables["blob"])
        info = step.info if type(step.info) is dict else dict(step.info)
        beside = self._object(info, key, "info", rows) if info else None
        result, seen_native, images, state, result_name = self._observation(key, seen, odd, rows, action.tool_calls)
        reward = _real("reward", step.reward, odd)
        if given is not None:
            given = _real("given", given, odd)
        for position, call in enumerate(action.tool_calls):
            self._tool_call(key, index, position, call, odd, rows)
        exact = self._object(odd, key, "odd", rows) if odd else None
        rows.tables["content"].append((
            key, index, text, plan, native, beside, result, seen_native, images, state, exact, text_name, plan_name,
            result_name,
        ))  # fmt: skip
        whole = thought if said is None else said
        brief = (state, None if whole is None else len(whole), _output_tokens(info) if info else None)
        rows.tables["step"].append((key, index, action.kind, reward, given, shaping, *brief))
        rows.n_steps += 1

    def _ended(self, event: Ended, rows: Rows) -> None:
        ending, key = event.ending, self._key(event.trajectory_id)
        at = microseconds(ending.ended_at)
        rows.ended.append((ending.status, ending.terminated, ending.truncated, at, key))
        self.blobs.forget(key)
        if ending.outcome is not None:
            rows.tables["outcome"].append((key, "env", at, float(ending.outcome)))

    def _tool_call(self, key: Any, idx: int, position: int, call: ToolCall, odd: dict[str, Any], rows: Rows) -> None:
        is_text = type(call.output) is str and values.is_clean(call.output)
        is_native = not is_text and call.output is not None
        text, name = self._text(call.output if is_text else None, key, "output", rows)
        rows.tables["tool_call"].append((
            key,
            idx,
            position,
            self._noun(rows, "tool", _clean(f"tool {position}", call.name, odd)),
            None if call.id is None else _clean(f"call {position}", call.id, odd),
            self._value(call.arguments, key, "arguments", rows),
            text,
            self._value(call.output, key, "output", rows) if is_native else None,
            call.status,
            int(call.attempts),
            name,
        ))  # fmt: skip

    def _observation(
        self, key: Any, observation: Observation, odd: dict[str, Any], rows: Rows, calls: tuple[ToolCall, ...] = ()
    ) -> tuple[Any, ...]:
        """Return the cells of what is seen: text, native value, pictures, state, and the name of the whole text."""
        text = _clean("result", observation.text, odd) if observation.text else None
        native = None if observation.native is None else self._spelled_native(observation.native, text)
        images, everywhere = self._pictures(observation, rows) if observation.images else (None, None)
        back = [(call.name, values.encode(call.output)[0]) for call in calls] if calls else ()
        state = state_hash(text if native is None or native == SAME_AS_TEXT else native, everywhere, back)
        head, name = self._text(text, key, "result", rows)
        if native is not None and len(native) > SHORT:
            native = self.blobs.json(native, (key, "result native"), rows.tables["blob"])
        return head, native, images, state, name

    def _pictures(self, observation: Observation, rows: Rows) -> tuple[str, str]:
        """Return the names of what is shown, in this database and in every one."""
        here, everywhere = zip(
            *(self.blobs.picture(image, rows.tables["blob"]) for image in observation.images), strict=True
        )
        return ",".join(here), ",".join(everywhere)

    def _text(self, text: str | None, key: Any, column: str, rows: Rows) -> tuple[str | None, str | None]:
        if text is None or len(text) <= SHORT:
            return text, None
        return self.blobs.text(text, (key, column), rows.tables["blob"])

    def _spelled_native(self, native: Any, text: str | None) -> str:
        return SAME_AS_TEXT if type(native) is str and native == text else self._spelled(native)

    def _spelled(self, value: Any) -> str:
        text, lost = values.encode(value)
        self.degraded += lost
        return text

    def _value(self, value: Any, key: Any, column: str, rows: Rows) -> str:
        return self.blobs.json(self._spelled(value), (key, column), rows.tables["blob"])

    def _object(self, value: dict[str, Any], key: Any, column: str, rows: Rows) -> str:
        """Return an object whose members SQL reads."""
        return self.blobs.json(self._spelled(value), (key, column), rows.tables["blob"], whole=False)

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


def _output_tokens(info: Mapping[str, Any]) -> float | None:
    """Return how many tokens a step says that it wrote; None where that is no plain number."""
    tokens = info.get("tokens")
    written: Any = tokens.get("output") if isinstance(tokens, Mapping) else None
    return float(written) if type(written) in (int, float) and abs(written) <= _MOST_TOKENS else None


_MOST_TOKENS = 2**53
"""Up to which an integer is a plain number in JSON."""


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
