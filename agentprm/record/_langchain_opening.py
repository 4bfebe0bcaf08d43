"""What the trajectory of a LangChain run begins with: task, first observation, metadata."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from agentprm.record._langchain_failures import Failures
from agentprm.record._langchain_messages import observation, task_text
from agentprm.record._langchain_values import snapshot
from agentprm.types import Observation, Task, Trajectory, Value, new_id

__all__ = ["Openings", "opening"]

_MOST_WAITING = 1024
_NOT_META = ("langgraph_", "ls_", "lc_versions", "checkpoint_", "__pregel")


def opening(
    run_id: UUID, task: Task, first: Observation, about: Mapping[str, Any], prompt: Mapping[str, Value]
) -> Trajectory:
    """Return the trajectory of a run that has done nothing yet; `about` is what came with its start."""
    metadata = about.get("metadata") or {}
    return Trajectory(
        new_id(),
        task,
        (),
        first,
        external_id=str(run_id),
        policy=metadata.get("lc_agent_name") or None,
        meta={**prompt, **_meta(metadata, about)},
    )


def _meta(metadata: Mapping[str, Any], about: Mapping[str, Any]) -> Mapping[str, Value]:
    meta = {key: snapshot(value) for key, value in metadata.items() if not key.startswith(_NOT_META)}
    tags = [tag for tag in about.get("tags") or () if not tag.startswith(("seq:step:", "graph:step:"))]
    if tags:
        meta["tags"] = tags
    if about.get("name"):
        meta["run_name"] = about["name"]
    return meta


class Openings:
    """Says what a root run is about; remembers the tasks of threads that wait to be resumed."""

    def __init__(self, task: str | Callable[[Any], str] | None, failures: Failures) -> None:
        self._task, self._failures = task, failures
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, tuple[Task, Mapping[str, Value]]] = OrderedDict()

    def root(
        self, run_id: UUID, inputs: Any, about: Mapping[str, Any], prompt: Mapping[str, Value] | None = None
    ) -> Trajectory:
        """Return what a root run begins with; a resume begins with the prompt of what it resumes."""
        metadata = about.get("metadata") or {}
        with self._lock:
            earlier, earlier_prompt = self._waiting.pop(str(metadata.get("thread_id")), (None, {}))
        told = prompt or ({} if task_text(inputs) else earlier_prompt)
        return opening(run_id, self._task_of(inputs, metadata, earlier), observation(inputs), about, told)

    def inner(self, run_id: UUID, inputs: Any, about: Mapping[str, Any]) -> Trajectory:
        """Return what an agent inside of another one begins with."""
        return opening(run_id, Task(task_text(inputs)), observation(inputs), about, {})

    def tool(self, run_id: UUID, asked: str, about: Mapping[str, Any]) -> Trajectory:
        """Return what a tool that is called on its own begins with."""
        return opening(run_id, self._task_of(asked, about.get("metadata") or {}), Observation(), about, {})

    def _task_of(self, inputs: Any, metadata: Mapping[str, Any], earlier: Task | None = None) -> Task:
        key = str(metadata.get("task_id", ""))
        if self._task is not None:
            given = self._failures.attempt("task", self._task, inputs) if callable(self._task) else self._task
            if isinstance(given, str):
                return Task(given, key)
        text = task_text(inputs)
        return earlier if earlier is not None and not text else Task(text, key)

    def wait(self, thread: Any, task: Task, prompt: Mapping[str, Value]) -> None:
        """Remember the task and prompt of a thread that was interrupted: its resume does not repeat them."""
        if thread is not None:
            with self._lock:
                self._waiting[str(thread)] = task, prompt
                while len(self._waiting) > _MOST_WAITING:
                    self._waiting.popitem(last=False)
