"""All runs that are open now, and what each event of LangChain's does to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from langchain_core.outputs import LLMResult

from agentprm.record._langchain_claims import Claims
from agentprm.record._langchain_episode import Turn
from agentprm.record._langchain_failures import Failures
from agentprm.record._langchain_judging import Judge, Judging
from agentprm.record._langchain_listeners import Listeners
from agentprm.record._langchain_messages import first_answer, said
from agentprm.record._langchain_opening import Openings
from agentprm.record._langchain_prompt import asked_with
from agentprm.record._langchain_registry import Registry
from agentprm.record._langchain_runs import Node, Run
from agentprm.record._langchain_tree import Tree, status_of
from agentprm.record._langchain_values import snapshot
from agentprm.text.describe import call_text
from agentprm.types import Ending, Scores, Sink, Status, ToolCall, Trajectory

__all__ = ["Watch"]


class Watch:
    """Any number of root runs, each behind a lock of its own; judges work in threads of their own."""

    def __init__(
        self,
        sink: Sink | None,
        failures: Failures,
        *,
        task: str | Callable[[Any], str] | None,
        outcome: Callable[[Any], float | None] | None,
        judge: Judge | None,
        tell: Callable[[Scores], None] | None,
        patience: float,
    ) -> None:
        self._sink, self._failures, self._outcome, self._judge = sink, failures, outcome, judge
        self._judging, self._tell, self._patience = Judging(failures), tell, patience
        self._openings = Openings(task, failures)
        self._runs = Registry(self._plant)

    @property
    def n_open(self) -> int:
        """How many runs are open."""
        return len(self._runs)

    def enter(self, run_id: UUID, parent_id: UUID | None, about: Mapping[str, Any]) -> None:
        """Open a run that is no more than a frame."""
        self._runs.enter(run_id, parent_id, about)

    def leave(self, run_id: UUID) -> None:
        """Close it."""
        if (run := self._runs.find(run_id)) is not None:
            self._runs.close(run)

    def _plant(self) -> Tree:
        emit = Claims(self._failures) if self._sink is None else partial(self._failures.attempt, "record", self._sink)
        return Tree(emit, keep=self._judge is not None)

    def claim(self, run_id: UUID, sink: Sink) -> None:
        """Hand this sink the events of the root run that a run belongs to; for a watch without a sink of its own."""
        run = self._runs.find(run_id)
        if run is not None and isinstance(run.tree.emit, Claims):
            with run.tree.lock:
                run.tree.emit.claim(sink)

    def start_chain(self, run_id: UUID, parent_id: UUID | None, inputs: Any, about: Mapping[str, Any]) -> None:
        """A chain begins: a root, a node, perhaps an agent inside of another."""
        run = self._runs.enter(run_id, parent_id, about)
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
        run = self._runs.enter(run_id, parent_id, about)
        if run is not None and run.parent is None:
            given = messages[0] if messages else None
            run.opening = self._openings.root(run_id, given, about, asked_with(messages, about))
        elif run is not None:
            self._listen(run)
            with run.tree.lock:
                run.tree.start_model(run, messages, about)

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
        run = self._runs.enter(run_id, parent_id, about)
        if run is None:
            return
        name = (serialized or {}).get("name") or about.get("name") or ""
        inputs = about.get("inputs")
        arguments = words if inputs is None else snapshot(inputs)
        asked = ToolCall(name, arguments, about.get("tool_call_id"), None, "pending", 0)
        if run.parent is None:
            run.opening, run.asked = self._openings.tool(run_id, call_text(asked), about), asked
            return
        self._listen(run)
        with run.tree.lock:
            run.tree.start_tool(run, asked)

    def _listen(self, run: Run) -> None:
        """Remember who else is attached, while LangChain can tell."""
        if self._judge is not None and run.tree.listeners is None:
            run.tree.listeners = Listeners.of(run.root.id)

    def end_tool(self, run_id: UUID, result: Any) -> None:
        """A tool came back."""
        self._end(run_id, "completed", lambda run: run.tree.end_tool(run, result), result)

    def fail_tool(self, run_id: UUID, error: BaseException) -> None:
        """A tool raised."""
        self._end(run_id, status_of(error), lambda run: run.tree.fail_tool(run, error))

    def _end(self, run_id: UUID, status: Status, take_in: Callable[[Run], None], outputs: Any = None) -> None:
        """Close a run, whatever goes wrong while its result is taken in."""
        run = self._runs.find(run_id)
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
            if run.parent is None:
                run.tree.await_scores(self._patience)
            if run.parent is None and run.episode is not None and status == "interrupted":
                self._openings.wait(run.episode.thread, run.episode.task, run.episode.prompt)
        finally:
            self._runs.close(run)

    def _outcome_of(self, outputs: Any) -> float | None:
        return None if self._outcome is None else self._failures.attempt("outcome", _checked, self._outcome, outputs)

    def _settle(self, tree: Tree) -> None:
        """Hand on what is complete; what has become visible waits for the judge, the agent does not."""
        judge = self._judge
        with tree.lock:
            due = [] if judge is None else tree.due(judge.sees)
            tree.send()
        for turn, seen in due:
            ask = partial(_judged, judge, turn, seen)
            if (asked := self._judging.ask(tree, ask, partial(self._take_score, tree, turn))) is not None:
                tree.asked.add(asked)
                asked.add_done_callback(tree.asked.discard)

    def _take_score(self, tree: Tree, turn: Turn, scores: Scores | None) -> None:
        """Let a turn go on with its score, and say it to those who listen."""
        with tree.lock:
            if scores is not None and scores not in turn.scores:
                turn.scores = (*turn.scores, scores)
            turn.is_waiting = False
            tree.send()
        if scores is not None:
            if self._tell is not None:
                self._failures.attempt("on_score", self._tell, scores)
            self._failures.attempt("event", tree.announce, scores)

    def wait(self, timeout: float | None = None) -> bool:
        """Return when every score is there, or after so many seconds; tell which of both."""
        return self._judging.wait(timeout)


def _judged(judge: Judge | None, turn: Turn, seen: Trajectory) -> Scores:
    """Return the score of a turn: what a middleware noted of the same scorer's, else what the judge says."""
    assert judge is not None, "without a judge no turn is due"
    return next((scores for scores in turn.scores if scores.source == judge.spec), None) or judge(seen)


def _checked(outcome: Callable[[Any], float | None], outputs: Any) -> float | None:
    """Return what `outcome` says; raises InvalidTrajectory where that is no outcome."""
    value = outcome(outputs)
    return None if value is None else Ending("completed", outcome=float(value)).outcome
