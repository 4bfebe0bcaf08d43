"""What must not be stored: a function of the user's, applied to every text before anything is made of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from agentprm import values
from agentprm.errors import InvalidSpec
from agentprm.spec import resolve
from agentprm.types import (
    Action,
    Began,
    Event,
    Fork,
    Observation,
    Scores,
    Step,
    Stepped,
    Task,
    ToolCall,
    Trajectory,
    Value,
)

__all__ = ["Redact", "Redactor"]

Redact: TypeAlias = str | Callable[[str], str]
"""A function of a text, or where one is: ``"module:function"``."""
_log = logging.getLogger("agentprm.store")


class Redactor:
    """Applies a function to every text of events, trajectories and scores.

    A text for which it raises, or returns no text, is replaced by a note that says so and counted in `failed`: neither
    the agent nor the secret comes to harm. A function of the text alone gives equal texts equal forms.

    >>> redactor = Redactor(lambda text: text.replace("hunter2", "***"))
    >>> redactor.text("the password is hunter2"), redactor.value({"hunter2": [b"hunter2", 1.5]})
    ('the password is ***', {'***': [b'***', 1.5]})
    """

    def __init__(self, redact: Redact) -> None:
        self._function = resolve(redact) if isinstance(redact, str) else redact
        if not callable(self._function):
            raise InvalidSpec(f"redact is a function of a text, or 'module:function'; {redact!r} is neither")
        self._given = redact
        self.failed = 0
        """Texts that were replaced because the function failed."""
        self.degraded = 0
        """Values that had no exact form."""

    @property
    def form(self) -> Redact:
        """What makes the same again, if possible as text."""
        if isinstance(self._given, str):
            return self._given
        name = f"{getattr(self._given, '__module__', None)}:{getattr(self._given, '__qualname__', None)}"
        try:
            return name if resolve(name) is self._given else self._given
        except Exception:
            return self._given

    def text(self, text: str) -> str:
        """Return what may be stored of a text."""
        try:
            redacted = self._function(text)
            if isinstance(redacted, str):
                return str(redacted)
            why = f"returned {type(redacted).__name__}"
        except Exception as error:
            why = f"raised {type(error).__name__}"  # not its message, in which the text may stand
        if not self.failed:
            _log.error("redact %s: texts are replaced by a note (further ones are only counted)", why)
        self.failed += 1
        return f"[not stored: redact {why}]"

    def value(self, value: Value) -> Value:
        """Return what may be stored of a value: every text in it, keys and bytes that are text included."""
        text, lost = values.encode(value, self.text)
        self.degraded += lost
        return values.decode(text)

    def event(self, event: Event) -> Event:
        """Return an event as it may be stored."""
        if isinstance(event, Began):
            return replace(event, trajectory=self.trajectory(event.trajectory))
        if not isinstance(event, Stepped):
            return event
        scores = tuple(self.scores(one) for one in event.scores)
        # What was seen before the step was stored with the step before it.
        step = self._step(replace(event.step, observation=Observation()))
        return replace(event, step=step, result=self._seen(event.result), scores=scores)

    def trajectory(self, t: Trajectory) -> Trajectory:
        """Return an episode as it may be stored."""
        names: Any = {name: self._name(getattr(t, name)) for name in ("external_id", "env", "policy", "group")}
        steps, last = tuple(map(self._step, t.steps)), self._seen(t.last)
        parent, meta = t.parent and self._fork(t.parent), self._mapping(t.meta)
        return replace(t, task=self.task(t.task), steps=steps, last=last, parent=parent, meta=meta, **names)

    def scores(self, scores: Scores) -> Scores:
        """Return scores as they may be stored; their numbers and their recipe stay."""
        notes = tuple(None if note is None else self.text(note) for note in scores.notes)
        return replace(scores, notes=notes) if scores.notes else scores

    def task(self, task: Task) -> Task:
        """Return a task as it may be stored; a key that came from its text comes from what is left of it."""
        text = self.text(task.text)
        return Task(text) if task.key == Task(task.text).key else Task(text, self.text(task.key))

    def _name(self, name: str | None) -> str | None:
        return None if name is None else self.text(name)

    def _mapping(self, given: Mapping[str, Value]) -> dict[str, Value]:
        return self.value(dict(given)) if given else {}

    def _step(self, step: Step) -> Step:
        return Step(self._seen(step.observation), self._done(step.action), step.reward, self._mapping(step.info))

    def _seen(self, seen: Observation) -> Observation:
        native = None if seen.native is None else self.value(seen.native)
        return Observation(self.text(seen.text) if seen.text else seen.text, native, seen.images)

    def _done(self, action: Action) -> Action:
        text, plan = (self.text(words) if words else words for words in (action.text, action.plan))
        native = None if action.native is None else self.value(action.native)
        return Action(text, plan, tuple(map(self._call, action.tool_calls)), native)

    def _call(self, call: ToolCall) -> ToolCall:
        arguments, output = self.value(call.arguments), None if call.output is None else self.value(call.output)
        return replace(call, name=self.text(call.name), arguments=arguments, id=self._name(call.id), output=output)

    def _fork(self, fork: Fork) -> Fork:
        return replace(fork, call=self._name(fork.call), intervention=self._mapping(fork.intervention))
