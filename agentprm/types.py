"""The nouns: a trajectory and, aligned with it, one number per step. Standard library only.

A trajectory of n steps has n + 1 observations: what was seen before each of the n actions, and what was seen last.
Labels, model scores, shaped rewards and credits are all the same thing beside it: ``Scores``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable
from uuid import UUID

from agentprm.errors import InvalidScores, InvalidSpec, InvalidTrajectory

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = [
    "Action",
    "ActionScorer",
    "Advance",
    "Aggregate",
    "Began",
    "Continue",
    "Ended",
    "Ending",
    "Event",
    "Fork",
    "Image",
    "LiveScorer",
    "Observation",
    "Policy",
    "Propose",
    "Scorer",
    "Scores",
    "Shape",
    "Sight",
    "Sink",
    "Spec",
    "Status",
    "Step",
    "StepRewardModel",
    "Stepped",
    "Task",
    "ToolCall",
    "Trajectory",
    "Unit",
    "Value",
    "new_id",
    "utc_now",
]

Unit: TypeAlias = Literal["value", "correctness", "reward"]
"""*value*: the outcome to expect after the step. *correctness*: chance that it is right. *reward*: what it adds."""

Sight: TypeAlias = Literal["action", "result", "episode"]
"""How far a scorer sees: up to the action, up to the step's own result, or the whole episode."""

Status: TypeAlias = Literal["terminated", "truncated", "completed", "failed", "interrupted", "aborted", "incomplete"]
CallStatus: TypeAlias = Literal["ok", "error", "pending", "rejected"]
Value: TypeAlias = Any
"""Whatever an environment or a tool hands over: JSON values, bytes, NumPy arrays and scalars, nested."""


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


_clock_lock = threading.Lock()
_last_stamp = 0


