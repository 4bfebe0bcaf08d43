"""Math-Shepherd (Wang et al. 2023): ``input`` with a tag ки after every step, ``label`` the same with + and - instead.

The first step is glued to the question; it begins at ``Step 1:``. Read only: write `trl` instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentprm.formats._node import NO_TIME, Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.types import Action, Ending, Observation, Scores, Spec, Step, Task, Trajectory

__all__ = ["SIGNATURES", "read"]

SIGNATURES = ({"input", "label", "task"},)
_TAG, _FIRST = "ки", "Step 1:"
_SIGNS = {"+": 1.0, "-": 0.0}
_SOURCE = Spec("math_shepherd")


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield each solution, then its labels: correctness 1 or 0, from Monte-Carlo rollouts; raises InvalidFormat.

    A row whose two columns do not fit together, of which the released file has some, is wrong and named.
    """
    return read_each(source, _items, on_bad)


def _items(record: Node) -> Iterator[Item]:
    line, given = record.as_object(), record["input"]
    *tagged, rest = given.as_text().split(_TAG)
    if not tagged or _FIRST not in tagged[0]:
        raise given.refused(f"a question, {_FIRST!r}, and {_TAG} after every step")
    question, _, first = tagged[0].partition(_FIRST)
    texts = [f"{_FIRST}{first}".strip(), *(text.strip() for text in tagged[1:])]
    steps = tuple(Step(Observation("" if t else question.strip()), Action(text)) for t, text in enumerate(texts))
    key = derived_id("math_shepherd", line)
    meta = {"task": record["task"].as_text()} | ({"rest": rest.strip()} if rest.strip() else {})
    ending = Ending("completed", ended_at=NO_TIME)
    yield Trajectory(key, Task(question.strip()), steps, Observation(), ending, started_at=NO_TIME, meta=meta)
    yield Scores(key, _SOURCE, "correctness", tuple(_signs(record["label"], tagged)))


def _signs(label: Node, tagged: list[str]) -> Iterator[float]:
    """Yield the sign after each step, which the label repeats word for word."""
    text, at = label.as_text(), 0
    for t, step in enumerate(tagged):
        at += len(step)
        sign = text[at : at + 1]
        if not text.startswith(step, at - len(step)) or sign not in _SIGNS:
            raise label.refused(f"the words of the input with + or - after step {t + 1}")
        yield _SIGNS[sign]
        at += 1
