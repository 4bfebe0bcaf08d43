"""LangSmith's runs, played back in the order in which they happened to the recorder that would have watched them."""

from __future__ import annotations

import ast
import re
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.messages.utils import AnyMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from pydantic import TypeAdapter

from agentprm.formats._langsmith_runs import Run
from agentprm.formats._node import NO_TIME

__all__ = ["last_error", "play"]

_KINDS = ("human", "ai", "system", "tool", "function", "chat", "remove")
_COMMAND = {"update", "goto"}
_OURS = ("LANGSMITH_", "LANGCHAIN_", "revision_id")
"""Metadata that the tracer adds about itself."""
_RAISED = re.compile(r"([A-Za-z_]\w*)\((.*)\)", re.DOTALL)
_STOPPED: dict[str, type[BaseException]] = {
    "CancelledError": CancelledError, "GeneratorExit": GeneratorExit, "KeyboardInterrupt": KeyboardInterrupt,
}  # fmt: skip
_message: TypeAdapter[BaseMessage] = TypeAdapter(AnyMessage)


def play(root: Run, handler: Any) -> None:
    """Tell a callback handler what happened, as it happened; raises InvalidFormat for what cannot be told."""
    for _, tell, run in sorted(_moments(root), key=lambda moment: moment[0]):
        try:
            tell(handler, run)
        except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError) as error:
            what = " ".join(str(error).split())[:120]
            raise run.node.refused(f"a {run.kind} run as LangChain traces it ({what})") from error


def _moments(root: Run) -> list[tuple[tuple[int, int], Callable[[Any, Run], None], Run]]:
    """Return starts and ends with their places in time."""
    begins: dict[UUID, int] = {}
    ends: dict[UUID, int] = {}
    _schedule(root, 0, begins, ends)
    order = {run.id: i for i, run in enumerate(root.tree())}
    starts = [((begins[run.id], order[run.id]), _tell_start, run) for run in root.tree()]
    return starts + [((ends[run.id], -order[run.id]), _tell_end, run) for run in root.tree() if run.ended]


def _schedule(run: Run, floor: int, begins: dict[UUID, int], ends: dict[UUID, int]) -> int:
    """Note when a run and all inside of it began and ended, in nanoseconds from 1970; return its end.

    A run lies within its parent, and behind the siblings that had ended when it began, however coarse clocks are.
    """
    begins[run.id] = begin = max(_nanoseconds(run.began), floor)
    latest, done = begin, list[tuple[datetime, int]]()
    for child in sorted(run.children, key=lambda child: (child.began, child.order)):
        before = [end for ended, end in done if ended <= child.began]
        end = _schedule(child, max(begin, *before, 0) + 1, begins, ends)
        done += [(child.ended, end)] if child.ended else []
        latest = max(latest, end)
    ends[run.id] = max(latest + 1, _nanoseconds(run.ended) if run.ended else 0)
    return ends[run.id]


def _nanoseconds(moment: datetime) -> int:
    return (moment - NO_TIME) // timedelta(microseconds=1) * 1000


def _tell_start(handler: Any, run: Run) -> None:
    inputs = run.node.value.get("inputs") or {}
    about: dict[str, Any] = {"run_id": run.id, "parent_run_id": run.parent_id, "metadata": _metadata(run)}
    about["tags"] = run.node.value.get("tags") or []
    if run.kind == "llm":
        about["invocation_params"] = run.extra.get("invocation_params") or {}
        prompts = inputs.get("prompts") or ([inputs["prompt"]] if isinstance(inputs.get("prompt"), str) else None)
        if prompts:
            handler.on_llm_start({}, prompts, **about)
        else:
            handler.on_chat_model_start({}, [_asked(inputs)], **about)
    elif run.kind == "tool":
        call_id = run.extra.get("tool_call_id")
        handler.on_tool_start({"name": run.name}, str(inputs), inputs=inputs, tool_call_id=call_id, **about)
    elif run.kind == "retriever":
        handler.on_retriever_start({}, str(inputs), **about)
    else:
        handler.on_chain_start({}, _alive(inputs), name=run.name, **about)


