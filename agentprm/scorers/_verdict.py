"""What a judge is asked about a step, what it said, and what several said together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev
from typing import Literal, Protocol, TypeAlias

from agentprm.scorers._verdict_forms import Form

__all__ = ["Answer", "Combine", "Judge", "Question", "Verdict", "combined", "total"]

Combine: TypeAlias = Literal["mean", "majority"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is put to a judge: instructions, and the record that is to be judged."""

    system: str
    user: str
    form: Form | None
    """Of the verdict; None where words are asked for, and no verdict."""
    record: str = ""
    """The untrusted part of the text."""
    item: str = ""
    """Of a checklist."""
    vote: int = 0
    """Which of several askings of the same."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one reply said, and what it cost."""

    worth: float | None
    """In [0, 1]; None where the reply held no verdict."""
    note: str
    """The critique; where there is no verdict, why."""
    mass: float | None = None
    """How much chance the words of the form had, where chances were read."""
    tokens_in: float | None = None
    tokens_out: float | None = None
    seconds: float | None = None

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """Return what `to_json` wrote."""
        return cls(**json.loads(text))


class Judge(Protocol):
    """Whoever answers questions."""

    @property
    def identity(self) -> str:
        """What tells it from other judges: other weights, another name, other settings."""

    def ask(self, questions: Sequence[Question]) -> list[Verdict | BaseException]:
        """Return the answer to each, in order, or what went wrong with it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What several votes make together."""

    worth: float | None
    spread: float | None
    """Standard deviation of the votes; None where nobody has an opinion."""


def combined(votes: Sequence[Verdict], combine: Combine) -> Answer:
    """Return the mean of the votes, or what most of them say; of words equally frequent, the mean.

    >>> combined([Verdict(1.0, ""), Verdict(0.0, ""), Verdict(1.0, ""), Verdict(None, "")], "majority").worth
    1.0
    """
    given = [vote.worth for vote in votes if vote.worth is not None]
    if not given:
        return Answer(None, None)
    counts = Counter(given)
    most = [worth for worth, n in counts.items() if n == max(counts.values())]
    return Answer(fmean(given if combine == "mean" else most), pstdev(given))


def total(numbers: Iterable[float | None]) -> float | None:
    """Return the sum of what is known; None where nothing is."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
