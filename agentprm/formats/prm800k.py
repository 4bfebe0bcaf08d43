"""PRM800K (Lightman et al. 2023): solutions rated step by step, -1, 0 or 1.

The chosen path is a trajectory with all its ratings. A completion that was rated and not chosen is a trajectory of its
own, forked where it was offered, with a rating of its last step only: no step is labelled twice. Read only: write `trl`
instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from agentprm.formats._labels import Neutral, human
from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.types import Action, Ending, Fork, Observation, Step, Task, Trajectory

__all__ = ["SIGNATURES", "read"]

SIGNATURES = ({"question", "label", "labeler"},)
_META = ("labeler", "generation", "is_quality_control_question", "is_initial_screening_question")


def read(
    source: Source, *, neutral: Neutral = "positive", alternatives: bool = True, on_bad: OnBad | None = None
) -> Iterator[Item]:
    """Yield each solution, then its ratings; then, with `alternatives`, each completion not chosen, and its rating.

    A rating of 0 counts as right, as in the paper, unless `neutral` says otherwise (TRL's converter says negative).
    Raises InvalidFormat.
    """
    return read_each(source, partial(_items, neutral=neutral, alternatives=alternatives), on_bad)


def _items(record: Node, neutral: Neutral, alternatives: bool) -> Iterator[Item]:
    offered = record["label"]["steps"].as_list()
    path = [_chosen(step) for step in offered]
    n = next((t for t, (text, _) in enumerate(path) if text is None), len(path))
    whole = _trajectory(record, [text or "" for text, _ in path[:n]])
    yield whole
    yield human(whole, [rating for _, rating in path[:n]], dataset="prm800k", neutral=neutral)
    for t, step in enumerate(offered[: n + 1] if alternatives else ()):
        for i, other in _not_chosen(step):
            fork = _forked(whole, t, i, other["text"].as_text())
            yield fork
            yield human(fork, [other.get("rating")], dataset="prm800k", neutral=neutral, start=t)


def _chosen(step: Node) -> tuple[str | None, Node | None]:
    """Return text and rating of what was gone on with; no text where nothing was, no rating for a human's own."""
    chosen = step.get("chosen_completion")
    if chosen is None:
        written = step.get("human_completion")
        own = written["text"] if written and isinstance(written.value, dict) else written
        return (own.as_text() if own else None), None
    completions = step["completions"].as_list()
    if not 0 <= chosen.as_whole() < len(completions):
        raise chosen.refused(f"the index of one of {len(completions)} completions")
    completion = completions[chosen.as_whole()]
    return completion["text"].as_text(), completion.get("rating")


def _not_chosen(step: Node) -> Iterator[tuple[int, Node]]:
    completions, chosen = step.get("completions"), step.value.get("chosen_completion")
    for i, completion in enumerate(completions.as_list() if completions else ()):
        if i != chosen and completion.get("rating") is not None:
            yield i, completion


def _trajectory(record: Node, texts: Sequence[str]) -> Trajectory:
    question, line = record["question"], record.as_object()
    problem, finish, at = question["problem"].as_text(), record["label"].get("finish_reason"), record.get("timestamp")
    given = {key: value for key, value in question.as_object().items() if key.startswith("ground_truth")}
    meta: dict[str, Any] = {key: line[key] for key in _META if key in line} | given
    time = at.as_moment() if at else NO_TIME
    reason = finish.as_text() if finish else None
    ending = Ending("completed" if reason == "solution" else "incomplete", ended_at=time)
    return Trajectory(
        derived_id("prm800k", line), Task(problem), _steps(problem, texts), Observation(), ending,
        started_at=time, meta=meta | ({"finish_reason": reason} if reason else {}),
    )  # fmt: skip


def _steps(problem: str, texts: Sequence[str]) -> tuple[Step, ...]:
    return tuple(Step(Observation("" if t else problem), Action(text)) for t, text in enumerate(texts))


def _forked(whole: Trajectory, t: int, i: int, text: str) -> Trajectory:
    texts = [*(step.action.text for step in whole.steps[:t]), text]
    return replace(
        whole,
        id=derived_id(str(whole.id), t, i),
        steps=_steps(whole.task.text, texts),
        ending=Ending("incomplete", ended_at=whole.started_at),
        parent=Fork(whole.id, t, intervention={"completion": i}),
    )
