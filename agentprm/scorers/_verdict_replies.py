"""Answers by their question: what was asked before is looked up, everything else is asked once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import islice

from agentprm.scorers._verdict import Judge, Question, Verdict

__all__ = ["Replies"]

_MOST_KEPT = 16_384
"""Replies held in memory, where no other place is given."""


@dataclass(frozen=True)
class Replies:
    """Asks a judge, in waves, and keeps each wave's answers before the next: no more is lost to Ctrl-C."""

    judge: Judge
    kept: MutableMapping[str, str]
    rules: str
    """Whatever else an answer depends on."""
    wave: int
    """Questions at once."""
    is_bounded: bool

    def __call__(self, questions: Iterable[Question]) -> dict[str, Verdict]:
        """Return what was said, by `key`; raises the first error there was, when the answers beside it are kept."""
        wanted = {self.key(question): question for question in questions}
        said = {key: Verdict.from_json(text) for key in wanted if (text := self.kept.get(key)) is not None}
        for keys in _waves([key for key in wanted if key not in said], self.wave):
            answers = self.judge.ask([wanted[key] for key in keys])
            good = {key: a for key, a in zip(keys, answers, strict=True) if isinstance(a, Verdict)}
            self._keep(good)
            said |= good
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        return said

    def key(self, question: Question) -> str:
        """Return the name of a question: judge, settings, words, form and vote."""
        form = question.form and question.form.name
        text = json.dumps([self.judge.identity, self.rules, form, question.system, question.user, question.vote])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _keep(self, said: Mapping[str, Verdict]) -> None:
        for key, verdict in said.items():
            self.kept[key] = verdict.to_json()
        # The oldest go; others may be at work on the same mapping.
        for key in list(self.kept)[:-_MOST_KEPT] if self.is_bounded else ():
            self.kept.pop(key, None)


def _waves(keys: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while wave := list(islice(rest, size)):
        yield wave
