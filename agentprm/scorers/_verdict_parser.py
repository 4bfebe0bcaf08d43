r"""A verdict, found in what a judge wrote: JSON, ``\boxed{...}``, a line ``Verdict: ...``, or the last line alone.

The last verdict counts. What the judged record holds itself, and the judge merely quotes, is no verdict unless it is
the judge's last word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from agentprm.scorers._verdict_forms import Form

__all__ = ["Found", "find_verdict", "read_items", "worth_of"]

# One sign for one sign: places in the text stay what they are.
_PLAIN = str.maketrans(dict.fromkeys("−–—‒﹣－", "-") | {"＋": "+", "：": ":"})
_NAME = r"(?:final[ \t]+)?(?:verdict|judge?ment|label|score|rating|answer|urteil|bewertung|ergebnis|antwort)"
_LINE = re.compile(
    r"^[ \t*#_`•-]*(?:\d+[.)][ \t]*)?"
    rf"(?P<quote>{_NAME}[ \t*_`]*(?::|=|\bis\b|\bist\b|(?=\n))[ \t*_`]*\n*(?P<said>[^\n]+))",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"(?P<quote>\\boxed\{\s*(?:\\text\w*\{)?\s*(?P<said>[^{}]*)\})")
_KEY = re.compile(rf"{_NAME}", re.IGNORECASE)
_DECORATION = " \t\r\n*_`$\"'“”„«»()[]{}\\.,;!"
_MARKS = _DECORATION.replace(".", "").replace(",", "")
"""The same, before a number."""
_NUMBER = re.compile(r"(?P<n>[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+))\s*(?:(?P<percent>%)|/\s*(?P<of>\d+))?")
_OR = re.compile(r"\s*(?:[,/|]|or\b|oder\b)\s*")
_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*(?:\[[ xX]?\]\s*)?(?P<item>\S.*?)\s*$", re.MULTILINE)
_THOUGHT = "</think>"


class Found(NamedTuple):
    """A verdict, and where in the text it stands."""

    worth: float
    at: int
    """Where its word begins."""
    end: int
    quote: str
    """The text around it, as a record might spell it."""


def find_verdict(text: str, form: Form, record: str = "") -> Found | None:
    r"""Return the last verdict of a reply to be of a form; None where there is none.

    >>> from agentprm.scorers._verdict_forms import FORMS
    >>> find_verdict("It went astray.\n**Verdict**: −1, sadly", FORMS["ternary"]).worth
    0.0
    """
    start = text.rfind(_THOUGHT) + len(_THOUGHT) if _THOUGHT in text else 0
    # Thoughts go, and what follows them begins a line; places stay what they are.
    plain = "\n" * start + text[start:].translate(_PLAIN)
    shown = record.translate(_PLAIN).casefold()
    found = sorted(_candidates(plain, form), key=lambda one: (one.end, one.at))
    own = [one for one in found if not plain[one.end :].strip(_DECORATION) or one.quote.casefold() not in shown]
    return own[-1] if own else None


def _candidates(text: str, form: Form) -> Iterator[Found]:
    yield from _objects(text, form)
    for pattern in (_BOXED, _LINE):
        for match in pattern.finditer(text):
            worth = worth_of(match["said"], form)
            if worth is not None:
                yield Found(worth, _word_at(text, match.start("said")), match.end(), match["quote"].strip(_DECORATION))
    end = len(text.rstrip())
    last = text[:end].rpartition("\n")[2]
    if last and (worth := _whole(last, form)) is not None:
        yield Found(worth, _word_at(text, end - len(last)), end, last.strip())


def _objects(text: str, form: Form) -> Iterator[Found]:
    """Yield the verdicts of JSON objects; of what an object holds, only its own fields."""
    decoder, place = json.JSONDecoder(strict=False), text.find("{")
    while place >= 0:
        try:
            held, end = decoder.raw_decode(text, place)
        except RecursionError:
            return
        except ValueError:
            place = text.find("{", place + 1)
            continue
        for key, value in held.items():
            if _KEY.fullmatch(key.strip()) and (worth := worth_of(_words(value), form)) is not None:
                written = text.rfind(json.dumps(key, ensure_ascii=False), place, end)
                at = text.find(":", written) + 1
                yield Found(worth, _word_at(text, at), end, text[place:end])
        place = text.find("{", end)


def _words(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (str, int, float)) else ""


def _word_at(text: str, place: int) -> int:
    """Return where, from a place on, the decoration ends."""
    rest = text[place:].replace("\\boxed", " " * 6)
    return place + len(rest) - len(rest.lstrip(_DECORATION))


def _whole(line: str, form: Form) -> float | None:
    """Return the worth of a line that is nothing but a verdict."""
    bare = line.strip(_DECORATION).casefold()
    if form.name == "score":
        number = line.strip(_MARKS).rstrip(".")
        return _score(number) if _NUMBER.fullmatch(number) else None
    return form.known.get(bare)


def worth_of(said: str, form: Form) -> float | None:
    """Return the worth of what begins with a word of the form; None if none does, or if a choice of several is named.

    >>> from agentprm.scorers._verdict_forms import FORMS
    >>> worth_of("No, because it bought two", FORMS["binary"]), worth_of("Yes or No", FORMS["binary"])
    (0.0, None)
    """
    bare = said.translate(_PLAIN).replace("\\boxed", "").lstrip(_MARKS).casefold()
    if form.name == "score":
        return _score(bare)
    word = _first(bare, form)
    if word is None:
        return None
    rest = bare[len(word) :]
    choice = _OR.match(rest)
    is_choice = choice is not None and _first(rest[choice.end() :].lstrip(_DECORATION), form) is not None
    return None if is_choice else form.known[word]


def _first(text: str, form: Form) -> str | None:
    for word in sorted(form.known, key=len, reverse=True):
        if text.startswith(word) and not re.match(r"\w|[.,]\d", text[len(word) :]):
            return word
    return None


def _score(bare: str) -> float | None:
    match = _NUMBER.match(bare)
    if match is None:
        return None
    share = 100.0 if match["percent"] else float(match["of"] or 1)
    number = float(match["n"].replace(",", ".")) / share if share else -1.0
    return number if 0 <= number <= 1 else None


def read_items(text: str, most: int) -> list[str]:
    r"""Return the items of a checklist: the lines that a number, a dash or a star begins.

    >>> read_items("Here it is:\n1. open the door\n2) [ ] leave\n", most=5)
    ['open the door', 'leave']
    """
    reply = text.rpartition(_THOUGHT)[2]
    return [match["item"].replace("**", "").strip("_` ") for match in _ITEM.finditer(reply)][:most]
