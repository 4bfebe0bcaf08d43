"""OpenAI chat messages with tools, one conversation per line: ``{"messages": [...], "tools": [...], ...}``.

A step is one assistant message and what its tool calls gave back; see `agentprm.formats._conversation`. Further keys of
a line are the trajectory's `meta`. What messages have no place for (ids, rewards, outcomes, scores) is written under
the one key ``agentprm``, so that what was written is read back equal; foreign lines come back as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentprm.errors import InvalidFormat
from agentprm.formats._conversation import Conversation, conversation
from agentprm.formats._exact import is_plain
from agentprm.formats._messages import LEFT_OVER, left_over, messages, restored
from agentprm.formats._namespace import KEY, restored_items, signed
from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.formats._target import Target, write_each
from agentprm.types import Ending, Scores, Task, Trajectory

__all__ = ["SIGNATURES", "read", "write"]

SIGNATURES = ({"messages"},)
_LINE = "line"


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield the conversations of a file, and the scores that travel with them; raises InvalidFormat."""
    return read_each(source, _items, on_bad)


def _items(record: Node) -> list[Item]:
    return restored_items(record, _trajectory(record), record.get(KEY))


def _trajectory(record: Node) -> Trajectory:
    """Return one line as a trajectory; the same line is the same trajectory, id and all."""
    line = {key: value for key, value in record.as_object().items() if key != KEY}
    talk = conversation(record["messages"])
    meta = {key: value for key, value in line.items() if key not in ("messages", LEFT_OVER)} | talk.meta
    named = {key: line[key] if isinstance(line.get(key), str) else None for key in ("id", "model")}
    trajectory = Trajectory(
        derived_id("openai_messages", line), Task(talk.task), talk.steps, talk.last, _ending(talk),
        external_id=named["id"], policy=named["model"], started_at=NO_TIME, meta=meta,
    )  # fmt: skip
    return _kept(trajectory, line)


def _ending(talk: Conversation) -> Ending:
    """Return how a conversation out of a file ended: it is over, and complete if every call was answered."""
    return Ending("completed" if talk.is_complete else "incomplete", ended_at=NO_TIME)


def _kept(trajectory: Trajectory, line: dict[str, Any]) -> Trajectory:
    """Return a trajectory that keeps what it would not give back of its line: odd orders, keys we use ourselves."""
    rest = left_over(line, _line(trajectory))
    if not rest:
        return trajectory
    left = {**trajectory.meta.get(LEFT_OVER, {}), _LINE: rest}
    return trajectory._with(meta={**trajectory.meta, LEFT_OVER: left})


def write(target: Target, items: Iterable[Item], *, bare: bool = False) -> int:
    """Write each trajectory as a conversation, its scores with it; return how many.

    With `bare` a line holds messages and tools and nothing else, as fine-tuning services want it; what is read back
    from that is no longer equal. Raises InvalidTrajectory for a value that has no exact form.

    >>> import io, json
    >>> from agentprm.testing.trajectories import episode
    >>> file = io.BytesIO()
    >>> write(file, [episode(("a door", "open it"))], bare=True)
    1
    >>> [message["role"] for message in json.loads(file.getvalue())["messages"]]
    ['user', 'assistant']
    """
    return write_each(target, items, _bare if bare else _record)


def _bare(trajectory: Trajectory, _scores: list[Scores]) -> dict[str, Any]:
    line = _line(trajectory)
    return {key: line[key] for key in ("messages", "tools") if key in line}


def _record(trajectory: Trajectory, scores: list[Scores]) -> dict[str, Any]:
    line = _line(trajectory)
    try:
        read_back = _trajectory(Node(line))
    except InvalidFormat:  # what it saw looks like messages and is none
        line = {"messages": []}
        read_back = _trajectory(Node(line))
    beside = signed(read_back, trajectory, scores)
    return line | ({KEY: beside} if beside else {})


def _wrapped(tool: Any) -> Any:
    """Return a tool's schema as OpenAI wraps it; recorders keep what is inside."""
    is_bare = isinstance(tool, dict) and isinstance(tool.get("name"), str) and "type" not in tool
    return {"type": "function", "function": tool} if is_bare else tool


def _line(trajectory: Trajectory) -> dict[str, Any]:
    own = ("messages", "system", LEFT_OVER, KEY)
    meta = {k: v for k, v in trajectory.meta.items() if isinstance(k, str) and k not in own and is_plain(v)}
    if isinstance(meta.get("tools"), list):
        meta["tools"] = [_wrapped(tool) for tool in meta["tools"]]
    left = trajectory.meta.get(LEFT_OVER)
    rest = left.get(_LINE) if isinstance(left, Mapping) else None
    return restored({"messages": messages(trajectory), **meta}, rest)
