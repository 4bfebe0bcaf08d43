"""Recording a loop of your own: say what was seen, planned, called and done, as it happens."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from agentprm.errors import InvalidTrajectory
from agentprm.record.episode import Episode
from agentprm.record.recorder import StoreForm
from agentprm.spec import resolve
from agentprm.text.describe import describe
from agentprm.types import (
    Action,
    Ending,
    Fork,
    Image,
    Observation,
    Sink,
    Status,
    Step,
    Task,
    ToolCall,
    Trajectory,
    Value,
    new_id,
)

__all__ = ["ManualEpisode", "current", "episode"]

current: ContextVar[ManualEpisode | None] = ContextVar("agentprm_episode", default=None)
"""The episode whose block is being run, here and in the tasks that it starts."""


@contextmanager
def episode(
    task: str | Task,
    store: StoreForm = None,
    *,
    policy: str | None = None,
    env: str | None = None,
    seed: int | None = None,
    group: str | None = None,
    external_id: str | None = None,
    parent: Fork | None = None,
    meta: Mapping[str, Value] | None = None,
) -> Iterator[ManualEpisode]:
    """Record one episode of a loop of your own into a store or its URL.

    A turn is one decision: a plan, tool calls, an act. It ends with the next `observe`, the next `plan`, another `act`,
    or the episode. Leaving the block ends the episode: ``completed``, ``failed`` by an exception, ``aborted`` by an
    interruption. The exception goes on its way.

    >>> with episode("add 2 and 3") as ep:
    ...     ep.observe("2 and 3")
    ...     ep.tool("add", {"a": 2, "b": 3}, output=5)
    ...     ep.act("The sum is 5.", reward=1.0)
    ...     ep.end(outcome=1.0)
    >>> [step.action.kind for step in ep.trajectory.steps], ep.trajectory.outcome
    (['tool'], 1.0)
    """
    opened: Any = store
    if isinstance(store, (str, Path)):
        # By name: a recorder knows that there are stores, not how one is made.
        opened = resolve("agentprm.store.store:Store")(store)
    begun = Trajectory(
        new_id(), task if isinstance(task, Task) else Task(describe(task)), (), Observation(), None, external_id, env,
        policy, seed, group, parent, meta=dict(meta or {}),
    )  # fmt: skip
    ep = ManualEpisode(begun, opened.write if opened is not None else None)
    token = current.set(ep)
    try:
        yield ep
    except BaseException as error:
        is_abort = isinstance(error, (KeyboardInterrupt, GeneratorExit, CancelledError))
        ep.leave("aborted" if is_abort else "failed")
        raise
    else:
        ep.leave("completed")
    finally:
        current.reset(token)
        if opened is not None and opened is not store:
            opened.close()


class ManualEpisode:
    """An episode in the hands of whoever runs the loop; made by `episode`. Tools may report from several threads."""

    def __init__(self, begun: Trajectory, sink: Sink | None) -> None:
        self._begun, self._sink = begun, sink
        self._episode: Episode | None = None
        self._turn: _Turn | None = None
        self._first = Observation()
        self._lock = threading.RLock()

    @property
    def id(self) -> Any:
        """The trajectory's id."""
        return self._begun.id

    @property
    def trajectory(self) -> Trajectory:
        """The episode so far, without the turn that is still open."""
        return self._episode.trajectory if self._episode else self._begun._with(last=self._first)

    def observe(self, text: Value = "", native: Value | None = None, images: tuple[Image, ...] = ()) -> None:
        """Say what was seen, in words or as a value; it closes the open turn, whose result it is."""
        seen = Observation(*_told(text, native), images)
        with self._lock:
            self._require_open()
            if self._turn is not None:
                self._close(seen)
            elif self._episode is None:
                self._first = seen
            else:
                raise InvalidTrajectory("two observations in a row after a step: act or plan in between, or join them")

    def plan(self, text: str) -> None:
        """Say what is intended; it opens a turn, closing one that has acted already."""
        with self._lock:
            turn = self._open_turn(fresh=self._turn is not None and self._turn.has_acted)
            turn.plan = "\n".join(filter(None, (turn.plan, describe(text))))

    def tool(
        self,
        name: str,
        arguments: Mapping[str, Value],
        output: Value | None = None,
        *,
        status: str = "ok",
        id: str | None = None,
        attempts: int = 1,
    ) -> None:
        """Say that a tool was called and what came back; calls of one turn are parallel calls."""
        call = ToolCall(name, dict(arguments), id, output, status, attempts)  # type: ignore[arg-type]
        with self._lock:
            self._open_turn().calls.append(call)

    def act(
        self,
        text: Value = "",
        native: Value | None = None,
        *,
        reward: float = 0.0,
        info: Mapping[str, Value] | None = None,
    ) -> None:
        """Say what was done or answered, and what the world paid; a second act opens a turn of its own."""
        with self._lock:
            paid = _number(reward)
            turn = self._open_turn(fresh=self._turn is not None and self._turn.acted)
            turn.text, turn.native = _told(text, native)
            turn.acted = True
            turn.reward, turn.info = paid, dict(info or {})

    def end(self, outcome: float | None = None, status: Status = "completed") -> None:
        """Say how it went, in [0, 1], and end the episode."""
        ending = Ending(status, outcome=outcome)
        with self._lock:
            self._require_open()
            self._started().end(ending) if self._turn is None else self._finish(ending)

    def leave(self, status: Status) -> None:
        """End the episode if it has not ended."""
        with self._lock:
            if self._episode is None or self._episode.ending is None:
                self._finish(Ending(status))

    def _finish(self, ending: Ending) -> None:
        if self._turn is not None:
            self._close(Observation())
        self._started().end(ending)

    def _started(self) -> Episode:
        if self._episode is None:
            self._episode = Episode(self._begun._with(last=self._first), self._sink)
        return self._episode

    def _open_turn(self, *, fresh: bool = False) -> _Turn:
        self._require_open()
        self._started()
        if fresh:
            self._close(Observation())
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _close(self, result: Observation) -> None:
        turn, self._turn = self._turn, None
        assert turn is not None
        going = self._started()
        going.step(turn.step(going.last), result)

    def _require_open(self) -> None:
        if self._episode is not None:
            self._episode.require_open("more")


def _told(text: Any, native: Value | None) -> tuple[str, Value | None]:
    """Return text and native value; what was given as text and is none is the native value."""
    return (text, native) if isinstance(text, str) else ("", text if native is None else native)


def _number(reward: Any) -> float:
    try:
        return float(reward)
    except (TypeError, ValueError, OverflowError):
        raise InvalidTrajectory(f"a reward is a number, not {reward!r}") from None


class _Turn:
    """A decision in the making."""

    def __init__(self) -> None:
        self.plan, self.text, self.acted, self.reward = "", "", False, 0.0
        self.native: Value | None = None
        self.info: dict[str, Value] = {}
        self.calls: list[ToolCall] = []

    @property
    def has_acted(self) -> bool:
        return self.acted or bool(self.calls)

    def step(self, observation: Observation) -> Step:
        action = Action(self.text, self.plan, tuple(self.calls), self.native)
        return Step(observation, action, self.reward, self.info)
