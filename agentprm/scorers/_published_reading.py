"""A trajectory as the solution of a question: what a published model reads of it, and which steps it cannot read."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentprm.scorers._published_texts import Wording
from agentprm.text.describe import action_text
from agentprm.text.render import obstacles
from agentprm.text.windows import Window
from agentprm.types import Action, Trajectory
from agentprm.values import clean_text

__all__ = ["Solutions"]


class Solutions(NamedTuple):
    """How one kind of published model reads: its wording, and what no text may spell."""

    wording: Wording
    signs: re.Pattern[str]

    @classmethod
    def of(cls, wording: Wording, tokenizer: Any) -> Solutions:
        """Return the reading of a wording; no text may spell a special token of the tokenizer, or the tag."""
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        tags = {wording.tag} if wording.tag else set()
        return cls(wording, re.compile("|".join(map(re.escape, sorted(special | tags, reverse=True))) or r"(?!)"))

    def read(self, trajectory: Trajectory, context: int | None) -> tuple[Window, list[str | None]]:
        """Return the tokens that are read of a trajectory, and for each step why it cannot be read, or None.

        None as `context` reads all.
        """
        question = clean_text(trajectory.task.text)
        steps = [clean_text(_words(step.action)) for step in trajectory.steps]
        notes = self._obstacles(trajectory, question, steps)
        kept = [t for t, note in enumerate(notes) if note is None]
        if not kept:
            return Window(array("i"), (), 0), notes
        ids, places = self.wording.words(question, [steps[t] for t in kept])
        ends = []
        for t, end in zip(kept, places, strict=True):
            if end is None:
                notes[t] = f"the sign after step {t} is no token of its own in this tokenizer"
            elif context is not None and end >= context:
                notes[t] = f"the solution has {end + 1} tokens up to step {t}, and this model reads {context}"
            else:
                ends.append(end)
        return Window(ids[: ends[-1] + 1 if ends else 0], tuple(ends), 0), notes

    def _obstacles(self, trajectory: Trajectory, question: str, steps: Sequence[str]) -> list[str | None]:
        notes = obstacles(trajectory, "action")
        spelled = self._sign("the question", question)
        for t, text in enumerate(steps):
            spelled = spelled or self._sign(f"step {t}", text)
            notes[t] = notes[t] or spelled or (None if text.strip() else f"step {t} has no words")
        return notes

    def _sign(self, where: str, text: str) -> str | None:
        found = self.signs.search(text)
        return f"{where} spells {found.group()!r}, which is a sign of this model's own" if found else None


def _words(action: Action) -> str:
    return "\n".join(filter(None, (action.plan, action_text(action))))
