"""One episode, with where it came from and how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

from agentprm.errors import InvalidTrajectory
from agentprm.types._basics import Sight, Status, Value, require_utc, same_fields, utc_now, utf8
from agentprm.types._step import Observation, Step, require_observation, require_step

__all__ = ["Ending", "Fork", "Task", "Trajectory"]


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
        require_utc("ended_at", self.ended_at)


@dataclass(frozen=True, slots=True)
class Task:
    """What the agent was asked to do, under a key that groups its episodes."""

    text: str
    key: str = ""
    """The environment's own id of the task; the hash of the text where it has none."""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", hashlib.blake2b(utf8(self.text), digest_size=8).hexdigest())


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
        return same_fields(self, other) if isinstance(other, Fork) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


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
            require_step(step)
        require_observation(self.last)
        require_utc("started_at", self.started_at)

    def __len__(self) -> int:
        return len(self.steps)

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Trajectory) else NotImplemented

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
        require_step(step)
        require_observation(result)
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
