"""Who works at the desk: a policy that reads what was said so far, knows what to do next, and slips now and then.

Nothing is remembered beside the conversation. At every turn the way to the answer is walked anew, from the question,
over what earlier calls brought, to the first thing that is still missing: that is the right next decision. With
chance `error_rate` it is replaced by a slip. Some slips are noticed and made good, others are built upon.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentprm.errors import InvalidSpec
from agentprm.types import Action, Trajectory
from agentprm_envs.desk_slips import slip
from agentprm_envs.desk_turns import Answer, Call, Decision, Done, turns_of

__all__ = ["Clerk"]


@dataclass(frozen=True)
class Clerk:
    """A policy for the desk's questions: decisions are a function of question, earlier turns, seed and sample alone.

    >>> question = "Since which year has the customer who complains about the oven with the burnt plug bought from us?"
    >>> Clerk(error_rate=0.0).decide(question, ())
    Call(name='search_files', arguments={'query': 'burnt plug'})

    Raises InvalidSpec for rates outside [0, 1].
    """

    error_rate: float = 0.3
    """The chance that a decision is a slip."""
    habit: float = 0.6
    """How much the samples of a turn are alike: the chance that one is what this turn always suggests. At 0 slips are
    scattered, and a majority finds them out; at 1 there is nothing to choose from."""
    attention: float = 0.5
    """The chance that a call which was a slip is noticed afterwards, if it brought anything."""
    patience: int = 11
    """Decisions after which it gives up."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("error_rate", "habit", "attention"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidSpec(f"{name} is a chance, in [0, 1], not {getattr(self, name)}")

    def decide(self, question: str, past: Sequence[Done], sample: int = 0) -> Decision:
        """Return a decision: sample number `sample` of those it may take at this turn."""
        if len(past) + 1 >= self.patience:
            return Answer("I could not find it out.")
        right = self.intended(question, past)
        told = json.dumps([question, *([d.call.name, dict(d.call.arguments), d.output] for d in past)])
        chance = random.Random(f"{self.seed} {sample} {told}")
        if chance.random() < self.habit:
            chance = random.Random(f"{self.seed} {told}")
        return slip(chance, right, question, past) if chance.random() < self.error_rate else right

    def intended(self, question: str, past: Sequence[Done]) -> Decision:
        """Return the decision without a slip: the first call that is missing, or the answer."""
        try:
            return Answer(f"The answer is {_solve(question, _Notes(past, self._overlooks))}.")
        except _Missing as missing:
            return missing.call

    def propose(self, trajectory: Trajectory, info: Mapping[str, Any], n: int, /) -> list[Action]:
        """Return n samples of the next decision in ``Desk-v0``, to choose from."""
        past = turns_of(trajectory)
        texts = [self.decide(trajectory.task.text, past, sample).text for sample in range(n)]
        return [Action(text, native=text) for text in texts]

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Any], /) -> str:
        """Return the next decision in ``Desk-v0``, as its text."""
        return self.decide(trajectory.task.text, turns_of(trajectory)).text

    def _overlooks(self, call: Call) -> bool:
        return random.Random(f"{self.seed} notices {call.text}").random() >= self.attention


class _Missing(Exception):
    """What has to be asked next."""

    def __init__(self, call: Call) -> None:
        self.call = call


class _Notes:
    """What earlier calls brought: each is used for one need."""

    def __init__(self, past: Sequence[Done], overlooks: Any) -> None:
        self._past, self._overlooks = past, overlooks
        self._used: set[int] = set()

    def ask(self, name: str, **arguments: str) -> str:
        """Return what a call brought; raises _Missing where it was not made yet, nor one that is taken for it."""
        wanted = Call(name, arguments)
        for i in (*self._exact(wanted), *self._mistaken(wanted)):
            self._used.add(i)
            return self._past[i].output
        raise _Missing(wanted)

    def _exact(self, wanted: Call) -> Iterator[int]:
        yield from (i for i, done in enumerate(self._past) if done.ok and done.call == wanted)

    def _mistaken(self, wanted: Call) -> Iterator[int]:
        """Calls of the same form that brought something, and were not noticed to be wrong."""
        for i, done in enumerate(self._past):
            usable = i not in self._used and done.brought_something and done.call.form == wanted.form
            if usable and wanted.name != "search_files" and self._overlooks(done.call):
                yield i


# How each kind of question is answered, as if all had been looked up already.

_TOPIC = re.compile(r"about the (\w+) with the (\w+ \w+)")


def _solve(question: str, notes: _Notes) -> str:
    letters = [_letter(notes, *topic) for topic in _TOPIC.findall(question)]
    if not letters:
        return "unknown"
    if "complaint" in question and "complains" not in question:
        return _about_orders(question, notes, letters)
    return _about_customer(question, notes, letters[0])


def _about_orders(question: str, notes: _Notes, letters: Sequence[str]) -> str:
    rows = [_rows(notes.ask("lookup", table="orders", column="id", value=_order_in(letter)))[0] for letter in letters]
    if percent := re.search(r"(\d+) percent", question):
        return notes.ask("calculate", expression=f"{_cost(rows[0])} * {percent[1]} / 100")
    if other := re.search(r"does one (\w+) cost", question):
        today = _rows(notes.ask("lookup", table="products", column="name", value=other[1]))[0]
        return notes.ask("calculate", expression=f"{today['price']} - {rows[0]['price']}")
    return notes.ask("calculate", expression=" + ".join(map(_cost, rows)))


def _about_customer(question: str, notes: _Notes, letter: str) -> str:
    name, _, town = letter.partition("\n")[0].removeprefix("From: ").partition(", ")
    people = _rows(notes.ask("lookup", table="customers", column="name", value=name))
    person = next((row for row in people if row["town"] == town), people[0])
    if "which year" in question:
        return person["since"]
    rows = _rows(notes.ask("lookup", table="orders", column="customer_id", value=person["id"]))
    if "pieces" in question:
        return notes.ask("calculate", expression=" + ".join(row["quantity"] for row in rows))
    costs = [_cost(row) for row in rows]
    dearest = f"max({', '.join(costs)})" if "dearest" in question else " + ".join(costs)
    return notes.ask("calculate", expression=dearest)


def _letter(notes: _Notes, product: str, defect: str) -> str:
    hits = notes.ask("search_files", query=defect)
    paths = [line.partition(": ")[0] for line in hits.splitlines() if product in line]
    return notes.ask("read_file", path=paths[0] if paths else "letters/000.txt")


def _order_in(letter: str) -> str:
    found = re.search(r"Order: (\d+)", letter)
    return found[1] if found else "0"


def _rows(table: str) -> list[dict[str, str]]:
    head, *lines = (line.split(" | ") for line in table.splitlines())
    return [dict(zip(head, line, strict=True)) for line in lines]


def _cost(row: Mapping[str, str]) -> str:
    return f"{row['quantity']} * {row['price']}"
