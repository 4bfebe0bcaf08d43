"""OpenAI chat messages to steps: a step is one assistant message, with what its tool calls gave back.

System text goes to ``meta["system"]``; what else stands before a decision is its observation. Words beside tool calls,
and reasoning, are the plan. What no field has a place for is kept under `LEFT_OVER`, so that the messages come back.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentprm.formats._exact import same_json
from agentprm.formats._messages import LEFT_OVER, decision, left_over, result, said
from agentprm.formats._node import Node
from agentprm.types import Action, Image, Observation, Step, ToolCall, Value

__all__ = ["Conversation", "conversation", "text_of"]

_SYSTEM, _ANSWERS = ("system", "developer"), ("tool", "function")
_REASONING = ("reasoning_content", "reasoning")
_WORDS = ("text", "refusal", "input_text", "output_text")


@dataclass(slots=True)
class _Turn:
    """One assistant message, while what its calls gave back is gathered."""

    message: Node
    calls: list[ToolCall]
    before: Observation
    answers: dict[int, Node] = field(default_factory=dict)

    def take(self, answer: Node) -> bool:
        """Take in a tool message if a call of this turn still waits for it."""
        i = self._asked(answer)
        if i is None:
            return False
        status: Any = "error" if answer.value.get("status") == "error" else "ok"
        self.calls[i] = replace(self.calls[i], output=_output(answer.get("content")), status=status, attempts=1)
        self.answers[i] = answer
        return True

    def _asked(self, answer: Node) -> int | None:
        key, name = answer.value.get("tool_call_id"), answer.value.get("name")
        waiting = [i for i in range(len(self.calls)) if i not in self.answers]
        if key is not None:
            return next((i for i in waiting if self.calls[i].id == key), None)
        named = [i for i in waiting if name is None or self.calls[i].name == name]
        return named[0] if named and (name is not None or len(waiting) == 1) else None

    def step(self, t: int) -> Step:
        action = _action(self.message, tuple(self.calls))
        left = {"message": left_over(self.message.value, decision(action, t))}
        answers = [self.answers.get(i) for i in range(len(self.calls))]
        extras = [a and left_over(a.value, result(self.calls[i], t, i)) for i, a in enumerate(answers)]
        kept = {k: v for k, v in (left | {"results": extras if any(extras) else None}).items() if v}
        return Step(self.before, action, info={LEFT_OVER: kept} if kept else {})


@dataclass(frozen=True, slots=True)
class Conversation:
    """What messages say, in our words."""

    task: str
    """What the user asked last before the first decision."""
    steps: tuple[Step, ...]
    last: Observation
    meta: dict[str, Value]
    """``system``, where there is any."""
    places: tuple[int, ...]
    """The index of each step's message."""

    @property
    def is_complete(self) -> bool:
        """Whether every tool call was answered."""
        return not any(call.status == "pending" for step in self.steps for call in step.action.tool_calls)


def conversation(node: Node) -> Conversation:
    """Return what a list of messages says; raises InvalidFormat."""
    given = [m for m in node.as_list() if _role(m)]
    n_system = next((i for i, m in enumerate(given) if _role(m) not in _SYSTEM), len(given))
    turns: list[_Turn] = []
    between: list[Node] = []
    opening: list[Node] = []
    places = []
    for i, message in enumerate(given[n_system:], n_system):
        if _role(message) == "assistant":
            opening = opening or ([] if turns else between)
            turns.append(_Turn(message, _calls(message), _observation(between)))
            between = []
            places.append(i)
        elif _role(message) not in _ANSWERS or not any(turn.take(message) for turn in reversed(turns)):
            between.append(message)
    opening = opening if turns else between
    steps = tuple(turn.step(t) for t, turn in enumerate(turns))
    meta = _system(given[:n_system])
    return Conversation(_task(opening), steps, _observation(between), meta, tuple(places))


def _role(message: Node) -> str:
    return message["role"].as_text()


def _task(opening: Sequence[Node]) -> str:
    asked = [text_of(m.get("content")) for m in opening if _role(m) == "user"]
    return asked[-1] if asked else ""


