"""The open state of one root run: its runs, and the trajectories of the agents in it. Called under `Tree.lock`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

from langchain_core.messages import AIMessage, ToolMessage

from agentprm.record._langchain_choice import choices_of
from agentprm.record._langchain_episode import Call, Episode, Turn
from agentprm.record._langchain_listeners import Listeners
from agentprm.record._langchain_messages import Said, answer, facts, key_of, messages_in, output, said
from agentprm.record._langchain_prompt import asked_with
from agentprm.record._langchain_runs import Node, Run
from agentprm.types import CallStatus, Ending, Event, Fork, Scores, Status, ToolCall, Trajectory, Value

__all__ = ["Tree", "status_of"]

_HOOKS = (".before_model", ".after_model", ".before_agent", ".after_agent")


class Tree:
    """One root run and all below it."""

    def __init__(self, emit: Callable[[Event], Any], *, keep: bool) -> None:
        self.lock = threading.Lock()
        self.open_runs: set[UUID] = set()
        self.episodes: list[Episode] = []
        self.asked: set[Future[None]] = set()
        """Scores on their way."""
        self.listeners: Listeners | None = None
        self._taken: set[object] = set()
        self.emit, self._keep = emit, keep

    def await_scores(self, patience: float) -> None:
        """Wait that many seconds for scores on their way; afterwards nobody is there to be told of one."""
        if patience and self.asked:
            wait(set(self.asked), patience)
        self.listeners = None

    def announce(self, scores: Scores) -> None:
        """Tell the other handlers of this run about a score."""
        if (listeners := self.listeners) is not None:
            listeners.tell(scores)

    def awaken(self, run: Run) -> None:
        """Start the trajectory of a root that does something for the first time."""
        if run.opening is not None:
            self.begin(run, run.opening)
            run.opening = None
            if run.asked is not None:
                self.start_tool(run, run.asked)

    def begin(self, run: Run, opening: Trajectory) -> None:
        """Start a trajectory that ends with this run."""
        run.episode = Episode(opening, self.emit, keep=self._keep, agent=run.agent)
        run.node, run.call, run.is_owner = None, None, True
        self.episodes.append(run.episode)

    def start_node(self, run: Run, node: Node) -> None:
        """Enter a node; what holds it is a graph, and inside a tool or under its own name an agent."""
        parent = run.parent
        assert parent is not None, "a root run is no node"
        if parent.opening is not None:
            self._start_agent(parent, parent.opening)
            parent.opening = None
        run.inherit(parent)
        run.node = node
        if parent.is_owner and parent.episode is not None:
            parent.episode.holds_nodes = True

    def _start_agent(self, run: Run, opening: Trajectory) -> None:
        outer = run.episode
        if outer is None:
            return
        if run.call is None and outer.agent is None and not outer.holds_nodes and not outer.n_turns:
            outer.agent, outer.holds_nodes = run.agent, True  # a chain around one agent is that agent
            return
        outer.begin()
        index = max(0, outer.n_turns - 1) if run.call is None else run.call.index
        self.begin(run, replace(opening, parent=Fork(outer.id, index, run.call.asked.id if run.call else None)))

    def end_node(self, run: Run, outputs: Any) -> None:
        """Take what the node put out: decisions, and the answers to calls."""
        node, episode = run.node, run.episode
        if node is None or episode is None or run.call is not None or not run.starts_node:
            return
        messages = messages_in(outputs)
        new_calls: set[str | None] = set()
        for message in messages:
            if isinstance(message, AIMessage) and not node.knew(key_of(message)):
                new_calls |= self._take_message(episode, node, message)
            elif isinstance(message, ToolMessage) and not node.knew(key_of(message)):
                _answer(episode, node, message, n_ran=int(message.tool_call_id in new_calls))
        if not messages and node.heard and not node.name.endswith(_HOOKS):
            self._take_heard(episode, node, node.heard[-1][0])
        episode.finish_calls(node, only_ended=False)

    def _take_message(self, episode: Episode, node: Node, message: AIMessage) -> set[str | None]:
        """Begin a turn for a decision; return the ids of its calls if nobody knew of them before."""
        decision = said(message)
        if decision.key not in self._taken or node.heard_anew(decision.key):
            self._take(episode, node, decision, self._info(node, decision))
        elif decision.key == node.stated:
            episode.revise(decision)
        else:
            return set()
        return set() if decision.key == node.stated else {call.id for call in decision.calls}

    def _take_heard(self, episode: Episode, node: Node, decision: Said) -> None:
        if node.heard_anew(decision.key):
            self._take(episode, node, decision, self._info(node, decision))

    def _take(self, episode: Episode, node: Node | None, decision: Said, info: Mapping[str, Value]) -> None:
        self._taken.add(decision.key)
        if node is not None:
            node.taken.add(decision.key)
        episode.finish_calls(node, only_ended=True)
        episode.take(decision, info)

    def _info(self, node: Node, decision: Said) -> Mapping[str, Value]:
        """Return what is known of the model run behind a decision; of several, how many there were."""
        found = [info for heard, info in node.heard if heard.key == decision.key]
        info = found[0] if found else {}
        if decision.choices:
            info = {**info, **facts(decision)}
        return {**info, "model_calls": len(node.heard)} if info and len(node.heard) > 1 else info

    def start_model(self, run: Run, messages: Any, about: Mapping[str, Any]) -> None:
        """Take note of what the first model of an agent is told beside the conversation; that of a hook is none."""
        episode, is_hook = run.episode, run.node is not None and run.node.name.endswith(_HOOKS)
        if episode is not None and run.call is None and not is_hook and not episode.is_begun:
            episode.begin(asked_with(messages, about))

    def end_model(self, run: Run, decision: Said) -> None:
        """Hear what a model said; outside of a node it is done at once."""
        if run.episode is None or run.call is not None:
            return
        info: dict[str, Value] = {"latency": time.monotonic() - run.started, **facts(decision, run.model)}
        if run.node is None:
            self._take(run.episode, None, decision, info)
        else:
            run.node.heard.append((decision, info))

    def start_tool(self, run: Run, asked: ToolCall) -> None:
        """A tool runs: an attempt of a call that was asked for, unless another tool holds it."""
        if run.call is not None or run.episode is None:
            return
        call = self._asked_for(run.episode, run.node, asked) or run.episode.add_call(asked)
        call.update("pending", None, attempts=call.asked.attempts + 1)
        call.node, run.call = run.node, call

    def _asked_for(self, episode: Episode, node: Node | None, asked: ToolCall) -> Call | None:
        call = episode.find(asked.name, asked.arguments, asked.id, node)
        if call is None and node is not None:
            for decision, _ in node.heard:
                if any(c.id == asked.id if asked.id else c.name == asked.name for c in decision.calls):
                    self._take_heard(episode, node, decision)
            call = episode.find(asked.name, asked.arguments, asked.id, node)
        return call

    def end_tool(self, run: Run, result: Any) -> None:
        """An attempt came back."""
        if (call := _own_call(run)) is not None:
            told, has_failed = output(result, call.asked.id)
            call.update("error" if has_failed else "ok", told, attempts=call.asked.attempts)
            call.is_done = run.node is None

    def fail_tool(self, run: Run, error: BaseException) -> None:
        """An attempt raised; one that was interrupted or cancelled stays pending."""
        if (call := _own_call(run)) is not None and status_of(error) == "failed":
            call.update("error", f"{type(error).__name__}: {error}", attempts=call.asked.attempts)

    def fail(self, run: Run, error: BaseException) -> None:
        """Note that somebody is to be asked before this goes on."""
        if run.episode is not None and run.call is None and status_of(error) == "interrupted":
            run.episode.was_interrupted = True

    def due(self, sees: Literal["action", "result"]) -> list[tuple[Turn, Trajectory]]:
        """Return the turns to be judged now, each with what such a judge sees."""
        return [found for episode in self.episodes for found in episode.due(sees)]

    def final(self, run: Run, status: Status) -> Status:
        """Return how a run really ended: LangGraph says of one that waits for somebody that it completed."""
        episode = run.episode
        if episode is None or not run.is_owner or status != "completed":
            return status
        return "interrupted" if episode.was_interrupted or _waits(episode) else "completed"

    def end(self, run: Run, status: Status, outcome: float | None = None) -> None:
        """End the trajectory of this run, and below a root run all others."""
        if run.episode is not None and run.is_owner:
            run.episode.end(Ending(status, outcome=outcome))
        if run.parent is None:
            for inner in self.episodes:
                cut: Status = "aborted" if status in ("failed", "completed") else status
                inner.end(Ending("interrupted" if inner.was_interrupted else cut))

    def send(self) -> None:
        """Hand on everything that is complete, of inner agents before the outer ones."""
        for episode in reversed(self.episodes):
            episode.send()
        self.episodes = [episode for episode in self.episodes if not episode.is_over]


def _own_call(run: Run) -> Call | None:
    return run.call if run.parent is None or run.parent.call is None else None


def _answer(episode: Episode, node: Node, message: ToolMessage, *, n_ran: int) -> None:
    """Give a call what the model will read; one that never ran was rejected, unless its own node ran it unseen."""
    fitting = [call for call in episode.calls() if call.asked.id == message.tool_call_id]
    call = next((call for call in fitting if call.node is node), fitting[0] if fitting else None)
    if call is not None:
        n_ran = call.asked.attempts or (0 if choices_of(message) else n_ran)
        status: CallStatus = "error" if message.status == "error" else "ok"
        call.update(status if n_ran else "rejected", answer(message), attempts=n_ran)
        call.is_done = True


def _waits(episode: Episode) -> bool:
    """Tell whether somebody is to be asked: a graph stopped in a thread, with calls that nobody ran."""
    return episode.thread is not None and episode.holds_nodes and episode.has_unanswered_calls


def status_of(error: BaseException) -> Status:
    """Return how a run ended that raised this; LangGraph's classes are known by name, as it is optional.

    >>> status_of(GeneratorExit()), status_of(ValueError())
    ('aborted', 'failed')
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    if "ParentCommand" in names:
        return "completed"
    if "GraphBubbleUp" in names:
        return "interrupted"
    return "failed" if isinstance(error, Exception) and "CancelledError" not in names else "aborted"
