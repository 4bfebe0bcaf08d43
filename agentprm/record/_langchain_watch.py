"""All runs that are open now, and what each event of LangChain's does to them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol
from uuid import UUID

from langchain_core.outputs import LLMResult

from agentprm.record._langchain_failures import Failures
from agentprm.record._langchain_messages import first_answer, said
from agentprm.record._langchain_opening import Openings
from agentprm.record._langchain_runs import Node, Run
from agentprm.record._langchain_tree import Tree, status_of
from agentprm.record._langchain_values import snapshot
from agentprm.text.describe import call_text
from agentprm.types import Ending, Event, Scores, Sink, Status, ToolCall, Trajectory

__all__ = ["Judge", "Watch"]

_MOST_CUT_OFF = 4096
_MOST_ANNOUNCED = 1024
_LONGEST_SILENCE = 600.0
"""Seconds; a root that has done nothing for so long, behind so many others, is given up."""


class Judge(Protocol):
    """Scores a turn as soon as it may be seen."""

    @property
    def sees(self) -> Literal["action", "result"]:
        """How far it looks."""

    def __call__(self, trajectory: Trajectory, /) -> Scores:
        """Return the score of the last step."""


class Watch:
    """Any number of root runs, each behind a lock of its own; judges are asked outside of the locks."""

    def __init__(
        self,
        sink: Sink,
        failures: Failures,
        *,
        task: str | Callable[[Any], str] | None,
        outcome: Callable[[Any], float | None] | None,
        judge: Judge | None,
    ) -> None:
        self._sink, self._failures, self._outcome, self._judge = sink, failures, outcome, judge
        self._openings = Openings(task, failures)
        self._lock = threading.Lock()
        self._runs: dict[UUID, Run] = {}
        self._announced: OrderedDict[UUID, Run] = OrderedDict()
        """Roots that have done nothing yet: one that is cancelled while its start is told never ends."""
        self._cut_off: OrderedDict[UUID, None] = OrderedDict()
        """Ended roots and what was open below them: what still starts there is late, and no root."""

    @property
    def n_open(self) -> int:
        """How many runs are open."""
        with self._lock:
            return len(self._runs)

    def enter(self, run_id: UUID, parent_id: UUID | None, about: Mapping[str, Any]) -> Run | None:
        """Open a run; None for one that is known already, or too late."""
        metadata = about.get("metadata") or {}
        parent = self._find(parent_id) if parent_id else None
        with self._lock:
            if run_id in self._runs or run_id in self._announced or run_id in self._cut_off:
                return None
            if parent_id in self._cut_off:
                self._forget(run_id)
                return None
            if parent is not None and parent.id not in self._runs:
                parent = None  # it ended a moment ago, and its root goes on
            run = Run(
                run_id,
                parent.tree if parent else Tree(self._emit, keep=self._judge is not None),
                parent,
                metadata.get("langgraph_checkpoint_ns"),
                metadata.get("lc_agent_name"),
                metadata.get("ls_model_name"),
            )
            self._register(run)
            return run

    def _register(self, run: Run) -> None:
        if run.parent is not None:
            self._runs[run.id] = run
            run.tree.open_runs.add(run.id)
            return
        self._announced[run.id] = run
        while len(self._announced) > _MOST_ANNOUNCED:
            oldest = next(iter(self._announced.values()))
            if run.started - oldest.started < _LONGEST_SILENCE:
                break
            del self._announced[oldest.id]

    def leave(self, run_id: UUID) -> None:
        """Close a run that was no more than a frame."""
        if (run := self._find(run_id)) is not None:
            self._close(run)

    def _find(self, run_id: UUID) -> Run | None:
        """Return an open run; a root that was only announced begins now."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None and (run := self._announced.pop(run_id, None)) is not None:
                self._runs[run_id] = run
        if run is not None and run.parent is None:
            with run.tree.lock:
                run.tree.awaken(run)
        return run

    def _close(self, run: Run) -> None:
        """Forget a run; with a root, all that is still open below it."""
        with self._lock:
            self._runs.pop(run.id, None)
            run.tree.open_runs.discard(run.id)
            if run.parent is None:
                for late in (run.id, *run.tree.open_runs):
                    self._runs.pop(late, None)
                    self._forget(late)

    def _forget(self, run_id: UUID) -> None:
        self._cut_off[run_id] = None
        while len(self._cut_off) > _MOST_CUT_OFF:
            self._cut_off.popitem(last=False)

    def _emit(self, event: Event) -> None:
        self._failures.attempt("record", self._sink, event)

    def start_chain(self, run_id: UUID, parent_id: UUID | None, inputs: Any, about: Mapping[str, Any]) -> None:
        """A chain begins: a root, a node, perhaps an agent inside of another."""
        run = self.enter(run_id, parent_id, about)
        if run is None:
            return
        if run.parent is None:
            run.opening = self._openings.root(run_id, inputs, about)
        elif run.starts_node:
            node = Node.of(about.get("name") or "", inputs)
            with run.tree.lock:
                run.tree.start_node(run, node)
        elif run.may_be_agent:
            run.opening = self._openings.inner(run_id, inputs, about)

    def end_chain(self, run_id: UUID, outputs: Any) -> None:
        """A chain is through."""
        self._end(run_id, "completed", lambda run: run.tree.end_node(run, outputs), outputs)

    def fail(self, run_id: UUID, error: BaseException) -> None:
        """A chain or a model raised, or was told to stop."""
        self._end(run_id, status_of(error), lambda run: run.tree.fail(run, error))

    def start_model(self, run_id: UUID, parent_id: UUID | None, messages: Any, about: Mapping[str, Any]) -> None:
        """A model is asked."""
        run = self.enter(run_id, parent_id, about)
        if run is not None and run.parent is None:
            run.opening = self._openings.root(run_id, messages[0] if messages else None, about)

    def end_model(self, run_id: UUID, response: LLMResult) -> None:
        """A model has answered."""
        given = self._failures.attempt("event", first_answer, response) or ""
        self._end(run_id, "completed", lambda run: run.tree.end_model(run, said(given)), given)

    def start_tool(
        self,
        run_id: UUID,
        parent_id: UUID | None,
        serialized: Mapping[str, Any] | None,
        words: str,
        about: Mapping[str, Any],
    ) -> None:
        """A tool runs."""
        run = self.enter(run_id, parent_id, about)
        if run is None:
            return
        name = (serialized or {}).get("name") or about.get("name") or ""
        inputs = about.get("inputs")
        arguments = words if inputs is None else snapshot(inputs)
        asked = ToolCall(name, arguments, about.get("tool_call_id"), None, "pending", 0)
        if run.parent is None:
            run.opening, run.asked = self._openings.tool(run_id, call_text(asked), about), asked
            return
        with run.tree.lock:
            run.tree.start_tool(run, asked)

    def end_tool(self, run_id: UUID, result: Any) -> None:
        """A tool came back."""
        self._end(run_id, "completed", lambda run: run.tree.end_tool(run, result), result)

    def fail_tool(self, run_id: UUID, error: BaseException) -> None:
        """A tool raised."""
        self._end(run_id, status_of(error), lambda run: run.tree.fail_tool(run, error))

    def _end(self, run_id: UUID, status: Status, take_in: Callable[[Run], None], outputs: Any = None) -> None:
        """Close a run, whatever goes wrong while its result is taken in."""
        run = self._find(run_id)
        if run is None:
            return
        try:
            with run.tree.lock:
                self._failures.attempt("event", take_in, run)
                status = run.tree.final(run, status)
            outcome = self._outcome_of(outputs) if run.parent is None and status == "completed" else None
            with run.tree.lock:
                run.tree.end(run, status, outcome)
            self._settle(run.tree)
            if run.parent is None and run.episode is not None and status == "interrupted":
                self._openings.wait(run.episode.task, run.episode.thread)
        finally:
            self._close(run)

    def _outcome_of(self, outputs: Any) -> float | None:
        return None if self._outcome is None else self._failures.attempt("outcome", _checked, self._outcome, outputs)

    def _settle(self, tree: Tree) -> None:
        """Hand on what is complete; first let the judge see what has become visible, without holding the lock."""
        judge = self._judge
        with tree.lock:
            due = [] if judge is None else tree.due(judge.sees)
            if judge is None or not due:
                tree.send()
                return
        for turn, seen in due:
            try:
                scores = self._failures.attempt("score", judge, seen)
                turn.scores = () if scores is None else (scores,)
            finally:
                turn.is_waiting = False
        with tree.lock:
            tree.send()


def _checked(outcome: Callable[[Any], float | None], outputs: Any) -> float | None:
    """Return what `outcome` says; raises InvalidTrajectory where that is no outcome."""
    value = outcome(outputs)
    return None if value is None else Ending("completed", outcome=float(value)).outcome
