"""What every environment wrapper shares: where episodes go, and where their words come from."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import gymnasium as gym
import numpy as np

from agentprm.errors import AgentPRMError, InvalidSpec, MissingText
from agentprm.record._copies import copied, said
from agentprm.record.episode import Episode
from agentprm.record.outcome import OutcomeRule, outcome_of, outcome_rule
from agentprm.spec import resolve
from agentprm.text.describe import describe
from agentprm.types import Action, Ending, Event, Observation, Scores, Spec, Step, Task, Trajectory, Value, new_id

__all__ = ["Recorder", "StoreForm", "TaskForm", "live", "plain"]

_log = logging.getLogger("agentprm.record")


class _Store(Protocol):
    def write(self, event: Event, /) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


StoreForm: TypeAlias = _Store | str | Path | None
"""A store, its URL, or None to record nothing."""
TaskForm: TypeAlias = str | Callable[[Value, Mapping[str, Value]], str | Task] | None
"""The task's text, a function of the first observation and info, or its ``"module:function"``."""
_TASK_KEYS = ("mission", "goal", "instruction")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_LOGIN = re.compile(r"(?<=://)([^:/@]*):[^@]*@")
_SECRET = re.compile(r"(?<=[?&])((?:ssl)?password)=[^&]*")


class Recorder:
    """Settings of a recording, and the one episode that is open; opens its store at the first episode, not before."""

    def __init__(
        self,
        store: StoreForm = None,
        *,
        task: TaskForm = None,
        render: str | Callable[[Value], str] | None = None,
        outcome: str | OutcomeRule | None = None,
        policy: str | None = None,
        durability: str | None = None,
    ) -> None:
        self._form, self._durability, self._policy = store, durability, _named("policy", policy)
        self._task: TaskForm = resolve(task) if isinstance(task, str) and _REFERENCE.fullmatch(task) else task
        self._render: Callable[[Value], str] | None = resolve(render) if isinstance(render, str) else render
        self._outcome = outcome_rule(outcome)
        self._store: _Store | None = None
        self._logged: set[str] = set()
        self.failed = 0
        """How often something that was given failed: `render`, `task`, `outcome`, a reward that is no number."""
        self.episode: Episode | None = None

    @property
    def store(self) -> StoreForm:
        """Where it records, as it was given: an open store, a URL, or None."""
        return self._form

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        """Copy the settings; the open episode stays with the original."""
        new = memo[id(self)] = object.__new__(type(self))
        new.__dict__ = {**self.__dict__, "episode": None, "_store": None}
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Leave the connection and the open episode behind."""
        return {**self.__dict__, "episode": None, "_store": None}

    def begin(self, env: gym.Env[Any, Any], native: Value, info: Mapping[str, Value], seed: int | None) -> Trajectory:
        """Open an episode with its first observation; one that is still open ends as incomplete."""
        self.leave()
        first = self.observe(native)
        words = said(info)
        spec = env.unwrapped.spec  # that of a wrapper is computed anew, and warns where it cannot be
        name = spec.id if spec else type(env.unwrapped).__name__
        trajectory = Trajectory(
            new_id(),
            self._task_of(native, info, name),
            (),
            first,
            env=name,
            policy=self._policy,
            seed=None if seed is None else int(seed),
            meta={"info": words} if words else {},
        )
        store = self._opened()
        self.episode = Episode(trajectory, store.write if store is not None else None)
        return trajectory

    def require_open(self) -> None:
        """Return if a step may be taken; raises ResetNeeded before a reset, InvalidTrajectory after the end."""
        if self.episode is None:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        self.episode.require_open()

    def look(self, action: Value, native: Value, reward: Any, info: Mapping[str, Value]) -> tuple[Step, Observation]:
        """Return the step just taken and what it led to, not recorded yet; raises what `require_open` does."""
        self.require_open()
        assert self.episode is not None
        kept = copied(action)
        decision = Action(kept if type(kept) is str else "", "", (), kept)
        return Step(self.episode.last, decision, self._number(reward), said(info)), self.observe(native)

    def take(
        self,
        step: Step,
        result: Observation,
        terminated: bool,
        truncated: bool,
        *,
        given_reward: float | None = None,
        shaping: Spec | None = None,
        scores: tuple[Scores, ...] = (),
    ) -> None:
        """Record a step, and the ending if the world ended."""
        assert self.episode is not None
        self.episode.step(step, result, given_reward=given_reward, shaping=shaping, scores=scores)
        if terminated or truncated:
            status = "terminated" if terminated else "truncated"
            outcome = self._outcome_of(step.info, step.reward)
            self.episode.end(Ending(status, bool(terminated), bool(truncated), outcome))  # type: ignore[arg-type]

    def observe(self, native: Value) -> Observation:
        """Return an observation as it is now, whatever the environment does with its buffer later."""
        kept = copied(native)
        if self._render is not None:
            return Observation(self._rendered(self._render, native), kept)
        return Observation(kept if type(kept) is str else "", kept)

    def _rendered(self, render: Callable[[Value], str], native: Value) -> str:
        """Return a native value's text; a renderer that fails leaves none, and the agent goes on regardless."""
        try:
            return str(render(native))
        except MissingText:
            raise
        except Exception as error:
            self._fail("no text is recorded, for render failed: %r", error)
            return ""

    def leave(self) -> None:
        """End an open episode as incomplete."""
        if self.episode is not None and self.episode.ending is None:
            self.episode.end(Ending("incomplete"))
        self.episode = None

    def close(self) -> None:
        """Leave the episode; close the store if this recorder opened it, flush it otherwise. May be called twice."""
        self.leave()
        store, self._store = self._store, None
        if store is not None and store is not self._form:
            store.close()
        elif store is not None:
            try:
                store.flush()
            except AgentPRMError as error:
                self._fail("closed before everything was on disk: %s", error)

    def _opened(self) -> _Store | None:
        if self._store is None and self._form is not None:
            if isinstance(self._form, (str, Path)):
                # By name: a recorder knows that there are stores, not how one is made.
                self._store = resolve("agentprm.store.store:Store")(self._form, durability=self._durability)
            else:
                self._store = self._form
        return self._store

    def _task_of(self, native: Value, info: Mapping[str, Value], fallback: str) -> Task:
        given = self._asked(native, info) if callable(self._task) else self._task
        if isinstance(given, Task):
            return given
        if given is None:
            given = info.get("task")
        if given is None and isinstance(native, Mapping):
            given = next((native[key] for key in _TASK_KEYS if key in native), None)
        key = info.get("task_id")
        return Task(fallback if given is None else describe(given), "" if key is None else str(key))

    def _asked(self, native: Value, info: Mapping[str, Value]) -> str | Task | None:
        assert callable(self._task)
        try:
            return self._task(native, info)
        except Exception as error:
            self._fail("the task is taken from the environment, for task failed: %r", error)
            return None

    def _outcome_of(self, info: Mapping[str, Value], reward: float) -> float | None:
        """Return the outcome; one that cannot be read is logged once and left open: the agent goes on regardless."""
        try:
            return outcome_of(info, reward, self._outcome)
        except Exception as error:
            self._fail("no outcome is recorded: %s", error)
            return None

    def _number(self, reward: Any) -> float:
        """Return a reward as a float; one that is none is NaN here, and the agent gets it as it came."""
        try:
            return float(reward.item() if isinstance(reward, np.ndarray) else reward)
        except (TypeError, ValueError, OverflowError) as error:
            self._fail("a reward that is no number is recorded as NaN: %s", error)
            return math.nan

    def _fail(self, message: str, error: Exception) -> None:
        """Count a failure, and log the first of its kind."""
        self.failed += 1
        if message not in self._logged:
            self._logged.add(message)
            _log.warning(message, error)


