"""AgentProcessBench (2603.14465): tool-using agents' conversations, with human labels -1, 0, +1 of every step.

A line holds OpenAI ``messages`` and ``tools``, and ``step_labels`` by the index of the assistant message. Episodes of
one question are one group; the outcome is ``final_label`` in [0, 1]. Read only: write `openai_messages` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from agentprm.formats._conversation import Conversation, conversation
from agentprm.formats._labels import Neutral, correctness, human
from agentprm.formats._messages import LEFT_OVER
from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.types import Ending, Task, Trajectory

__all__ = ["SIGNATURES", "read"]

SIGNATURES = ({"messages", "step_labels"},)
_ELSEWHERE = ("messages", "question", "step_labels", LEFT_OVER)


def read(source: Source, *, neutral: Neutral = "ternary", on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield each trajectory, then its labels: correctness, from a source of this name, with the part ``rating``.

    +1 is right and helps, -1 wrong or redundant, 0 reasonable without effect: 0.5, unless `neutral` says otherwise.
    Raises InvalidFormat.
    """
    return read_each(source, partial(_items, neutral=neutral), on_bad)


def _items(record: Node, neutral: Neutral) -> Iterator[Item]:
    talk = conversation(record["messages"])
    trajectory = _trajectory(record, talk)
    yield trajectory
    yield human(trajectory, _ratings(record["step_labels"], talk), dataset="agentprocessbench", neutral=neutral)


def _trajectory(record: Node, talk: Conversation) -> Trajectory:
    line, origin = record.as_object(), record["data_source"].as_text()
    question = record["question"].as_text()
    verdict = correctness(record.get("final_label"), "ternary")
    meta = {key: value for key, value in line.items() if key not in _ELSEWHERE} | talk.meta
    return Trajectory(
        derived_id("agentprocessbench", line), Task(question), talk.steps, talk.last,
        Ending("completed", outcome=verdict, ended_at=NO_TIME), _numbered(record, origin, "total_index"), origin,
        group=_numbered(record, origin, "query_index"), started_at=NO_TIME, meta=meta,
    )  # fmt: skip


def _numbered(record: Node, origin: str, key: str) -> str | None:
    number = record.get(key)
    return None if number is None else f"{origin}/{number.as_whole()}"


def _ratings(labels: Node, talk: Conversation) -> list[Node | None]:
    for key, value in labels.as_object().items():
        if not key.isdigit() or int(key) not in talk.places:
            raise labels.child(key, value).refused(
                f"a label of an assistant message, which are messages {list(talk.places)}"
            )
    return [labels.get(str(place)) for place in talk.places]