def _metadata(run: Run) -> dict[str, Any]:
    """Return what the program said of a run, without what the tracer adds: about itself, and a model's parameters."""
    params = run.extra.get("invocation_params") or {}
    given = (run.extra.get("metadata") or {}).items()
    return {key: value for key, value in given if not key.startswith(_OURS) and key not in params}


def _tell_end(handler: Any, run: Run) -> None:
    outputs, error = run.node.value.get("outputs") or {}, last_error(run.node.value.get("error"))
    word = run.kind if run.kind in ("llm", "tool", "retriever") else "chain"
    if error is not None:
        getattr(handler, f"on_{word}_error")(error, run_id=run.id)
    elif word == "llm":
        handler.on_llm_end(_answered(outputs), run_id=run.id)
    else:
        is_wrapped = isinstance(outputs, dict) and list(outputs) == ["output"]
        getattr(handler, f"on_{word}_end")(_alive(outputs["output"] if is_wrapped else outputs), run_id=run.id)


def last_error(told: Any) -> BaseException | None:
    """Return the exception that a run's ``error`` tells of, by its name; None for none.

    >>> last_error("ValueError('boom')Traceback ...")
    ValueError('boom')
    """
    if not told:
        return None
    head = str(told).partition("Traceback (most recent")[0].strip().splitlines()
    match = _RAISED.match(head[0] if head else "")
    name, given = (match[1], match[2]) if match else ("Exception", str(told))
    if name in _STOPPED:
        return _STOPPED[name]()
    base = type("GraphBubbleUp", (Exception,), {}) if name in ("GraphInterrupt", "NodeInterrupt") else Exception
    error: BaseException = type(name, (base,), {})(_first_argument(given))
    return error


def _first_argument(given: str) -> str:
    try:
        value = ast.literal_eval(f"({given},)") if given else ("",)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return given
    return str(value[0]) if value else ""


def _asked(inputs: Mapping[str, Any]) -> list[BaseMessage]:
    given = inputs.get("messages") or inputs.get("input") or []
    nested = isinstance(given, list) and len(given) == 1 and isinstance(given[0], list)
    return _messages(given[0] if nested else given)


def _messages(given: Any) -> list[BaseMessage]:
    listed = [given] if isinstance(given, (str, dict)) else given
    return [m if isinstance(m, BaseMessage) else convert_to_messages([m])[0] for m in map(_alive, listed)]


def _answered(outputs: Mapping[str, Any]) -> LLMResult:
    """Return a model's answer, in LangChain's form, OpenAI's, or as one message."""
    generations = outputs.get("generations")
    if generations:
        first = generations[0][0] if isinstance(generations[0], list) else generations[0]
        given, text = first.get("message"), first.get("text", "")
    else:
        choices = outputs.get("choices")
        given, text = choices[0].get("message") if choices else outputs.get("message") or outputs, ""
        given = given if isinstance(given, dict) and ("role" in given or "type" in given or "lc" in given) else None
        text = "" if given else _only_text(outputs)
    if given is None:
        return LLMResult(generations=[[Generation(text=text)]])
    return LLMResult(generations=[[ChatGeneration(message=_messages([given])[0])]])


def _only_text(outputs: Mapping[str, Any]) -> str:
    texts = [value for value in outputs.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 else ""


def _alive(value: Any) -> Any:
    """Return a JSON value with its messages and commands as LangChain's own objects; everything else as it is."""
    if isinstance(value, list):
        return [_alive(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("lc") == 1 and isinstance(value.get("kwargs"), dict):
        return _alive(value["kwargs"])
    if value.get("type") in _KINDS and "content" in value:
        return _message.validate_python({key: item for key, item in value.items() if item is not None})
    inside = {key: _alive(item) for key, item in value.items()}
    if value.keys() >= _COMMAND and value.keys() <= _COMMAND | {"graph", "resume"}:
        return SimpleNamespace(**{"resume": None, **inside})
    return inside
