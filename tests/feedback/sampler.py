"""A model that answers the same question differently each time it is asked, and a scorer that likes some answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import ToolException, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from agentprm.types import Scores, Spec

ASK = {"messages": [("user", "double a good number")]}


class Sampler(BaseChatModel):
    """`offer(messages, k)` is its answer when it is asked this for the k-th time."""

    offer: Callable[[list[BaseMessage], int], AIMessage]
    _asked: Counter[Any] = PrivateAttr(default_factory=Counter)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self):
        return "sampler"

    @property
    def n_asked(self):
        return sum(self._asked.values())

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools])

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        key = tuple((m.type, m.text, str(getattr(m, "tool_calls", None))) for m in messages)
        with self._lock:
            k, self._asked[key] = self._asked[key], self._asked[key] + 1
        return ChatResult(generations=[ChatGeneration(message=self.offer(messages, k))])


class Streaming(Sampler):
    """The same, word by word."""

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        (whole,) = self._generate(messages).generations
        for word in whole.message.text.split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        chunks = [
            {"name": c["name"], "args": str(c["args"]).replace("'", '"'), "id": c["id"], "index": i}
            for i, c in enumerate(whole.message.tool_calls)
        ]
        yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=chunks))


def call(x: Any, name: str = "calc", call_id: str | None = None) -> dict[str, Any]:
    return {"name": name, "args": {"x": x}, "id": call_id or f"{name}-{x}", "type": "tool_call"}


def offers(*numbers: int, answer: str = "done") -> Callable[[list[BaseMessage], int], AIMessage]:
    """Call `calc` with one number after the other until one call was executed, then answer."""

    def offer(messages: list[BaseMessage], k: int) -> AIMessage:
        tried = sum(isinstance(m, ToolMessage) for m in messages)
        if any(isinstance(m, ToolMessage) and m.status == "success" for m in messages):
            return AIMessage(answer)
        return AIMessage("", tool_calls=[call(numbers[(k + tried) % len(numbers)])])

    return offer


@tool
def calc(x: int) -> int:
    """Double a number."""
    return 2 * x


@tool
def soft(x: int) -> int:
    """Fail politely."""
    raise ToolException("no such number")


soft.handle_tool_error = True


@dataclass
class Likes:
    """A scorer: of a call a tenth of its number, of an answer `final`. Remembers what it was shown."""

    final: float | None = 0.5
    fails: bool = False
    shown: list[Any] = field(default_factory=list)
    sees: ClassVar[str] = "action"
    unit: ClassVar[str] = "value"
    spec: ClassVar[Spec] = Spec("likes", {})

    def __call__(self, trajectories, /):
        self.shown.append(list(trajectories))
        if self.fails:
            raise ConnectionError("the server is away")
        return [Scores(t.id, self.spec, "value", self.values(t), sees="action") for t in trajectories]

    def values(self, trajectory):
        return tuple(
            max(c.arguments["x"] for c in s.action.tool_calls) / 10 if s.action.tool_calls else self.final
            for s in trajectory.steps
        )


def noted(message: BaseMessage, name: str = "PRMMiddleware") -> dict[str, Any]:
    return message.response_metadata["prm"][name]


def said(result: dict[str, Any]) -> list[str]:
    """What happened, in short."""
    lines = []
    for message in result["messages"]:
        calls = " ".join(f"{c['name']}({c['args'].get('x')})" for c in getattr(message, "tool_calls", ()))
        lines.append(f"{message.type}: {message.text or calls}")
    return lines
