"""Decisions at the desk and what they brought: the turns of a conversation, however it is carried on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agentprm.types import Trajectory

__all__ = ["ANSWER", "Answer", "Call", "Decision", "Done", "parse", "turns_of"]

ANSWER = "answer:"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool to be called."""

    name: str
    arguments: Mapping[str, str]

    @property
    def text(self) -> str:
        """It as the text environment takes it.

        >>> Call("read_file", {"path": "letters/001.txt"}).text
        '{"name": "read_file", "arguments": {"path": "letters/001.txt"}}'
        """
        return json.dumps({"name": self.name, "arguments": dict(self.arguments)})

    @property
    def arguments_text(self) -> str:
        """Its arguments, as JSON."""
        return json.dumps(dict(self.arguments))

    @property
    def form(self) -> tuple[str, ...]:
        """What it asks for, whatever the value: the tool, for look-ups also table and column."""
        return (self.name, *(v for k, v in self.arguments.items() if k in ("table", "column")))


@dataclass(frozen=True, slots=True)
class Answer:
    """The final answer."""

    said: str

    @property
    def text(self) -> str:
        """It as the text environment takes it."""
        return f"{ANSWER} {self.said}"


Decision = Call | Answer


@dataclass(frozen=True, slots=True)
class Done:
    """A call that came back; not `ok` where the tool refused."""

    call: Call
    output: str
    ok: bool = True

    @property
    def brought_something(self) -> bool:
        """Whether anything was found."""
        return self.ok and self.output not in ("nothing found", "no rows")


def parse(text: str) -> Decision | None:
    """Return the decision that a text of an agent states: ``answer: ...`` or a call as JSON; None where it is neither.

    >>> parse('{"name": "calculate", "arguments": {"expression": "1 + 1"}}')
    Call(name='calculate', arguments={'expression': '1 + 1'})
    >>> parse("Answer: 2"), parse("two?")
    (Answer(said='2'), None)
    """
    if re.match(rf"\s*{ANSWER}", text, re.IGNORECASE):
        return Answer(text.strip()[len(ANSWER) :].strip())
    try:
        form = json.loads(text)
        name, arguments = form["name"], form["arguments"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    if not all(isinstance(value, (str, int, float)) for value in arguments.values()):
        return None
    return Call(name, {key: str(value) for key, value in arguments.items()})


def turns_of(trajectory: Trajectory) -> list[Done]:
    """Return the turns of an episode of ``Desk-v0``; what was no decision is left out."""
    results = trajectory.observations[1:]
    decided = [(parse(step.action.text), seen.text) for step, seen in zip(trajectory.steps, results, strict=True)]
    return [Done(call, said, not said.startswith("error:")) for call, said in decided if isinstance(call, Call)]
