"""ATIF, the Agent Trajectory Interchange Format of Harbor: versions 1.0 to 1.8 are read, 1.8 is written.

A step of ours is one of ``source: agent``; what system and user say is `meta` and observations. Subagents that are
embedded become trajectories of their own, forked at the call whose result refers to them. What ATIF has no place for
stands under ``extra.agentprm`` of the root, so that what was written is read back equal. Steps copied from another
trajectory (``is_copied_context``) are kept, and say so in their `info`: leave them out of training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentprm.errors import InvalidFormat
from agentprm.formats._conversation import conversation
from agentprm.formats._exact import is_plain
from agentprm.formats._messages import LEFT_OVER, call_id, decision, opening, result, said
from agentprm.formats._namespace import KEY, restored_items, signed
from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.formats._target import Target, write_each
from agentprm.text.describe import describe
from agentprm.types import Ending, Fork, Scores, Step, Task, ToolCall, Trajectory

__all__ = ["SIGNATURES", "read", "write"]

SIGNATURES = ({"schema_version", "agent", "steps"},)
_VERSION = "ATIF-v1.8"
_OWN = "atif"
"""Under this key of `meta`, and of a step's `info`, stands what ATIF has and we have not."""
_STEP_OWN = ("timestamp", "reasoning_effort", "metrics", "is_copied_context", "llm_call_count", "extra")
_ROOT_OWN = ("session_id", "agent", "notes", "continued_trajectory_ref", "final_metrics")
_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield each trajectory, its scores, then the subagents embedded in it; raises InvalidFormat."""
    return read_each(source, _items, on_bad)


def _items(record: Node) -> Iterator[Item]:
    extra = record.get("extra")
    whole, *scores = restored_items(record, _trajectory(record), extra.get(KEY) if extra else None)
    assert isinstance(whole, Trajectory), "a trajectory stands before its scores"
    yield from (whole, *scores)
    inner = record.get("subagent_trajectories")
    for node in inner.as_list() if inner else ():
        first, *rest = _items(node)
        assert isinstance(first, Trajectory), "a trajectory stands before its scores"
        yield first if first.parent else replace(first, parent=_fork(record, whole, node))
        yield from rest


def _fork(record: Node, outer: Trajectory, inner: Node) -> Fork:
    """Return the call whose result refers to a subagent; the first step where none does."""
    wanted = inner.value.get("trajectory_id")
    agents = (step for step in record["steps"].as_list() if step.value.get("source") == "agent")
    for t, step in enumerate(agents):
        for told in _results(step):
            refs = told.get("subagent_trajectory_ref")
            if refs and any(ref.as_object().get("trajectory_id") == wanted for ref in refs.as_list()):
                call = told.get("source_call_id")
                return Fork(outer.id, t, call.as_text() if call else None)
    return Fork(outer.id, 0)


def _trajectory(record: Node) -> Trajectory:
    version, agent, steps = record["schema_version"].as_text(), record["agent"], record["steps"].as_list()
    if not version.startswith("ATIF-v1."):
        raise record["schema_version"].refused("ATIF-v1.0 to ATIF-v1.8")
    talk = conversation(Node([m for s in steps for m in _messages(s)], record.file, record.line, "steps as messages"))
    agents = [step for step in steps if step.value["source"] == "agent"]
    times = [at.as_moment() for step in steps if (at := step.get("timestamp"))] or [NO_TIME]
    tools, names = agent.get("tool_definitions"), [record.get(key) for key in ("trajectory_id", "session_id")]
    meta = {key: value for key, value in talk.meta.items() if key != LEFT_OVER}
    meta |= {"tools": tools.value} if tools else {}
    status: Any = "completed" if talk.is_complete else "incomplete"
    line = {key: value for key, value in record.as_object().items() if key != "extra"}
    return Trajectory(
        derived_id("atif", line), Task(talk.task),
        tuple(_step(ours, theirs) for ours, theirs in zip(talk.steps, agents, strict=True)), talk.last,
        Ending(status, ended_at=times[-1]), next((n.as_text() for n in names if n), None),
        policy=agent["name"].as_text(), started_at=times[0], meta=meta | _kept(record),
    )  # fmt: skip


def _kept(record: Node) -> dict[str, Any]:
    kept = {key: record.value[key] for key in _ROOT_OWN if record.value.get(key) is not None}
    given = record.get("extra")
    extra = {k: v for k, v in given.as_object().items() if k != KEY} if given else {}
    return {_OWN: kept | ({"extra": extra} if extra else {})}


def _step(ours: Step, theirs: Node) -> Step:
    model, metrics, copied = theirs.get("model_name"), theirs.get("metrics"), theirs.get("is_copied_context")
    info: dict[str, Any] = {"model": model.as_text()} if model else {}
    if metrics and (tokens := _tokens(metrics)):
        info["tokens"] = tokens
    if copied and copied.as_flag():
        info["is_copied_context"] = True
    own = {key: theirs.value[key] for key in _STEP_OWN if theirs.value.get(key) is not None}
    return replace(ours, info=info | ({_OWN: own} if own else {}))


def _tokens(metrics: Node) -> dict[str, int]:
    named = {"input": metrics.get("prompt_tokens"), "output": metrics.get("completion_tokens")}
    return {key: node.as_whole() for key, node in named.items() if node}


def _messages(step: Node) -> Iterator[dict[str, Any]]:
    """Yield a step as OpenAI messages; which is what they are, under other names."""
    role, content = step["source"].one_of("system", "user", "agent"), _parts(step["message"])
    if role != "agent":
        yield {"role": role, "content": content}
        return
    thought, calls = step.get("reasoning_content"), step.get("tool_calls")
    yield {
        "role": "assistant",
        "content": content,
        "reasoning_content": thought.as_text() if thought else None,
        "tool_calls": [_call(call) for call in calls.as_list()] if calls else None,
    }
    for told in _results(step):
        key, content = told.get("source_call_id"), told.get("content")
        words = "" if content is None else _parts(content)
        yield {"role": "tool" if key else "user", "tool_call_id": key.as_text() if key else None, "content": words}


def _results(step: Node) -> Sequence[Node]:
    seen = step.get("observation")
    return seen["results"].as_list() if seen else ()


def _call(call: Node) -> dict[str, Any]:
    function = {"name": call["function_name"].as_text(), "arguments": call["arguments"].as_object()}
    return {"id": call["tool_call_id"].as_text(), "type": "function", "function": function}


def _parts(message: Node) -> Any:
    """Return a message's content as OpenAI has it; a picture that lies in a file stays a reference."""
    if isinstance(message.value, str):
        return message.value
    return [_part(part) for part in message.as_list()]


