"""Which runs of LangChain's are open: those below a root, roots that have done nothing yet, and what comes too late."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from agentprm.record._langchain_runs import Run
from agentprm.record._langchain_tree import Tree

__all__ = ["Registry"]

_MOST_CUT_OFF = 4096
_MOST_ANNOUNCED = 1024
_LONGEST_SILENCE = 600.0
"""Seconds; a root that has done nothing for so long, behind so many others, is given up."""


class Registry:
    """The open runs, by id. `plant` makes the tree of a new root run."""

    def __init__(self, plant: Callable[[], Tree]) -> None:
        self._plant = plant
        self._lock = threading.Lock()
        self._runs: dict[UUID, Run] = {}
        self._announced: OrderedDict[UUID, Run] = OrderedDict()
        """Roots that have done nothing yet: one that is cancelled while its start is told never ends."""
        self._cut_off: OrderedDict[UUID, None] = OrderedDict()
        """Ended roots and what was open below them: what still starts there is late, and no root."""

    def __len__(self) -> int:
        with self._lock:
            return len(self._runs)

    def enter(self, run_id: UUID, parent_id: UUID | None, about: Mapping[str, Any]) -> Run | None:
        """Open a run; None for one that is known already, or too late."""
        metadata = about.get("metadata") or {}
        parent = self.find(parent_id) if parent_id else None
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
                parent.tree if parent else self._plant(),
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

    def find(self, run_id: UUID) -> Run | None:
        """Return an open run; a root that was only announced begins now."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None and (run := self._announced.pop(run_id, None)) is not None:
                self._runs[run_id] = run
        if run is not None and run.parent is None:
            with run.tree.lock:
                run.tree.awaken(run)
        return run

    def close(self, run: Run) -> None:
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
