"""What is open of one trajectory: turns whose calls still run, in the order in which they were taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agentprm.record._langchain_choice import scores_of
from agentprm.record._langchain_messages import Said
from agentprm.record._langchain_prompt import PROMPT
from agentprm.types import (
    Action,
    Began,
    CallStatus,
    Ended,
    Ending,
    Event,
    Observation,
    Scores,
    Step,
    Stepped,
    ToolCall,
    Trajectory,
    Value,
)

__all__ = ["Call", "Episode", "Turn"]


@dataclass(slots=True, eq=False)
class Call:
    """One tool call while it runs: `asked` once, run `asked.attempts` times so far."""

    asked: ToolCall
    index: int
    """Of its turn."""
    node: object = None
    """Where it runs."""
    is_done: bool = False
    """No further attempt will follow."""

    def update(self, status: CallStatus, output: Value, *, attempts: int) -> None:
        """Remember what came back."""
        asked = self.asked
        self.asked = ToolCall(asked.name, asked.arguments, asked.id, output, status, attempts)

    @property
    def has_ended(self) -> bool:
        """Whether its last attempt came back."""
        return self.asked.status != "pending"


@dataclass(slots=True, eq=False)
class Turn:
    """One decision, until all of its calls are done."""

    index: int
    observation: Observation
    said: Said
    calls: list[Call]
    info: Mapping[str, Value] = field(default_factory=dict)
    is_stated: bool = True
    """False where only its calls are seen, one after the other: nobody said how many there will be."""
    was_judged: bool = False
    is_waiting: bool = False
    """For its score."""
    scores: tuple[Scores, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether every call of it has ended."""
        return all(call.is_done for call in self.calls)

    def step(self) -> Step:
        """Return what is known of it by now."""
        calls = tuple(call.asked for call in self.calls)
        return Step(self.observation, Action(self.said.text, self.said.plan, calls), info=self.info)


class Episode:
    """One trajectory while it is recorded. Its steps go out in order, each once."""

    def __init__(self, began: Trajectory, emit: Callable[[Event], Any], *, keep: bool, agent: str | None) -> None:
        self.id, self.task, self.thread, self.agent = began.id, began.task, began.meta.get("thread_id"), agent
        self.holds_nodes = False
        """Whether it is a graph itself, not a chain around one."""
        self.was_interrupted = False
        self.is_over = False
        self.n_turns = 0
        self._began, self._is_begun, self._keep, self._emit = began, False, keep, emit
        self._open: list[Turn] = []
        self._ending: Ending | None = None
        self._history: Trajectory | None = None

    @property
    def prompt(self) -> Mapping[str, Value]:
        """What its model was told before the conversation, as far as that is known."""
        return {name: self._began.meta[name] for name in PROMPT if name in self._began.meta}

    def begin(self, prompt: Mapping[str, Value] | None = None) -> None:
        """Say that it began, once: when its model is asked, so that the prompt is known, or something was done."""
        if not self._is_begun:
            self._is_begun = True
            self._began = replace(self._began, meta={**(prompt or {}), **self._began.meta})
            self._history = self._began if self._keep else None
            self._emit(Began(self._began))

    @property
    def is_begun(self) -> bool:
        """Whether that was said."""
        return self._is_begun

    def take(self, said: Said, info: Mapping[str, Value], *, is_stated: bool = True) -> Turn:
        """Begin a turn."""
        self.begin()
        first = self._began.last if self.n_turns == 0 else Observation()
        turn = Turn(self.n_turns, first, said, [], info, is_stated)
        turn.calls = [Call(call, turn.index, is_done=call.status == "rejected") for call in said.calls]
        turn.scores = tuple(scores_of(said.choices, self.id, turn.index))
        self._open.append(turn)
        self.n_turns += 1
        return turn

    def revise(self, said: Said) -> None:
        """Replace a decision that someone changed before any of its calls ran."""
        for turn in self._open:
            if turn.said.key == said.key and not any(call.asked.attempts for call in turn.calls):
                turn.said = said
                turn.calls = [Call(call, turn.index) for call in said.calls]

    def add_call(self, asked: ToolCall) -> Call:
        """Take in a call that no message of this run asked for, as after an interrupt."""
        growing = (turn for turn in self._open if not turn.is_stated and not turn.is_done)
        turn = next(growing, None) or self.take(Said(), {}, is_stated=False)
        turn.calls.append(Call(asked, turn.index))
        return turn.calls[-1]

    def calls(self) -> Iterator[Call]:
        """Yield the calls not done, those of the latest turn first."""
        for turn in reversed(self._open):
            yield from (call for call in turn.calls if not call.is_done)

    def find(self, name: str, arguments: Value, call_id: str | None, node: object) -> Call | None:
        """Return the open call that a tool run carries out: its next attempt in the same node, else its first."""
        asked = [c for c in self.calls() if (c.asked.name == name if call_id is None else c.asked.id == call_id)]
        fitting = [call for call in asked if call.asked.arguments == arguments] or asked
        repeated = (call for call in fitting if call.node is node and call.asked.attempts)
        fresh = (call for call in fitting if not call.asked.attempts)
        return next(repeated, None) or next(fresh, None) or next(iter(fitting), None)

    def finish_calls(self, node: object, *, only_ended: bool) -> None:
        """No further attempt will follow for the calls that ran in this node."""
        for call in self.calls():
            if call.node is node and call.asked.attempts and (call.has_ended or not only_ended):
                call.is_done = True

    def end(self, ending: Ending) -> None:
        """No further turn will follow; what is still open goes out as it is."""
        self._ending = self._ending or ending

    @property
    def has_unanswered_calls(self) -> bool:
        """Whether some call of an open turn never ran."""
        return any(not call.asked.attempts for call in self.calls())

    def due(self, sees: Literal["action", "result"]) -> list[tuple[Turn, Trajectory]]:
        """Return the turns to be judged now, each with what such a judge sees; they wait until it has spoken."""
        due = [turn for turn in self._open if not turn.was_judged and self._is_due(turn, sees)]
        for turn in due:
            turn.was_judged = turn.is_waiting = True
        return [(turn, self._seen(turn, sees)) for turn in due]

    def _is_due(self, turn: Turn, sees: Literal["action", "result"]) -> bool:
        if sees == "action" and turn.is_stated:
            return True
        has_ended = all(call.has_ended for call in turn.calls)
        return turn.is_done or (self._ending is not None and (has_ended or sees == "action"))

    def _seen(self, turn: Turn, sees: Literal["action", "result"]) -> Trajectory:
        assert self._history is not None, "only a judged episode is asked what is due"
        return _grown(self._history, [t.step() for t in self._open]).seen(turn.index, sees)

    def send(self) -> None:
        """Hand on the turns that are complete, in order, and then the ending."""
        while self._open and self._is_ready(self._open[0]):
            turn = self._open.pop(0)
            step = turn.step()
            self._emit(Stepped(self.id, turn.index, step, Observation(), scores=turn.scores))
            if self._history is not None:
                self._history = _grown(self._history, [step])
        if self._ending is not None and not self._open and not self.is_over:
            self.begin()
            self.is_over = True
            self._emit(Ended(self.id, self._ending))

    def _is_ready(self, turn: Turn) -> bool:
        return (turn.is_done or self._ending is not None) and not turn.is_waiting


def _grown(trajectory: Trajectory, steps: Sequence[Step]) -> Trajectory:
    for step in steps:
        trajectory = trajectory.append(step, Observation())
    return trajectory
