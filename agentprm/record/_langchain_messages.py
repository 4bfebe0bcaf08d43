"""LangChain's messages, inputs and tool outputs as our nouns. Nothing here keeps or changes a live object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_messages
from langchain_core.outputs import LLMResult

from agentprm.record._langchain_choice import choices_of
from agentprm.record._langchain_pictures import notes, pictures
from agentprm.record._langchain_values import snapshot
from agentprm.types import Observation, ToolCall, Value

__all__ = [
    "Said",
    "answer",
    "facts",
    "first_answer",
    "key_of",
    "messages_in",
    "observation",
    "output",
    "said",
    "task_text",
    "text_of",
]

_IN_SCORES = ("scorer", "unit")
_QUESTIONS = ("input", "question", "query", "task")


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said, before any of its calls ran."""

    key: object = None
    """Tells this message from every other one of the same run."""
    text: str = ""
    plan: str = ""
    calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    tokens: Mapping[str, int] | None = None
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """How middleware chose it."""


def key_of(message: BaseMessage) -> object:
    """Return what tells a message from others: its id, else the object itself and what it says."""
    content = message.content
    return message.id or (id(message), hash(content) if isinstance(content, str) else len(content))


def said(message: AIMessage | str) -> Said:
    """Return what a model's answer decides.

    >>> said(AIMessage([{"type": "thinking", "thinking": "easy"}, {"type": "text", "text": "4"}])).plan
    'easy'
    """
    if isinstance(message, str):
        return Said(object(), message)
    plan, text = _thought_and_text(message)
    calls = tuple(_call(c["name"], snapshot(c["args"]), c.get("id")) for c in message.tool_calls)
    broken = (_broken_call(c) for c in message.invalid_tool_calls)
    if calls := (*calls, *broken):
        plan, text = "\n".join(filter(None, (plan, text))), ""
    about = message.response_metadata
    model = about.get("model_name") or about.get("model")
    return Said(key_of(message), text, plan, calls, model, _tokens(message), snapshot(choices_of(message)))


def facts(decision: Said, model: str | None = None) -> dict[str, Value]:
    """Return what is known of how a decision came about."""
    tokens = decision.tokens and dict(decision.tokens)
    chosen = {by: {k: v for k, v in noted.items() if k not in _IN_SCORES} for by, noted in decision.choices.items()}
    found = {"model": decision.model or model, "tokens": tokens, "prm": chosen}
    return {name: value for name, value in found.items() if value}


def first_answer(response: LLMResult) -> AIMessage | str:
    """Return what a model run gave back: of several answers the first."""
    for given in (given for answers in response.generations for given in answers):
        message = getattr(given, "message", None)
        return message if isinstance(message, AIMessage) else given.text
    return ""


def _call(name: str, arguments: Value, call_id: str | None) -> ToolCall:
    return ToolCall(name, arguments, call_id, None, "pending", 0)


def _broken_call(call: Mapping[str, Any]) -> ToolCall:
    """Arguments that are no JSON: such a call is never run."""
    error = call.get("error") or "arguments that are no JSON"
    return ToolCall(call.get("name") or "", call.get("args") or "", call.get("id"), error, "rejected", 0)


def _tokens(message: AIMessage) -> Mapping[str, int] | None:
    usage = message.usage_metadata
    if not usage:
        return None
    return {"input": usage["input_tokens"], "output": usage["output_tokens"], "total": usage["total_tokens"]}


def _thought_and_text(message: BaseMessage) -> tuple[str, str]:
    content = message.content
    if isinstance(content, str):
        thought = message.additional_kwargs.get("reasoning_content")
        return thought if isinstance(thought, str) else "", str.__str__(content)
    thoughts = (_thought(block) for block in content if isinstance(block, dict))
    return "\n".join(filter(None, thoughts)), "".join(map(_text, content))


def text_of(message: BaseMessage) -> str:
    """Return the words of a message, without its reasoning."""
    return _thought_and_text(message)[1]


