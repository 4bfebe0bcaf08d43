"""TRL's stepwise supervision: ``{"prompt": str, "completions": [str], "labels": [bool]}``, also read by axolotl.

A completion is a step. Where a step saw something (agents do, mathematics does not), that stands before its action in
the same completion, for the format has one kind of text only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agentprm.errors import InvalidScores
from agentprm.formats._messages import opening
from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.formats._target import Target, paired, writing
from agentprm.text.describe import action_text, describe, observation_text
from agentprm.types import Action, Ending, Observation, Scores, Spec, Step, Task, Trajectory

__all__ = ["SIGNATURES", "read", "write"]

SIGNATURES = ({"prompt", "completions", "labels"},)
_SOURCE = Spec("trl")


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield each row as a trajectory, then its labels as correctness: 1.0, 0.0, or the number; raises InvalidFormat."""
    return read_each(source, _items, on_bad)


def _items(record: Node) -> Iterator[Item]:
    prompt, texts, labels = record["prompt"].as_text(), record["completions"].as_list(), record["labels"].as_list()
    if len(labels) != len(texts):
        raise record["labels"].refused(f"{len(texts)} labels, one per completion, not {len(labels)}:")
    steps = tuple(Step(Observation("" if t else prompt), Action(text.as_text())) for t, text in enumerate(texts))
    key = derived_id("trl", record.as_object())
    ending = Ending("completed", ended_at=NO_TIME)
    last = Observation("" if steps else prompt)
    yield Trajectory(key, Task(prompt), steps, last, ending, started_at=NO_TIME)
    yield Scores(key, _SOURCE, "correctness", tuple(_number(label) for label in labels))


def _number(label: Node) -> float:
    return float(label.as_flag()) if isinstance(label.value, bool) else label.as_number()


def write(target: Target, items: Iterable[Item], *, source: str | None = None, soft: bool = False) -> int:
    r"""Write labelled trajectories; return how many.

    A label is whether the score is at least 0.5. With `soft` it is the score itself, which TRL cuts down to 0. A step
    without one is joined to the next that has one, and left out at the end. `source` says whose scores where there are
    several. Raises InvalidScores where none are, or several.

    >>> import io
    >>> from agentprm.testing.trajectories import episode
    >>> t = episode(("a door", "open it"), task="leave")
    >>> file = io.BytesIO()
    >>> write(file, [t, Scores(t.id, Spec("mine"), "value", (0.9,))])
    1
    >>> file.getvalue()
    b'{"prompt": "leave\\n\\na door", "completions": ["open it"], "labels": [true]}\n'
    """
    n = 0
    with writing(target) as put:
        for trajectory, scores in paired(items):
            for chosen in _chosen(scores, source):
                n += 1
                put(_row(trajectory, chosen, soft))
    return n


def _chosen(scores: list[Scores], source: str | None) -> list[Scores]:
    named = [s for s in scores if source in (None, s.source.name) and any(v is not None for v in s.values)]
    if len(named) > 1:
        whose = ", ".join(sorted({f"{s.source.name} ({s.source.digest[:8]})" for s in named}))
        raise InvalidScores(f"a row of TRL's has one label per step, and here are those of {whose}: name one as source")
    return named


def _row(trajectory: Trajectory, scores: Scores, soft: bool) -> dict[str, Any]:
    completions, labels, waiting = [], [], []
    values = dict(enumerate(scores.values, scores.start))
    for t, step in enumerate(trajectory.steps):
        waiting += [*(_seen(trajectory, t) if t else ()), step.action.plan, action_text(step.action)]
        value = values.get(t)
        if value is not None:
            completions.append("\n".join(filter(None, waiting)))
            labels.append(value if soft else value >= 0.5)
            waiting = []
    return {"prompt": observation_text(opening(trajectory)), "completions": completions, "labels": labels}


def _seen(trajectory: Trajectory, t: int) -> Iterator[str]:
    """Yield what stands between the label of a step, which belongs behind its action, and the next action."""
    calls = trajectory.steps[t - 1].action.tool_calls
    yield from (describe(call.output) for call in calls if call.output is not None)
    yield observation_text(trajectory.steps[t].observation)