def _part(part: Node) -> dict[str, Any]:
    kind = part["type"].one_of("text", "image", "audio")
    if kind == "text":
        return {"type": "text", "text": part["text"].as_text()}
    path = part["source"]["path"].as_text()
    return {"type": "image_url", "image_url": {"url": path}} if kind == "image" else {"type": "audio", "path": path}


def write(target: Target, items: Iterable[Item]) -> int:
    """Write each trajectory as one line of ATIF 1.8, its scores with it; return how many.

    Raises InvalidTrajectory for a value that has no exact form.

    >>> import io, json
    >>> from agentprm.testing.trajectories import episode
    >>> file = io.BytesIO()
    >>> write(file, [episode(("a door", "open it"))])
    1
    >>> [(step["step_id"], step["source"]) for step in json.loads(file.getvalue())["steps"]]
    [(1, 'user'), (2, 'agent')]
    """
    return write_each(target, items, _record)


def _record(trajectory: Trajectory, scores: list[Scores]) -> dict[str, Any]:
    root = _root(trajectory, [*_written_steps(trajectory)])
    try:
        read_back = _trajectory(Node(root))
    except InvalidFormat:  # what it saw looks like messages and is none
        root = _root(trajectory, [])
        read_back = _trajectory(Node(root))
    extra = root.pop("extra", {}) | ({KEY: beside} if (beside := signed(read_back, trajectory, scores)) else {})
    return root | ({"extra": extra} if extra else {})


def _root(trajectory: Trajectory, steps: list[dict[str, Any]]) -> dict[str, Any]:
    kept = trajectory.meta.get(_OWN)
    own = dict(kept) if isinstance(kept, Mapping) and is_plain(kept) else {}
    agent = own.pop("agent", None) or {"name": trajectory.policy or "unknown", "version": "unknown"}
    tools = trajectory.meta.get("tools")
    if isinstance(tools, list) and is_plain(tools):
        agent = {**agent, "tool_definitions": tools}
    numbered = [{"step_id": i, **step} for i, step in enumerate(steps, 1)]
    named = {"schema_version": _VERSION, "trajectory_id": str(trajectory.id)}
    return {**named, "agent": agent, "steps": numbered, **own}


def _written_steps(trajectory: Trajectory) -> Iterator[dict[str, Any]]:
    system = trajectory.meta.get("system")
    if system is not None:
        yield {"source": "system", "message": describe(system)}
    for t, step in enumerate(trajectory.steps):
        yield from _seen(said(opening(trajectory) if t == 0 else step.observation))
        yield _agent_step(step, t)
    yield from _seen(said(trajectory.last if trajectory.steps else opening(trajectory)))


def _seen(messages: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message["content"]
        parts = [_written_part(p) for p in content] if isinstance(content, list) else content or ""
        yield {"source": "user", "message": [p for p in parts if p] if isinstance(parts, list) else parts}


def _written_part(part: Any) -> dict[str, Any] | None:
    """Return a part of a message; None for what ATIF has no place for."""
    link = part.get("image_url") if isinstance(part, dict) else None
    url = link.get("url") if isinstance(link, dict) else None
    kind = url[5:].partition(";")[0] if isinstance(url, str) and url.startswith("data:") else None
    if kind in _PICTURES:
        return {"type": "image", "source": {"media_type": kind, "path": url}}
    text = part.get("text") if isinstance(part, dict) else None
    return {"type": "text", "text": text} if isinstance(text, str) else None


def _agent_step(step: Step, t: int) -> dict[str, Any]:
    message = decision(step.action, t)
    made: dict[str, Any] = {"source": "agent", "message": message["content"] or ""}
    if isinstance(model := step.info.get("model"), str):
        made["model_name"] = model
    if not step.action.tool_calls:
        made |= {"reasoning_content": step.action.plan} if step.action.plan else {}
    else:
        made["tool_calls"] = [_written_call(call, t, i) for i, call in enumerate(step.action.tool_calls)]
        told = [(call, result(call, t, i)) for i, call in enumerate(step.action.tool_calls)]
        results = [_told(m) for call, m in told if call.status != "pending"]
        made |= {"observation": {"results": results}} if results else {}
    own = step.info.get(_OWN)
    return made | (dict(own) if isinstance(own, Mapping) and is_plain(own) else {})


def _written_call(call: ToolCall, t: int, i: int) -> dict[str, Any]:
    is_object = isinstance(call.arguments, dict) and is_plain(call.arguments)
    arguments = call.arguments if is_object else {"raw": describe(call.arguments)}
    return {"tool_call_id": call_id(call, t, i), "function_name": call.name, "arguments": arguments}


def _told(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message["content"]
    words = content if isinstance(content, str) else describe(content)
    return {"source_call_id": message["tool_call_id"], "content": words}
