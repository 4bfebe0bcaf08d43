"""A verdict, weighed by the chance of each of its words instead of the one word that was written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, TypeAlias

from agentprm.scorers._verdict_forms import Form

__all__ = ["Missing", "chances_at", "weighed"]

Missing: TypeAlias = Literal["renormalise", "none"] | float
"""What becomes of chance that no word of the form has."""

_DECORATION = " \t\r\n*_`$\"'“”({[\\.,;:!Ġ▁"
_MINUS = str.maketrans("−–", "--")


def chances_at(content: Sequence[Mapping[str, Any]], at: int, form: Form) -> dict[str, float]:
    """Return the chance of each offered word at the token that holds character `at`, by OpenAI's ``logprobs.content``.

    A word is told by its first token. Words without one among the alternatives are left out.
    """
    ends = accumulate(len(token["token"]) for token in content)
    told = next((token for token, end in zip(content, ends, strict=True) if at < end), None)
    if told is None:
        return {}
    # Alternatives as a mapping: the token that was written is usually one of them.
    chances = {one["token"]: one["logprob"] for one in (told, *(told.get("top_logprobs") or ()))}
    found: dict[str, float] = {}
    for token, logprob in chances.items():
        word = _word(token, form)
        if word is not None:
            found[word] = found.get(word, 0.0) + math.exp(logprob)
    return found


def _word(token: str, form: Form) -> str | None:
    """Return the word that a token begins; None where it begins none, or words of different worth."""
    bare = token.translate(_MINUS).strip(_DECORATION).casefold()
    # A single letter begins too much else, such as "I think".
    if not bare or (len(bare) == 1 and bare.isalpha()):
        return None
    # What was offered comes first: "In" begins "In Progress", though "incorrect" is understood too.
    for words in (form.worth, form.also):
        meant = {worth for word, worth in words.items() if word.casefold().startswith(bare)}
        if meant:
            return next((word for word, worth in form.worth.items() if {worth} == meant), None)
    return None


def weighed(chances: Mapping[str, float], form: Form, missing: Missing) -> tuple[float | None, float]:
    """Return Σ p(word) · worth(word) / Σ p(word), and Σ p(word), the mass that the words have.

    *renormalise* takes whatever mass there is; *none* has no opinion where some word's chance is not told; a number is
    the mass below which there is no opinion.

    >>> from agentprm.scorers._verdict_forms import FORMS
    >>> weighed({"Yes": 0.3, "In Progress": 0.2}, FORMS["checklist"], "renormalise")
    (0.8, 0.5)
    >>> weighed({"Yes": 0.3, "In Progress": 0.2}, FORMS["checklist"], 0.9)
    (None, 0.5)
    """
    mass = math.fsum(chances.values())
    short = (
        mass < missing if isinstance(missing, (int, float)) else missing == "none" and set(form.worth) - set(chances)
    )
    if short or mass <= 0:
        return None, mass
    return math.fsum(p * form.worth[word] for word, p in chances.items()) / mass, mass
