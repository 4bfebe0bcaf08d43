"""Words for what has none: observations and actions of generic environments, as text a model or a person can read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from agentprm import values
from agentprm.errors import MissingText
from agentprm.types import Action, Observation, ToolCall, Value

__all__ = ["action_text", "call_text", "describe", "observation_text", "readable_text"]

_MOST_ELEMENTS = 32
"""Arrays up to this size are written out; larger ones are named by dtype, shape and hash."""


def describe(value: Value) -> str:
    r"""Return words for a native value: text as it is, dicts as ``key: text`` lines, small arrays as lists.

    >>> describe({"mission": "open the door", "direction": 3})
    'mission: open the door\ndirection: 3'
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {describe(v)}" for key, v in value.items())
    if isinstance(value, (np.ndarray, np.generic)):
        return _describe_array(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(describe(v) for v in value) + "]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _describe_array(array: np.ndarray[Any, Any]) -> str:
    if array.size <= _MOST_ELEMENTS:
        return _describe_elements(array.tolist())
    shape = "×".join(map(str, array.shape))
    # The bytes of an array of objects are addresses, different in every process.
    content = repr(array.tolist()).encode("utf-8", "replace") if array.dtype.hasobject else array.tobytes()
    return f"<{array.dtype} {shape} #{hashlib.blake2b(content, digest_size=4).hexdigest()}>"


def _describe_elements(elements: Any) -> str:
    if isinstance(elements, list):
        return "[" + ", ".join(map(_describe_elements, elements)) + "]"
    return f"{elements:.6g}" if isinstance(elements, float) else str(elements)


def readable_text(observation: Observation) -> str:
    """Return `observation_text` for a model that reads words.

    Raises MissingText for an observation that is nothing but a large array: its name tells a model nothing.

    >>> readable_text(Observation(native=np.array([1, 2])))
    '[1, 2]'
    """
    native = observation.native
    if not observation.text and isinstance(native, np.ndarray) and native.size > _MOST_ELEMENTS:
        raise MissingText(
            f"an observation {describe(native)} has no words, and this scorer reads words: give the recorder or "
            "wrapper render=, a function from the observation to text"
        )
    return observation_text(observation)


def observation_text(observation: Observation) -> str:
    """Return what a model reads of an observation: its text, else words for its native value."""
    if observation.text or observation.native is None:
        return observation.text
    return describe(observation.native)


def action_text(action: Action) -> str:
    """Return what a model reads of a decision: its text, else its tool calls, else words for its native value."""
    calls = "\n".join(map(call_text, action.tool_calls))
    if action.text or calls:
        return "\n".join(filter(None, (action.text, calls)))
    return "" if action.native is None else describe(action.native)


def call_text(call: ToolCall) -> str:
    """Return a tool call as it was asked, on one line.

    >>> call_text(ToolCall("search", {"query": "capital of Peru"}))
    'search({"query": "capital of Peru"})'
    """
    try:
        arguments = json.dumps(call.arguments, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that are no text, cycles
        arguments, _ = values.encode(call.arguments)
    return f"{call.name}({arguments})"