def new_id() -> UUID:
    """Return a fresh UUIDv7 (RFC 9562): 48 bits of milliseconds, then 12 bits that count on within one, then chance.

    Ids of one process sort by creation, also while the clock stands still or goes backwards.
    """
    global _last_stamp
    with _clock_lock:
        _last_stamp = stamp = max((time.time_ns() // 1_000_000) << 12, _last_stamp + 1)
    chance = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=(stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | chance)


def _same(a: Value, b: Value) -> bool:
    """Equality that also works for arrays (dtype, shape and bytes) and for NaN, which equals itself here."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if hasattr(a, "dtype") and hasattr(a, "tobytes"):
        alike = a.dtype == b.dtype and a.shape == b.shape
        return alike and bool(_same(a.tolist(), b.tolist()) if a.dtype.hasobject else a.tobytes() == b.tobytes())
    try:
        return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
    except Exception:  # a tensor's own == gives no single answer
        return False


def _same_fields(a: Any, b: Any) -> bool:
    return all(_same(getattr(a, name), getattr(b, name)) for name in a.__slots__)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, as encoded bytes; stored once per content."""

    media_type: str
    """For example ``image/png``."""
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a model reads (`text`), and what the world gave (`native`).

    An empty `text` beside a `native` value is derived from it where it is needed; it never replaces it.
    """

    text: str = ""
    native: Value | None = None
    images: tuple[Image, ...] = ()

    def __post_init__(self) -> None:
        if type(self.images) is not tuple:
            object.__setattr__(self, "images", tuple(self.images))

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Observation) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class ToolCall:
    """One call of a tool: what was asked, and what came back."""

    name: str
    arguments: Value = field(default_factory=dict)
    id: str | None = None
    """The caller's own id, as in OpenAI's ``tool_call_id``."""
    output: Value | None = None
    status: CallStatus = "ok"
    """``pending`` until it has ended; ``rejected`` when it was never run: vetoed, or a tool that does not exist."""
    attempts: int = 1
    """How often it was run; 0 when rejected."""

    def __post_init__(self) -> None:
        if self.status not in get_args(CallStatus):
            raise InvalidTrajectory(f"a tool call is one of {get_args(CallStatus)}, not {self.status!r}")

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, ToolCall) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def asked(self) -> ToolCall:
        """Return the call as it was asked, before anything came back."""
        return ToolCall(self.name, self.arguments, self.id, None, "pending")


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """One decision of the agent, however many tools it calls at once."""

    text: str = ""
    plan: str = ""
    """Reasoning, and words said before the calls."""
    tool_calls: tuple[ToolCall, ...] = ()
    native: Value | None = None
    """What was handed to ``env.step``, where that is not the text itself."""

    def __post_init__(self) -> None:
        if type(self.tool_calls) is not tuple:
            object.__setattr__(self, "tool_calls", tuple(self.tool_calls))

    @property
    def kind(self) -> Literal["tool", "plan", "message", "env"]:
        """What the decision was: calls tools, acts in an environment, speaks, or only plans."""
        if self.tool_calls:
            return "tool"
        if self.native is not None:
            return "env"
        return "message" if self.text or not self.plan else "plan"

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Action) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What it saw, what it did, what the world paid for it."""

    observation: Observation
    action: Action
    reward: float = 0.0
    """As the world gave it, whatever a learner was paid."""
    info: Mapping[str, Value] = field(default_factory=dict)
    """What the world said beside the reward."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Step):
            return NotImplemented
        return (
            self.observation == other.observation
            and self.action == other.action
            and _same(float(self.reward), float(other.reward))
            and _same(dict(self.info), dict(other.info))
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an episode ended. Without one it is running, or was killed."""

    status: Status
    terminated: bool = False
    truncated: bool = False
    outcome: float | None = None
    """How well it went, in [0, 1]; None when nobody said."""
    ended_at: datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise InvalidTrajectory(f"an ending is one of {get_args(Status)}, not {self.status!r}")
        if self.outcome is not None and not 0.0 <= self.outcome <= 1.0:
            raise InvalidTrajectory(f"an outcome lies in [0, 1], not at {self.outcome!r}: scale it, or give None")
        _require_utc("ended_at", self.ended_at)


@dataclass(frozen=True, slots=True)
class Task:
    """What the agent was asked to do, under a key that groups its episodes."""

    text: str
    key: str = ""
    """The environment's own id of the task; the hash of the text where it has none."""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", hashlib.blake2b(_utf8(self.text), digest_size=8).hexdigest())


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """Where a trajectory came from: step `index` of another one.

    Either it was rolled out again from there, with an `intervention`, or the tool call `call` of that step started it
    (an agent inside an agent).
    """

    trajectory_id: UUID
    index: int
    call: str | None = None
    intervention: Mapping[str, Value] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Fork) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """The recipe of a scorer: a registered name and JSON parameters, which may hold further specs.

    >>> Spec("constant", {"value": 0.5}).digest == Spec("constant", {"value": 0.5}).digest
    True
    """

    name: str
    params: Mapping[str, Value] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the one canonical JSON text of this recipe; raises InvalidSpec for what is not JSON."""
        return _canonical(self.plain(), ascii_only=False)

    def plain(self) -> dict[str, Any]:
        """Return the recipe as dicts, lists and scalars: ``{"name": ..., "params": {...}}``."""
        return {"name": self.name, "params": {k: _plain(v) for k, v in self.params.items()}}

    @property
    def digest(self) -> str:
        """128 bits, in hex, that name this version of the scorer.

        A ``folder`` says where weights lie, not which they are: it is left out, at any depth.
        """
        text = _canonical(_without_folders(self.plain()), ascii_only=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Spec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)


def _canonical(plain: dict[str, Any], *, ascii_only: bool) -> str:
    try:
        return json.dumps(plain, sort_keys=True, allow_nan=False, separators=(",", ":"), ensure_ascii=ascii_only)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"the recipe of {plain['name']} is not JSON: {error}") from error


def _plain(value: Value) -> Value:
    if isinstance(value, Spec):
        return value.plain()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _without_folders(value: Value) -> Value:
    if isinstance(value, dict):
        return {k: _without_folders(v) for k, v in value.items() if k != "folder"}
    return [_without_folders(v) for v in value] if isinstance(value, list) else value


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _require_utc(name: str, moment: datetime) -> None:
    if moment.utcoffset() is None:
        raise InvalidTrajectory(f"{name} has no time zone: {moment!r}; say datetime.now(UTC)")


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """One episode: n steps, n + 1 observations, perhaps an ending."""

    id: UUID
    task: Task
    steps: tuple[Step, ...]
    last: Observation
    """What was seen after the last step; the first observation when there is no step yet."""
    ending: Ending | None = None
    external_id: str | None = None
    """Somebody else's id of it, for example a LangChain root run."""
    env: str | None = None
    policy: str | None = None
    """Who acted, with its version if it has one: ``"ppo@12000"``."""
    seed: int | None = None
    group: str | None = None
    """Episodes compared with each other, as in GRPO."""
    parent: Fork | None = None
    started_at: datetime = field(default_factory=utc_now)
    meta: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, UUID):
            raise InvalidTrajectory(f"id is a UUID, not {self.id!r}: say new_id(), and keep others as external_id")
        if not isinstance(self.task, Task):
            raise InvalidTrajectory(f"task is a Task, not {type(self.task).__name__}: say Task({self.task!r})")
        object.__setattr__(self, "steps", tuple(self.steps))
        for step in self.steps:
            _require_step(step)
        _require_observation(self.last)
        _require_utc("started_at", self.started_at)

    def __len__(self) -> int:
        return len(self.steps)

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Trajectory) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All n + 1 of them, in order."""
        return (*(step.observation for step in self.steps), self.last)

    @property
    def outcome(self) -> float | None:
        """How well it ended, in [0, 1]; None while it runs or when nobody said."""
        return self.ending.outcome if self.ending else None

    def append(self, step: Step, result: Observation) -> Trajectory:
        """Return this trajectory one step on; checks only the new step and shares the earlier ones.

        Raises InvalidTrajectory after an ending.
        """
        if self.ending is not None:
            raise InvalidTrajectory(f"trajectory {self.id} ended ({self.ending.status}): no step can follow")
        _require_step(step)
        _require_observation(result)
        return self._with(steps=(*self.steps, step), last=result)

    def end(self, ending: Ending) -> Trajectory:
        """Return this trajectory ended; raises InvalidTrajectory when it has an ending already."""
        if self.ending is not None:
            raise InvalidTrajectory(f"trajectory {self.id} ended already: {self.ending.status}, now {ending.status}")
        return self._with(ending=ending)

    def seen(self, t: int, sight: Sight) -> Trajectory:
        """Return what one who sees that far knew of it at step `t`; a live scorer gets exactly this.

        *action*: observations 0 to t and actions 0 to t, the tool calls of t without what came back, rewards before t.
        *result*: also observation t + 1, the tool outputs, reward and flags of t. *episode*: everything. Neither live
        sight holds the outcome, the time of the ending, nor what the world said (`info`) after step t. Raises
        IndexError for no such step.
        """
        if not 0 <= t < len(self.steps):
            raise IndexError(f"step {t} of a trajectory of {len(self.steps)} steps")
        if sight == "episode":
            return self
        step = self.steps[t]
        if sight == "action":
            calls = tuple(call.asked() for call in step.action.tool_calls)
            action = replace(step.action, tool_calls=calls) if calls else step.action
            bare = Step(step.observation, action)
            return self._with(steps=(*self.steps[:t], bare), last=Observation(), ending=None)
        is_last = t + 1 == len(self.steps)
        last = self.last if is_last else self.steps[t + 1].observation
        bare = Step(step.observation, step.action, step.reward)
        return self._with(steps=(*self.steps[:t], bare), last=last, ending=self._flags() if is_last else None)

    def _flags(self) -> Ending | None:
        if self.ending is None or not (self.ending.terminated or self.ending.truncated):
            return None
        status: Status = "terminated" if self.ending.terminated else "truncated"
        return Ending(status, self.ending.terminated, self.ending.truncated, None, self.started_at)

    def _with(self, **changes: Any) -> Trajectory:
        """Copy without checking the earlier steps again."""
        new = object.__new__(Trajectory)
        for name in self.__slots__:
            object.__setattr__(new, name, changes[name] if name in changes else getattr(self, name))
        return new


def _require_step(step: Step) -> None:
    if not isinstance(step, Step):
        raise InvalidTrajectory(f"steps are Step objects, not {type(step).__name__}")
    _require_observation(step.observation)
    if not isinstance(step.action, Action):
        raise InvalidTrajectory(
            f"an action is an Action, not {type(step.action).__name__}: say Action({step.action!r})"
        )
    if isinstance(step.reward, bool) or not isinstance(step.reward, (int, float)):
        raise InvalidTrajectory(f"a reward is a float, not {type(step.reward).__name__} {step.reward!r}")


def _require_observation(seen: Observation) -> None:
    if not isinstance(seen, Observation):
        raise InvalidTrajectory(
            f"what was seen is an Observation, not {type(seen).__name__}: say Observation(text) or "
            "Observation(native=value)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One number per step, by a named source: a label, a model's score, a shaped reward, a credit."""

    trajectory_id: UUID
    source: Spec
    unit: Unit
    values: tuple[float | None, ...]
    """Of steps ``start`` to ``start + len(values) - 1``; None where the source has no opinion."""
    start: int = 0
    parts: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Further series of the same length, such as ``spread`` or ``rollouts``."""
    notes: tuple[str | None, ...] = ()
    """A rationale per step; empty when there is none."""
    sees: Sight = "episode"
    """How far the source looked."""

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise InvalidScores(f"a unit is one of {get_args(Unit)}, not {self.unit!r}")
        if self.sees not in get_args(Sight):
            raise InvalidScores(f"a sight is one of {get_args(Sight)}, not {self.sees!r}")
        if not isinstance(self.source, Spec):
            raise InvalidScores(f"a source is a Spec, not {self.source!r}: say Spec(name, params)")
        object.__setattr__(self, "start", index(self.start))
        if self.start < 0:
            raise InvalidScores(f"scores start at step 0 or later, not at {self.start}")
        if "score" in self.parts:
            raise InvalidScores("a part called 'score' would be the values themselves: choose another name")
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "values", self._numbers("values", self.values))
        object.__setattr__(self, "parts", {k: self._numbers(k, v) for k, v in self.parts.items()})
        object.__setattr__(self, "notes", tuple(self.notes))
        if len(self.notes) not in (0, len(self.values)):
            raise InvalidScores(f"{len(self.notes)} notes for {len(self.values)} values: give one each, or none")

    def _numbers(self, name: str, values: Iterable[float | None]) -> tuple[float | None, ...]:
        numbers = tuple(None if v is None else float(v) for v in values)
        if len(numbers) != len(self.values):
            raise InvalidScores(f"part {name!r} has {len(numbers)} numbers, values has {len(self.values)}")
        for i, v in enumerate(numbers):
            if v is not None and not math.isfinite(v):
                raise InvalidScores(f"{name}[{i}] of {self.source.name} is {v}: no opinion is None, never NaN or inf")
        return numbers

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Scores) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


@runtime_checkable
class Scorer(Protocol):
    """Anything that gives each step of a trajectory a number.

    Called with trajectories, it returns one `Scores` each, in order, covering every step. A step it cannot judge is
    None; a scorer whose server or model failed raises.
    """

    @property
    def sees(self) -> Sight:
        """How far it looks; what lies beyond changes nothing in what it says."""

    @property
    def unit(self) -> Unit:
        """What its numbers mean."""

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the scores of each trajectory, in order."""


