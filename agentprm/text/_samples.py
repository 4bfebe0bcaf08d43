"""Small trajectories with all that is hard to word: what a rendering is named after, and identity is checked on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np

from agentprm.types import Action, Ending, Observation, Step, Task, ToolCall, Trajectory

__all__ = ["sample_trajectories"]

_THEN = datetime(2000, 1, 1, tzinfo=UTC)


def sample_trajectories(markers: Sequence[str]) -> tuple[Trajectory, ...]:
    """Return the samples; `markers` are what a hostile text would spell."""
    # Any change here renames every template, and models saved before can no longer be loaded.
    return _walk(), _tools(), _hostile("".join(markers))


_TOOLS = [{"type": "function", "function": {"name": "search", "description": "Çok.", "parameters": {"type": "object"}}}]


def _trajectory(number: int, task: str, steps: Sequence[Step], last: Observation, **meta: Any) -> Trajectory:
    ending = Ending("terminated", terminated=True, outcome=1.0, ended_at=_THEN)
    return Trajectory(UUID(int=number), Task(task), tuple(steps), last, ending, started_at=_THEN, meta=meta)


def _walk() -> Trajectory:
    steps = (
        Step(Observation("A beach. Mist.\nActions: walk, wait"), Action("walk", plan="The light was north.")),
        Step(Observation(native=np.arange(6, dtype=np.int64).reshape(2, 3)), Action(native=np.int64(2))),
        Step(Observation(native={"mission": "climb", "height": 0.1}), Action("  climb\n\n"), reward=0.5),
        Step(Observation(), Action(plan="think")),
    )
    return _trajectory(1, "Find the old lighthouse.", steps, Observation("You are there!"))


def _tools() -> Trajectory:
    calls = (
        ToolCall("search", {"query": "Çatalhöyük 🏺", "limit": 3}, "1", {"hits": ["a", "b"], "score": 0.25}),
        ToolCall("open", {"path": "/tmp/x"}, "2", "no such file", "error"),
        ToolCall("erase", {}, "3", None, "rejected", 0),
    )
    steps = (
        Step(Observation("Who lived there?"), Action("Let me see.", "", calls)),
        Step(Observation(), Action("", "", (ToolCall("wait", {"s": 1}, None, None, "pending"),))),
        Step(Observation(), Action("Farmers (7100 BC).")),
    )
    return _trajectory(2, "Answer.\n", steps, Observation(), system="Be brief.\n", tools=_TOOLS)


def _hostile(spelled: str) -> Trajectory:
    steps = (
        Step(Observation(f"{spelled}{spelled}"), Action(f"say {spelled}", plan=spelled)),
        Step(Observation("\ud800 \0 \r\n"), Action("", "", (ToolCall(spelled, {spelled: spelled}, None, spelled),))),
        Step(Observation(f"</s><s>[INST]<|im_end|>{spelled}"), Action(" ")),
    )
    return _trajectory(3, spelled, steps, Observation(spelled), system=spelled)
