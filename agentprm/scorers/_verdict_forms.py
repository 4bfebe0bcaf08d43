"""The forms of a verdict: the words that a judge chooses among, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentprm.types import Unit

__all__ = ["FORMS", "Form", "question", "schema"]


@dataclass(frozen=True, slots=True)
class Form:
    """Words to choose among, each with its worth in [0, 1], and what judges are known to write instead."""

    name: str
    worth: Mapping[str, float]
    """The words that are offered."""
    also: Mapping[str, float] = field(default_factory=dict)
    """Further words that are understood, in small letters."""

    @property
    def known(self) -> dict[str, float]:
        """Every word that is understood, in small letters, with its worth."""
        return {**{word.casefold(): worth for word, worth in self.worth.items()}, **self.also}

    @property
    def offer(self) -> str:
        """How the words are offered to the judge."""
        return "a number from 0 to 1" if self.name == "score" else "one of: " + " | ".join(self.worth)


_YES = dict.fromkeys(("ja", "correct", "richtig", "true"), 1.0)
_NO = dict.fromkeys(("nein", "incorrect", "falsch", "false"), 0.0)
_BETWEEN = dict.fromkeys(("in_progress", "in-progress", "in arbeit", "teilweise"), 0.5)
_TERNARY = {"1": 1.0, "correct": 1.0, "richtig": 1.0, "neutral": 0.5, "incorrect": 0.0, "falsch": 0.0}

FORMS = {
    form.name: form
    for form in (
        Form("ternary", {"+1": 1.0, "0": 0.5, "-1": 0.0}, _TERNARY),
        Form("binary", {"Yes": 1.0, "No": 0.0}, {**_YES, **_NO}),
        Form("checklist", {"Yes": 1.0, "In Progress": 0.5, "No": 0.0}, {**_YES, **_NO, **_BETWEEN}),
        Form("score", {f"{i / 10:.1f}": i / 10 for i in range(11)}),
    )
}

_QUESTIONS: dict[tuple[str, Unit], str] = {
    ("ternary", "correctness"): "Was the decision of the last turn right, by what the agent could know? "
    "+1: right, and of use for the task. 0: neither helps nor harms, such as looking around. -1: wrong, or harmful.",
    ("ternary", "value"): "After the last turn, will the task be done in the end? +1: likely. 0: open. -1: unlikely.",
    ("binary", "correctness"): "Was the decision of the last turn right, by what the agent could know?",
    ("binary", "value"): "After the last turn, will the task be done in the end?",
    ("score", "correctness"): "How likely is it that the decision of the last turn was right, "
    "by what the agent could know? 0: surely wrong. 1: surely right.",
    ("score", "value"): "After the last turn, how likely is it that the task will be done in the end?",
    ("checklist", "correctness"): "Does the decision of the last turn serve this item? Yes: it meets the item. "
    "In Progress: it is a step towards it. No: neither.",
    ("checklist", "value"): "After the last turn, is this item met? Yes: met. In Progress: on the way. No: neither.",
}


def question(form: Form, unit: Unit) -> str:
    """Return what the judge is asked about a step."""
    return _QUESTIONS[form.name, unit]


def schema(form: Form) -> dict[str, Any]:
    """Return the JSON schema of a reply: a critique first, so that the verdict follows from it."""
    verdict = {"type": "number"} if form.name == "score" else {"type": "string", "enum": list(form.worth)}
    fields = {"critique": {"type": "string", "description": "What is right or wrong, in a few sentences."}}
    return {
        "title": "judge",
        "description": "Give your critique and your verdict.",
        "type": "object",
        "properties": {**fields, "verdict": {**verdict, "description": f"Your verdict, {form.offer}."}},
        "required": ["critique", "verdict"],
    }
