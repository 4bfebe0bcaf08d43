"""ProcessBench (2412.06559): solutions as lists of steps, and the index of the first wrong one, -1 for none.

Steps before the first wrong one are right, 1.0; that one is 0.0; nobody judged what follows. Read only: write `trl`
instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.types import Action, Ending, Observation, Scores, Spec, Step, Task, Trajectory

__all__ = ["SIGNATURES", "read"]

SIGNATURES = ({"problem", "steps", "label", "final_answer_correct"},)
_SOURCE = Spec("processbench", {"by": "human"})


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield each solution, then its labels; the outcome is ``final_answer_correct``; raises InvalidFormat."""
    return read_each(source, _items, on_bad)


def _items(record: Node) -> Iterator[Item]:
    line, problem = record.as_object(), record["problem"].as_text()
    texts = [step.as_text() for step in record["steps"].as_list()]
    steps = tuple(Step(Observation("" if t else problem), Action(text)) for t, text in enumerate(texts))
    outcome = float(record["final_answer_correct"].as_flag())
    named = {key: record[key].as_text() if key in line else None for key in ("id", "generator")}
    key = derived_id("processbench", line)
    yield Trajectory(
        key, Task(problem), steps, Observation(), Ending("completed", outcome=outcome, ended_at=NO_TIME),
        named["id"], policy=named["generator"], group=None, started_at=NO_TIME,
    )  # fmt: skip
    yield Scores(key, _SOURCE, "correctness", _until_wrong(record["label"], len(texts)))


def _until_wrong(label: Node, n: int) -> tuple[float, ...]:
    first = label.as_whole()
    if not -1 <= first < n:
        raise label.refused(f"-1, or the index of one of {n} steps")
    return (1.0,) * n if first < 0 else (1.0,) * first + (0.0,)
