"""Tool calls in what a local chat model writes, and messages as its chat template wants them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

__all__ = ["as_messages", "read_reply", "without_first_turn"]

# Hermes and Qwen write calls so; the closing tag is missing where the model was cut off.
_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def read_reply(text: str, prefix: str = "call") -> AIMessage:
    r"""Return what a model wrote as a message: words, reasoning, tool calls, and calls that are no JSON.

    A whole reply that is one JSON object with ``name`` and ``arguments`` is a call, too (Llama writes so). `prefix`
    begins the ids of the calls.

    >>> message = read_reply('Let me see.\n<tool_call>\n{"name": "add", "arguments": {"x": 1}}\n</tool_call>')
    >>> message.text, message.tool_calls[0]["name"], message.tool_calls[0]["args"]
    ('Let me see.', 'add', {'x': 1})
    """
    thoughts = "\n".join(thought.strip() for thought in _THOUGHT.findall(text))
    text = _THOUGHT.sub("", text).strip()
    bodies = [text] if _form(text) else [body.strip() for body in _CALL.findall(text)]
    words = "" if _form(text) else _CALL.sub("", text).strip()
    read = [_call(body, f"{prefix}_{i}") for i, body in enumerate(bodies)]
    return AIMessage(
        words,
        tool_calls=[call for call in read if call["type"] == "tool_call"],
        invalid_tool_calls=[call for call in read if call["type"] == "invalid_tool_call"],
        additional_kwargs={"reasoning_content": thoughts} if thoughts else {},
    )


def _call(body: str, call_id: str) -> ToolCall | InvalidToolCall:
    form = _form(body)
    if form is None:
        error = "a tool call is a JSON object with name and arguments"
        return InvalidToolCall(name=None, args=body, id=call_id, error=error, type="invalid_tool_call")
    return ToolCall(name=form["name"], args=form["arguments"], id=call_id, type="tool_call")


def _form(body: str) -> dict[str, Any] | None:
    """Return a call as a dict with a name and a dict of arguments; None for anything else."""
    try:
        form = json.loads(body)
        arguments = form.get("arguments", form.get("parameters", {}))
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(form.get("name"), str) or not isinstance(arguments, dict):
        return None
    return {"name": form["name"], "arguments": arguments}


def as_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages as ``apply_chat_template`` takes them: role and content, and the calls of an assistant."""
    return list(_plain(messages))


def _plain(messages: Sequence[BaseMessage]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if isinstance(message, ToolMessage):
            yield {"role": "tool", "name": message.name or "", "content": message.text}
        elif isinstance(message, AIMessage):
            calls = [
                {"type": "function", "function": {"name": call["name"], "arguments": call["args"]}}
                for call in message.tool_calls
            ]
            yield {"role": "assistant", "content": message.text, **({"tool_calls": calls} if calls else {})}
        else:
            yield {"role": "system" if isinstance(message, SystemMessage) else "user", "content": message.text}


def without_first_turn(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return messages without the first answer and the results of its calls; empty where only one turn is left.

    >>> [m.text for m in without_first_turn([AIMessage("a"), ToolMessage("1", tool_call_id="1"), AIMessage("b")])]
    ['b']
    """
    answers = [i for i, message in enumerate(messages) if isinstance(message, AIMessage)]
    if not answers:
        return []
    following = (i for i in range(answers[0] + 1, len(messages)) if not isinstance(messages[i], ToolMessage))
    after = next(following, None)
    return [] if after is None else [*messages[: answers[0]], *messages[after:]]