def _system(given: Sequence[Node]) -> dict[str, Value]:
    if not given:
        return {}
    text = "\n\n".join(text_of(m.get("content")) for m in given)
    raw = [m.value for m in given]
    is_simple = same_json(raw, [{"role": "system", "content": text}])
    return {"system": text} | ({} if is_simple else {LEFT_OVER: {"system": raw}})


def _observation(between: Sequence[Node]) -> Observation:
    if not between:
        return Observation()
    texts = [text_of(m.get("content")) for m in between]
    named = (f"{m.value.get('name') or _role(m)}: {text}" for m, text in zip(between, texts, strict=True))
    images = tuple(image for m in between for image in _images(m.get("content")))
    seen = Observation(texts[0] if len(between) == 1 else "\n".join(named), None, images)
    raw = [m.value for m in between]
    return seen if same_json(said(seen), raw) else replace(seen, native=raw)


def _action(message: Node, calls: tuple[ToolCall, ...]) -> Action:
    words, thought = _content_and_thought(message)
    if calls:
        return Action("", "\n".join(filter(None, (thought, words))), calls)
    return Action(words, thought)


def _content_and_thought(message: Node) -> tuple[str, str]:
    content, refusal = message.get("content"), message.get("refusal")
    words = text_of(content) or (refusal.as_text() if refusal else "")
    given = (message.value.get(key) for key in _REASONING)
    thought = next((t for t in given if isinstance(t, str) and t), "")
    return words, thought or _thinking(content)


def _thinking(content: Node | None) -> str:
    parts = content.value if content and isinstance(content.value, list) else ()
    thoughts = (p.get(p["type"]) for p in parts if isinstance(p, dict) and p.get("type") in ("thinking", "reasoning"))
    return "\n".join(t for t in thoughts if isinstance(t, str))


def text_of(content: Node | None) -> str:
    """Return the words of a message's content, which is a text, a list of parts, or nothing."""
    if content is None or isinstance(content.value, str):
        return content.as_text() if content else ""
    return "".join(_part_text(part) for part in content.as_list())


def _part_text(part: Node) -> str:
    if isinstance(part.value, str):
        return part.as_text()
    kind = part["type"].as_text()
    if kind not in _WORDS:
        return ""
    return part["refusal" if kind == "refusal" else "text"].as_text()


def _images(content: Node | None) -> Iterator[Image]:
    for part in content.as_list() if content and isinstance(content.value, list) else ():
        link = part.value.get("image_url") if isinstance(part.value, dict) else None
        url = link.get("url") if isinstance(link, dict) else link
        if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
            yield _decoded(part, *url[5:].split(";base64,", 1))


def _decoded(part: Node, media_type: str, data: str) -> Image:
    try:
        return Image(media_type, base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise part.child("image_url", data).refused(f"a picture in base64 ({error})") from error


def _output(content: Node | None) -> Value:
    if content is None or isinstance(content.value, str):
        return content.value if content else None
    words = [part.value if isinstance(part.value, str) else part["type"].as_text() for part in content.as_list()]
    return text_of(content) if all(word == "text" for word in words) else content.value


def _calls(message: Node) -> list[ToolCall]:
    listed = message.get("tool_calls")
    calls = [_call(call) for call in listed.as_list()] if listed else []
    legacy = message.get("function_call")
    return [*calls, *([_function(legacy, None)] if legacy else [])]


def _call(call: Node) -> ToolCall:
    key = call.get("id")
    inside = call.get("function") or call.get("custom") or call
    return _function(inside, key.as_text() if key else None)


def _function(function: Node, key: str | None) -> ToolCall:
    given = function.get("arguments") or function.get("input")
    arguments, is_json = _arguments(given)
    return ToolCall(function["name"].as_text(), arguments, key, None, "pending" if is_json else "rejected", 0)


def _arguments(given: Node | None) -> tuple[Value, bool]:
    """Return arguments as an object or list, else the very text that was given, and whether it was JSON."""
    if given is None or isinstance(given.value, (dict, list)):
        return (given.value if given else {}), True
    text = given.as_text()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text, False
    return (value, True) if isinstance(value, (dict, list)) else (text, True)
