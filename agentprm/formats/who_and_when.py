"""Who&When (ICML 2025): logs of multi-agent failures, with the one step that decided it.

Every message of an agent in ``history`` is a step (``info["agent"]`` says whose); what the terminal prints is seen
next. ``mistake_step`` counts messages from 0: that step gets correctness 0.0, with the reason as its note; nobody
judged the others. Read only: write `jsonl` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agentprm.formats._conversation import text_of
from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.types import Action, Ending, Observation, Scores, Spec, Step, Task, Trajectory

__all__ = ["SIGNATURES", "read"]

SIGNATURES = ({"history", "mistake_step", "mistake_agent"},)
_SOURCE = Spec("who_and_when", {"by": "human"})
_TERMINALS = {"Computer_terminal"}
_META = ("mistake_agent", "mistake_step", "mistake_reason", "ground_truth", "level", "file", "labels", "system_prompt")


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield each log as a trajectory, then its label; raises InvalidFormat."""
    return read_each(source, _items, on_bad)


def _items(record: Node) -> Iterator[Item]:
    history = record["history"].as_list()
    spoken = [i for i, message in enumerate(history) if not _is_terminal(message)]
    trajectory = _trajectory(record, history, spoken)
    yield trajectory
    if (t := _mistake(record["mistake_step"], len(history), spoken)) is not None:
        reason = record.get("mistake_reason")
        notes = (reason.as_text(),) if reason else ()
        yield Scores(trajectory.id, _SOURCE, "correctness", (0.0,), t, notes=notes)


def _is_terminal(message: Node) -> bool:
    return _speaker(message) in _TERMINALS


def _speaker(message: Node) -> str:
    named = message.get("name") or message["role"]
    return named.as_text()


def _trajectory(record: Node, history: Sequence[Node], spoken: Sequence[int]) -> Trajectory:
    line = record.as_object()
    right, key = record.get("is_correct"), record.get("question_ID")
    outcome = None if right is None else float(right.as_flag())
    before = [0, *(i + 1 for i in spoken)]
    steps = tuple(_step(history[first:i], history[i]) for first, i in zip(before, spoken, strict=False))
    return Trajectory(
        derived_id("who_and_when", line), Task(record["question"].as_text()), steps, _seen(history[before[-1] :]),
        Ending("completed", outcome=outcome, ended_at=NO_TIME), key.as_text() if key else None,
        started_at=NO_TIME, meta={k: line[k] for k in _META if k in line},
    )  # fmt: skip


def _step(printed: Sequence[Node], message: Node) -> Step:
    return Step(_seen(printed), Action(text_of(message.get("content"))), info={"agent": _speaker(message)})


def _seen(printed: Sequence[Node]) -> Observation:
    return Observation("\n".join(text_of(message.get("content")) for message in printed))


def _mistake(place: Node, n: int, spoken: Sequence[int]) -> int | None:
    """Return the step that holds message `place`; what a terminal printed belongs to the step that made it print."""
    text = str(place.value)
    if not text.isdecimal() or int(text) >= n:
        raise place.refused(f"the index of one of {n} messages")
    return max((t for t, i in enumerate(spoken) if i <= int(text)), default=None)
