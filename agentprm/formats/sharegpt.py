"""ShareGPT, as LLaMA-Factory reads it: ``{"conversations": [{"from": ..., "value": ...}], "system", "tools"}``.

``from`` is human, gpt, function_call or observation; a function_call holds ``{"name", "arguments"}`` as JSON, or a list
of such, and the observations behind it are their answers in order. What it has no place for (ids, plans beside calls,
rewards, scores) stands under the one key ``agentprm``, so that what was written is read back equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentprm.formats._conversation import conversation
from agentprm.formats._exact import is_plain
from agentprm.formats._messages import LEFT_OVER, decision, opening, result, shown
from agentprm.formats._namespace import KEY, restored_items, signed
from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.formats._target import Target, write_each
from agentprm.text.describe import describe
from agentprm.types import Ending, Observation, Scores, Step, Task, Trajectory

__all__ = ["SIGNATURES", "read", "write"]

SIGNATURES = ({"conversations"},)
_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "function_call": "call", "observation": "tool", "tool": "tool", "function_response": "tool",
}  # fmt: skip
_OWN = ("conversations", "system", "tools", KEY)


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield the conversations of a file, and the scores that travel with them; raises InvalidFormat."""
    return read_each(source, _items, on_bad)


def _items(record: Node) -> list[Item]:
    return restored_items(record, _trajectory(record), record.get(KEY))


def _trajectory(record: Node) -> Trajectory:
    line = {key: value for key, value in record.as_object().items() if key != KEY}
    given = record["conversations"]
    talk = conversation(Node([*_messages(given)], record.file, record.line, "conversations as messages"))
    system, tools = record.get("system"), record.get("tools")
    meta = {k: v for k, v in line.items() if k not in _OWN} | {k: v for k, v in talk.meta.items() if k != LEFT_OVER}
    meta |= {"system": system.as_text()} if system and system.as_text() else {}
    meta |= {"tools": _json_in(tools)} if tools and tools.value != "" else {}
    steps = tuple(Step(step.observation, step.action) for step in talk.steps)
    ending = Ending("completed" if talk.is_complete else "incomplete", ended_at=NO_TIME)
    key = derived_id("sharegpt", line)
    return Trajectory(key, Task(talk.task), steps, talk.last, ending, started_at=NO_TIME, meta=meta)


def _json_in(node: Node) -> Any:
    if not isinstance(node.value, str):
        return node.value
    try:
        return json.loads(node.value)
    except (ValueError, RecursionError) as error:
        raise node.refused("JSON in a text") from error


def _messages(given: Node) -> Iterator[dict[str, Any]]:
    """Yield OpenAI messages; an answer gets the id of the first call that still waits for one."""
    waiting: list[str] = []
    for i, turn in enumerate(given.as_list()):
        role, value = _ROLES[turn["from"].one_of(*_ROLES)], turn["value"]
        if role == "call":
            calls = [_call(call, f"call_{i}_{j}") for j, call in enumerate(_listed(value))]
            waiting = [call["id"] for call in calls]
            yield {"role": "assistant", "content": None, "tool_calls": calls}
        elif role == "tool" and waiting:
            yield {"role": "tool", "tool_call_id": waiting.pop(0), "content": value.as_text()}
        else:
            yield {"role": role, "content": value.as_text()}


def _listed(value: Node) -> list[Node]:
    called = value.child("as JSON", _json_in(value))
    return called.as_list() if isinstance(called.value, list) else [called]


def _call(call: Node, key: str) -> dict[str, Any]:
    arguments = call.get("arguments")
    function = {"name": call["name"].as_text(), "arguments": {} if arguments is None else arguments.value}
    return {"id": key, "type": "function", "function": function}


def write(target: Target, items: Iterable[Item]) -> int:
    """Write each trajectory as a conversation, its scores with it; return how many.

    Raises InvalidTrajectory for a value that has no exact form.

    >>> import io, json
    >>> from agentprm.testing.trajectories import episode
    >>> file = io.BytesIO()
    >>> write(file, [episode(("a door", "open it"), task="leave")])
    1
    >>> json.loads(file.getvalue())["conversations"][1]
    {'from': 'gpt', 'value': 'open it'}
    """
    return write_each(target, items, _record)


def _record(trajectory: Trajectory, scores: list[Scores]) -> dict[str, Any]:
    meta = {k: v for k, v in trajectory.meta.items() if isinstance(k, str) and k not in _OWN and is_plain(v)}
    system, tools = trajectory.meta.get("system"), trajectory.meta.get("tools")
    line: dict[str, Any] = {"conversations": [*_turns(trajectory)], **meta}
    line |= {} if system is None else {"system": describe(system)}
    if isinstance(tools, list) and is_plain(tools):
        line["tools"] = json.dumps([_bare(tool) for tool in tools], ensure_ascii=False)
    beside = signed(_trajectory(Node(line)), trajectory, scores)
    return line | ({KEY: beside} if beside else {})


def _bare(tool: Any) -> Any:
    inside = tool.get("function") if isinstance(tool, Mapping) else None
    return inside if isinstance(inside, Mapping) else tool


def _turns(trajectory: Trajectory) -> Iterator[dict[str, str]]:
    for t, step in enumerate(trajectory.steps):
        yield from _seen(opening(trajectory) if t == 0 else step.observation)
        yield from _decided(step, t)
    yield from _seen(trajectory.last if trajectory.steps else opening(trajectory))


def _seen(observation: Observation) -> Iterator[dict[str, str]]:
    if words := shown(observation):
        yield {"from": "human", "value": words}


def _decided(step: Step, t: int) -> Iterator[dict[str, str]]:
    calls = step.action.tool_calls
    if not calls:
        yield {"from": "gpt", "value": decision(step.action, t)["content"]}
        return
    asked = [{"name": call.name, "arguments": _object(call.arguments)} for call in calls]
    yield {"from": "function_call", "value": json.dumps(asked[0] if len(asked) == 1 else asked, ensure_ascii=False)}
    for i, call in enumerate(calls):
        content = "" if call.status == "pending" else result(call, t, i)["content"]
        yield {"from": "observation", "value": content if isinstance(content, str) else describe(content)}


def _object(arguments: Any) -> Any:
    return arguments if is_plain(arguments) else describe(arguments)
