"""A model whose reply is a function of the messages, tools, and what a recorder made of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import ToolException, tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentprm.types import Began, Ended, Event, Step, Stepped, Trajectory


class Puppet(BaseChatModel):
    reply: Callable[[list[BaseMessage]], AIMessage]

    @property
    def _llm_type(self):
        return "puppet"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=self.reply(messages))])

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools])


class Streaming(Puppet):
    """The same, word by word."""

    def _stream(self, messages, stop=None, run_manager=None, **kwargs) -> Iterator[ChatGenerationChunk]:
        whole = self.reply(messages)
        for word in whole.text.split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        calls = [{"name": c["name"], "args": str(c["args"]).replace("'", '"'), "id": c["id"]} for c in whole.tool_calls]
        chunks = [{**c, "index": i, "type": "tool_call_chunk"} for i, c in enumerate(calls)]
        yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=chunks))


@tool
def search(query: str) -> str:
    """Look something up, slowly."""
    time.sleep(0.05)
    return f"found {query}"


@tool
def calc(x: int) -> int:
    """Double a number."""
    return x * 2


@tool
def soft(x: int) -> int:
    """Fail politely."""
    raise ToolException("no such number")


soft.handle_tool_error = True


@tool
def boom(x: int) -> int:
    """Fail."""
    raise ValueError("boom")


@tool
async def slow(x: int) -> int:
    """Take a while."""
    await asyncio.sleep(0.2)
    return x


def call(name: str, call_id: str, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def calls_then(answer: str, *calls: dict[str, Any], words: str = "") -> Callable[[list[BaseMessage]], AIMessage]:
    """Call these tools in the first turn, then answer."""

    def reply(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage(answer) if isinstance(messages[-1], ToolMessage) else AIMessage(words, tool_calls=list(calls))

    return reply


def ask(text: str = "hi") -> dict[str, Any]:
    return {"messages": [("user", text)]}


def rebuilt(events: list[Event]) -> list[Trajectory]:
    """The trajectories that the events tell of, in order; fails on an event out of order."""
    found: dict[Any, Trajectory] = {}
    for event in list(events):
        match event:
            case Began(trajectory):
                assert trajectory.id not in found
                found[trajectory.id] = trajectory
            case Stepped(id, index, step, result):
                assert index == len(found[id]), "steps out of order"
                found[id] = found[id].append(step, result)
            case Ended(id, ending):
                found[id] = found[id].end(ending)
    return list(found.values())


def only(events: list[Event]) -> Trajectory:
    (trajectory,) = rebuilt(events)
    return trajectory


def timeless(trajectory: Trajectory) -> tuple[Step, ...]:
    """Its steps without what differs from run to run."""
    return tuple(replace(s, info={k: v for k, v in s.info.items() if k != "latency"}) for s in trajectory.steps)


def told(trajectory: Trajectory, index: int = 0) -> list[tuple[Any, ...]]:
    """Id, status, attempts and output of the calls of a step."""
    return [(c.id, c.status, c.attempts, c.output) for c in trajectory.steps[index].action.tool_calls]