def _named(what: str, name: str | None) -> str | None:
    """Return a name; raises InvalidSpec for what is none."""
    if name is None or isinstance(name, str):
        return name
    raise InvalidSpec(f"{what} is a text, such as 'ppo@12000', not {name!r}: say {what}={str(name)!r}")


def plain(value: Any) -> Any:
    """Return the plain form in which a wrapper's argument is recorded: JSON, never a live object or a password.

    A store becomes its URL, a scorer its recipe, a function ``"module:function"``; what has no plain form becomes
    ``{"live": "<name>"}``, and remaking the wrapper from it raises a named error.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return _masked(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Spec):
        return value.plain()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(getattr(value, "spec", None), Spec):
        return value.spec.plain()
    if isinstance(getattr(value, "url", None), str) and ":memory:" not in value.url and value.url != "sqlite://":
        return _with_redaction(value.url, getattr(value, "redact", None), value)
    return _reference(value)


def _with_redaction(url: str, redact: Any, store: Any) -> Any:
    """Return the URL of a store that redacts what it stores: whoever opens it again must do so too."""
    if redact is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}redact={redact}" if isinstance(redact, str) else _reference(store)


def live(value: Any) -> Any:
    """Return an argument, refusing what stands in a spec for a live object that had no plain form."""
    if isinstance(value, dict) and set(value) == {"live"}:
        raise InvalidSpec(f"a live {value['live']} was recorded here, which has no plain form: give it anew")
    return value


def _masked(value: Any) -> Any:
    if not isinstance(value, str) or "://" not in value:
        return value
    return _SECRET.sub(r"\1=***", _LOGIN.sub(r"\1:***@", value))


def _reference(value: Any) -> Any:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module and name and module != "__main__":
        try:
            if resolve(f"{module}:{name}") is value:
                return f"{module}:{name}"
        except AgentPRMError:
            pass
    return {"live": name or type(value).__name__}
