"""What a model is told before the conversation: the system prompt, and which tools there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from agentprm.record._langchain_messages import text_of
from agentprm.record._langchain_values import snapshot
from agentprm.types import Value

__all__ = ["PROMPT", "asked_with", "prompt"]

PROMPT = ("system", "tools")
"""Where in a trajectory's `meta` it stands."""


def prompt(messages: Iterable[BaseMessage], tools: Sequence[Any]) -> dict[str, Value]:
    """Return ``system`` and ``tools`` for a trajectory's `meta`; what there is none of is left out.

    >>> from langchain_core.messages import SystemMessage
    >>> prompt([SystemMessage("be brief")], [{"type": "function", "function": {"name": "f", "parameters": {}}}])
    {'system': 'be brief', 'tools': [{'name': 'f', 'parameters': {}}]}
    """
    words = "\n".join(text_of(message) for message in messages if message.type == "system")
    schemas = [_schema(tool) for tool in tools]
    return {key: value for key, value in zip(PROMPT, (words, schemas), strict=True) if value}


def asked_with(messages: Any, about: Mapping[str, Any]) -> dict[str, Value]:
    """Return the same of a model run; `messages` and `about` are what came with its start."""
    given = messages[0] if messages and isinstance(messages[0], list) else ()
    tools = (about.get("invocation_params") or {}).get("tools")
    return prompt(given, tools if isinstance(tools, (list, tuple)) else ())


def _schema(tool: Any) -> Value:
    """Return a tool's name, description and parameters, whichever provider's form they come in."""
    if not isinstance(tool, Mapping):
        return snapshot(tool)
    plain = dict(tool["function"]) if isinstance(tool.get("function"), Mapping) else dict(tool)
    if "input_schema" in plain:
        plain["parameters"] = plain.pop("input_schema")
    return snapshot(plain)
