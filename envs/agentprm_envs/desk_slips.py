"""How a clerk goes wrong: the slips that agents with tools are known for, each made of what lies at hand."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from agentprm_envs.desk_tools import COLUMNS, ToolError, evaluate
from agentprm_envs.desk_turns import Answer, Call, Decision, Done

__all__ = ["SLIPS", "slip"]

_ID = re.compile(r"(?<![\d.])\d{3,4}(?![\d.])")
_FIGURE = re.compile(r"(?<![\w/.])\d+(?:\.\d+)?(?![\w/])")
_LUCK = 0.3
"""The chance that arithmetic in the head is right."""

Slip = Callable[[random.Random, Decision, str, Sequence[Done]], Decision | None]


def slip(chance: random.Random, right: Decision, question: str, past: Sequence[Done]) -> Decision:
    """Return one of the slips that are possible instead of the right decision; that decision where none is."""
    possible = [wrong for make in SLIPS.values() if (wrong := make(chance, right, question, past)) not in (None, right)]
    return chance.choice(possible) if possible else right


def wrong_tool(chance: random.Random, right: Decision, question: str, past: Sequence[Done]) -> Decision | None:
    """The right value, in the wrong place: a look-up in another column or table, a search, a file of that name."""
    if not isinstance(right, Call):
        return None
    value = list(right.arguments.values())[-1]
    elsewhere = [Call("lookup", {"table": t, "column": c, "value": value}) for t in COLUMNS for c in COLUMNS[t]]
    others = [Call("search_files", {"query": value}), Call("read_file", {"path": value}), *chance.sample(elsewhere, 2)]
    return chance.choice([call for call in others if call.form != right.form])


def wrong_value(chance: random.Random, right: Decision, question: str, past: Sequence[Done]) -> Decision | None:
    """The right tool, asked for something else: a misprint, or a term of a calculation left out or mixed up."""
    if not isinstance(right, Call):
        return None
    (key, value) = list(right.arguments.items())[-1]
    changed = _miscalculated(chance, value) if right.name == "calculate" else _misprinted(chance, value)
    return replace(right, arguments={**right.arguments, key: changed})


def _misprinted(chance: random.Random, value: str) -> str:
    i = chance.randrange(len(value))
    return value[:i] + value[i + 1 :] if chance.random() < 0.5 else value[:i] + value[i] + value[i:]


def _miscalculated(chance: random.Random, expression: str) -> str:
    terms = re.split(r"( \+ |, )", expression)
    if len(terms) > 1 and chance.random() < 0.6:
        return "".join(terms[:-2]) + (")" if expression.endswith(")") else "")
    i, j = chance.sample(range(4), 2)
    swapped = {"+-*/"[i]: "+-*/"[j]}
    return "".join(swapped.get(character, character) for character in expression)


def wrong_pick(chance: random.Random, right: Decision, question: str, past: Sequence[Done]) -> Decision | None:
    """The right tool, with another of the things that were seen: the next file, a namesake, somebody else's order."""
    if not isinstance(right, Call) or not past or right.name == "calculate":
        return None
    (key, value) = list(right.arguments.items())[-1]
    seen = "\n".join(done.output for done in past[-2:])
    kind = re.compile(r"letters/\d+\.txt") if right.name == "read_file" else _ID
    others = [found for found in dict.fromkeys(kind.findall(seen)) if found != value]
    if not others or right.name == "search_files" or not kind.fullmatch(value):
        return None
    return replace(right, arguments={**right.arguments, key: chance.choice(others)})


def premature_answer(chance: random.Random, right: Decision, question: str, past: Sequence[Done]) -> Decision | None:
    """Some number that was seen, for an answer."""
    figures = _FIGURE.findall(past[-1].output) if past else []
    return Answer(f"The answer is {chance.choice(figures)}.") if figures else None


def head_arithmetic(chance: random.Random, right: Decision, question: str, past: Sequence[Done]) -> Decision | None:
    """An answer without the calculator: right now and then, else one digit off."""
    if not isinstance(right, Call) or right.name != "calculate":
        return None
    try:
        value = evaluate(right.arguments["expression"])
    except ToolError:
        return None
    off = 0 if chance.random() < _LUCK else chance.choice([-10, -1, -0.1, 0.1, 1, 10, 20])
    return Answer(f"The answer is {value + off:.10g}.")


def repetition(chance: random.Random, right: Decision, question: str, past: Sequence[Done]) -> Decision | None:
    """A call that was made already."""
    return chance.choice(past).call if past else None


SLIPS: dict[str, Slip] = {
    "wrong tool": wrong_tool,
    "wrong value": wrong_value,
    "wrong pick": wrong_pick,
    "premature answer": premature_answer,
    "head arithmetic": head_arithmetic,
    "repetition": repetition,
}
"""By name; all that are possible at a turn are equally likely."""