@runtime_checkable
class LiveScorer(Scorer, Protocol):
    """A scorer that may pay a reward while the episode goes on."""

    @property
    def sees(self) -> Literal["action", "result"]:
        """No further than the step's own result."""


@runtime_checkable
class ActionScorer(LiveScorer, Protocol):
    """A scorer that may choose among actions not yet taken."""

    @property
    def sees(self) -> Literal["action"]:
        """No further than the action."""


@runtime_checkable
class StepRewardModel(LiveScorer, Protocol):
    """A live scorer that can be trained."""

    def loss(self, batch: Sequence[tuple[Trajectory, Scores]], /) -> Tensor:
        """Return the scalar training loss over the labelled steps of a batch."""

    def parameters(self) -> Iterable[Parameter]:
        """What an optimiser moves."""

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and configuration (JSON); ``load_scorer(folder)`` reads them back."""


@dataclass(frozen=True, slots=True, eq=False)
class Began:
    """Recording event: an episode has its first observation (``trajectory.last``) and no step yet."""

    trajectory: Trajectory


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """Recording event: step `index` was taken and led to `result`."""

    trajectory_id: UUID
    index: int
    step: Step
    result: Observation
    given_reward: float | None = None
    """What the learner was paid; None when nothing stood between it and the world."""
    shaping: Spec | None = None
    """The recipe that turned the score into that payment."""
    scores: tuple[Scores, ...] = ()
    """Live scores of this step: one value each, ``start == index``."""


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """Recording event: no step will follow."""

    trajectory_id: UUID
    ending: Ending


Event: TypeAlias = Began | Stepped | Ended
Sink: TypeAlias = Callable[[Event], None]
"""Where events go: ``store.write``, ``events.append``, a live view."""


class Policy(Protocol):
    """Chooses the next action of a running episode."""

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], /) -> Value:
        """Return the action for ``env.step``, given what happened so far and the last info."""


class Propose(Protocol):
    """Offers candidates for the next action."""

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], n: int, /) -> Sequence[Action]:
        """Return up to `n` candidate actions, likeliest first or drawn at random; repeats are allowed."""


class Advance(Protocol):
    """Takes an action in a copy of the world: what a search needs of an environment."""

    def __call__(self, trajectory: Trajectory, action: Action, /) -> Trajectory:
        """Return the trajectory one step on, ended if the world ended."""


class Continue(Protocol):
    """Plays an episode on from the middle: what Monte-Carlo labels need of an environment and a policy."""

    def __call__(self, trajectory: Trajectory, t: int, n: int, /) -> Sequence[Trajectory]:
        """Return `n` fresh completions of the first t + 1 steps, each an ended trajectory with an outcome."""


class Aggregate(Protocol):
    """Turns the scores of one trajectory into one number."""

    def __call__(self, values: Sequence[float | None], /) -> float | None:
        """Return the number; None when no step has one."""


class Shape(Protocol):
    """Turns a score into what the learner is paid."""

    def __call__(
        self, reward: float, potential: float | None, previous: float, *, gamma: float, weight: float, terminated: bool
    ) -> float:
        """Return the payment for one step; see `agentprm.ops.shape`."""