def _thought(block: Mapping[str, Any]) -> str:
    if block.get("type") not in ("reasoning", "thinking"):
        return ""
    summary = "\n".join(s.get("text", "") for s in block.get("summary") or () if isinstance(s, Mapping))
    return str(block.get("reasoning") or block.get("thinking") or summary)


def _text(block: str | Mapping[str, Any]) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    return str(block.get(kind, "")) if kind in ("text", "refusal") else ""


def answer(message: ToolMessage) -> Value:
    """Return what a tool told the model: text, or the content blocks where they are more than text."""
    content = message.content
    if isinstance(content, str):
        return str.__str__(content)
    if all(isinstance(block, str) or block.get("type") == "text" for block in content):
        return "".join(map(_text, content))
    return snapshot(content)


def output(value: Any, call_id: str | None) -> tuple[Value, bool]:
    """Return what a tool gave back, and whether it says itself that it failed."""
    told = [m for m in messages_in(value) if isinstance(m, ToolMessage)]
    for message in told:
        if message.tool_call_id == call_id or len(told) == 1:
            return answer(message), message.status == "error"
    return snapshot(value), False


def messages_in(value: Any) -> list[BaseMessage]:
    """Return the messages in what a node put out or took in: a message, a state, a Command, a list of such."""
    return list(_messages(value))


def _messages(value: Any) -> Iterator[BaseMessage]:
    if isinstance(value, BaseMessage):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            listed = part if isinstance(part, (list, tuple)) else (part,)
            if listed and isinstance(listed[0], BaseMessage):
                yield from (m for m in listed if isinstance(m, BaseMessage))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _messages(part)
    elif _is_command(value):
        yield from _messages(dict(value.update) if _is_pairs(value.update) else value.update)
    elif not isinstance(value, (str, bytes)) and isinstance(getattr(value, "messages", None), (list, tuple)):
        yield from _messages(value.messages)


def _is_command(value: Any) -> bool:
    """A LangGraph Command, by its shape: LangGraph is optional."""
    return hasattr(value, "goto") and hasattr(value, "update") and hasattr(value, "resume")


def _is_pairs(update: Any) -> bool:
    return isinstance(update, list) and all(isinstance(p, tuple) and len(p) == 2 for p in update)


def _given(inputs: Any) -> list[BaseMessage]:
    """Return the messages of an agent's inputs, which may still be pairs, dicts and strings."""
    loose: Any
    if isinstance(inputs, Mapping) and "messages" in inputs:
        inputs = inputs["messages"]
        loose = [inputs] if isinstance(inputs, (str, tuple, Mapping)) else inputs
    elif isinstance(inputs, (list, tuple)) and inputs and not isinstance(inputs[0], str):
        loose = inputs
    else:
        return messages_in(inputs)
    try:
        return convert_to_messages(loose)
    except Exception:
        return messages_in(inputs)


def observation(inputs: Any) -> Observation:
    r"""Return what an agent is given at the start: the words of its messages, else the inputs as they are.

    >>> observation({"messages": [("system", "be brief"), ("user", "hello")]}).text
    'system: be brief\nhuman: hello'
    """
    if given := _given(inputs):
        texts = ["\n".join(filter(None, (text_of(m), *notes(m)))) for m in given]
        lines = texts if len(given) == 1 else [f"{m.type}: {text}" for m, text in zip(given, texts, strict=True)]
        return Observation("\n".join(lines), images=tuple(image for m in given for image in pictures(m)))
    if _is_command(inputs):
        inputs = inputs.resume
    return Observation(str.__str__(inputs)) if isinstance(inputs, str) else Observation(native=snapshot(inputs))


def task_text(inputs: Any) -> str:
    """Return what the agent was asked: the last human message, else a string among the inputs, else nothing.

    >>> task_text({"question": "the capital of Peru?"})
    'the capital of Peru?'
    """
    for message in reversed(_given(inputs)):
        if message.type == "human":
            return text_of(message)
    if isinstance(inputs, Mapping):
        named = [inputs[k] for k in _QUESTIONS if k in inputs] or list(inputs.values())
        inputs = named[0] if len(named) == 1 else None
    return str.__str__(inputs) if isinstance(inputs, str) else ""
