"""The desk for LangChain: its tools, and a chat model that works there, for ``create_agent``.

>>> from langchain.agents import create_agent
>>> agent = create_agent(ClerkModel(clerk=Clerk(error_rate=0.0)), tools_of("test"))
>>> task = make_tasks("test")[0]
>>> answer = agent.invoke({"messages": [("user", task.question)]})["messages"][-1].text
>>> is_right(task, answer)
True
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr

from agentprm_envs.desk import TOOLS
from agentprm_envs.desk_clerk import Clerk
from agentprm_envs.desk_tasks import Task, is_right, make_tasks
from agentprm_envs.desk_tools import ToolError, Tools
from agentprm_envs.desk_turns import Answer, Call, Done
from agentprm_envs.desk_words import Split
from agentprm_envs.desk_world import folder_of

__all__ = ["ClerkModel", "grader", "is_right", "make_tasks", "past_of", "tools_of"]

_MOST_REMEMBERED = 4_096


def tools_of(split: Split = "train", world: int = 0) -> list[BaseTool]:
    """Return the four tools, over the files of a world; what they refuse comes back as a message of status error."""
    tools = Tools(folder_of(split, world))
    return [_tool(name, getattr(tools, name)) for name in TOOLS]


def _tool(name: str, method: Callable[..., str]) -> BaseTool:
    # A signature of its own for each: LangChain makes the tool's schema of it.
    made = StructuredTool.from_function(method, name=name, description=method.__doc__)
    made.func = _refusing(method)
    made.handle_tool_error = True
    return made


def _refusing(method: Callable[..., str]) -> Callable[..., str]:
    def run(**arguments: Any) -> str:
        try:
            return method(**arguments)
        except ToolError as error:
            raise ToolException(str(error)) from error

    return run


def grader(tasks: Iterable[Task]) -> Callable[[Any], float | None]:
    """Return what says how a run ended, for ``PRMCallbackHandler(outcome=...)``.

    1.0 for the right answer to one of these tasks, 0.0 for another answer, None for a question that is none of them.
    """
    asked = {task.question: task for task in tasks}

    def outcome(outputs: Any) -> float | None:
        messages = outputs.get("messages", []) if isinstance(outputs, dict) else []
        task = asked.get(past_of(messages)[0])
        return float(is_right(task, messages[-1].text)) if task else None

    return outcome


class ClerkModel(BaseChatModel):
    """A chat model made of rules, that errs like one made of weights; it calls tools, streams, and needs no network.

    What it says is a function of the messages, the clerk's seed, and the number of the sample. Asked again with the
    same messages it gives the next sample, as a model at a temperature would; ``sample=k``, as a keyword of the call,
    asks for the k-th. How often which messages came is all it remembers.

    >>> model = ClerkModel(clerk=Clerk(error_rate=0.0))
    >>> question = "Since which year has the customer who complains about the oven with the burnt plug bought from us?"
    >>> model.invoke(question).tool_calls[0]["args"]
    {'query': 'burnt plug'}
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    clerk: Clerk = Field(default_factory=Clerk)
    _asked: OrderedDict[bytes, int] = PrivateAttr(default_factory=OrderedDict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "clerk"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"error_rate": self.clerk.error_rate, "seed": self.clerk.seed}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Take note of the tools, as any chat model does; it knows already how to use those of the desk."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def reply(self, messages: Sequence[BaseMessage], sample: int) -> AIMessage:
        """Return sample number `sample` of what it says to these messages: always the same."""
        question, past = past_of(messages)
        decision = self.clerk.decide(question, past, sample)
        if isinstance(decision, Answer):
            return AIMessage(decision.said)
        # Ids are unique within a conversation, and new messages have none of their own.
        call_id = f"call_{len(messages)}"
        asked = {"name": decision.name, "args": dict(decision.arguments), "id": call_id, "type": "tool_call"}
        return AIMessage("", tool_calls=[asked])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in _chunks(self._next(messages, kwargs)):
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    def _next(self, messages: Sequence[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        sample = kwargs.get("sample")
        return self.reply(messages, self._count(messages) if sample is None else int(sample))

    def _count(self, messages: Sequence[BaseMessage]) -> int:
        """Return how often these messages came before."""
        told = "\0".join(f"{message.type} {message.text} {getattr(message, 'tool_calls', '')}" for message in messages)
        key = blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            count = self._asked.pop(key, 0)
            self._asked[key] = count + 1
            if len(self._asked) > _MOST_REMEMBERED:
                self._asked.popitem(last=False)
        return count


def _chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Yield a message word by word; calls come whole."""
    for i, word in enumerate(message.text.split(" ") if message.text else ()):
        yield AIMessageChunk(content=f" {word}" if i else word)
    for i, call in enumerate(message.tool_calls):
        arguments = Call(call["name"], call["args"]).arguments_text
        part = tool_call_chunk(name=call["name"], args=arguments, id=call["id"], index=i)
        yield AIMessageChunk(content="", tool_call_chunks=[part])


def past_of(messages: Sequence[BaseMessage]) -> tuple[str, list[Done]]:
    """Return the question, which is the first human message, and the calls that came back since, in order."""
    question = next((message.text for message in messages if isinstance(message, HumanMessage)), "")
    results = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    calls = (call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls)
    return question, [_done(call, results[call["id"]]) for call in calls if call["id"] in results]


def _done(call: Any, result: ToolMessage) -> Done:
    arguments = {key: str(value) for key, value in call["args"].items()}
    return Done(Call(call["name"], arguments), result.text, result.status != "error")
