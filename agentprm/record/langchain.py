"""LangChain and LangGraph runs to trajectories: a callback handler that only watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from agentprm.record._langchain_failures import Failures
from agentprm.record._langchain_judging import Judge
from agentprm.record._langchain_watch import Watch
from agentprm.types import Scores, Sink

__all__ = ["Judge", "LangChainRecorder"]


class LangChainRecorder(BaseCallbackHandler):
    """Hands every agent run it watches to `sink`, as events; works with any number of runs, threads and event loops.

    `task` is the task's text or a function of the root inputs, `outcome` a function of the final root outputs to
    [0, 1] or None. A `judge` scores each turn in a thread of its own, and `tell` hears each score; the end of a root
    run waits `patience` seconds for those on their way. What goes wrong in here is counted, logged once and never
    reaches the agent.

    >>> from langchain_core.language_models import FakeListChatModel
    >>> events = []
    >>> config = {"callbacks": [LangChainRecorder(events.append)]}
    >>> answer = FakeListChatModel(responses=["Lima"]).invoke("The capital of Peru?", config=config)
    >>> [type(event).__name__ for event in events], events[1].step.action.text
    (['Began', 'Stepped', 'Ended'], 'Lima')
    """

    def __init__(
        self,
        sink: Sink | None,
        *,
        task: str | Callable[[Any], str] | None = None,
        outcome: Callable[[Any], float | None] | None = None,
        judge: Judge | None = None,
        tell: Callable[[Scores], None] | None = None,
        patience: float = 0.0,
    ) -> None:
        self._failures = Failures()
        self._watch = Watch(sink, self._failures, task=task, outcome=outcome, judge=judge, tell=tell, patience=patience)

    def __deepcopy__(self, memo: dict[int, Any]) -> LangChainRecorder:
        """Return itself: copies of a configuration report to one recorder."""
        return self

    def claim(self, run_id: UUID, sink: Sink) -> None:
        """Hand this sink the events of the root run that a run belongs to; for a recorder that has no sink itself."""
        self._failures.attempt("event", self._watch.claim, run_id, sink)

    @property
    def inflight(self) -> int:
        """How many runs are open; 0 when nothing runs."""
        return self._watch.n_open

    def wait(self, timeout: float | None = None) -> bool:
        """Return when every score on its way is there, or after so many seconds; tell which of both."""
        return self._watch.wait(timeout)

    @property
    def dropped(self) -> int:
        """How often something was lost: an event, a score, an outcome, or what a sink refused."""
        return sum(self.failures.values())

    @property
    def failures(self) -> Mapping[str, int]:
        """What was lost, by kind."""
        return self._failures.counts

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A chain, a graph or one of its nodes begins."""
        self._failures.attempt("event", self._watch.start_chain, run_id, parent_run_id, inputs, kwargs)

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        """It ends well."""
        self._failures.attempt("event", self._watch.end_chain, run_id, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It ends otherwise."""
        self._failures.attempt("event", self._watch.fail, run_id, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A chat model is asked."""
        self._failures.attempt("event", self._watch.start_model, run_id, parent_run_id, messages, kwargs)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A text model is asked."""
        self._failures.attempt("event", self._watch.start_model, run_id, parent_run_id, prompts, kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """It has answered."""
        self._failures.attempt("event", self._watch.end_model, run_id, response)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It has not."""
        self._failures.attempt("event", self._watch.fail, run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool runs."""
        self._failures.attempt("event", self._watch.start_tool, run_id, parent_run_id, serialized, input_str, kwargs)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It came back."""
        self._failures.attempt("event", self._watch.end_tool, run_id, output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It raised."""
        self._failures.attempt("event", self._watch.fail_tool, run_id, error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A retriever searches: no step of its own, but models may run inside of it."""
        self._failures.attempt("event", self._watch.enter, run_id, parent_run_id, kwargs)

    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **kwargs: Any) -> None:
        """It has found what it has found."""
        self._failures.attempt("event", self._watch.leave, run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It failed."""
        self._failures.attempt("event", self._watch.leave, run_id)
