"""Tool calls without their words: each argument said by where it comes from (delexicalisation, Henderson et al. 2014).

A small model that knows only the words it was trained on can judge calls about customers, files and numbers that it
never saw: what it reads is not ``lookup(value="8217")`` but that the value stands in the last result, in the line that
fits best what was asked. Nothing here knows any tool.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agentprm.text.describe import action_text, describe, readable_text
from agentprm.types import Action, Observation, Step, ToolCall, Trajectory

__all__ = ["delexicalise"]

_TOKEN = re.compile(r"\w+(?:[./-]\w+)*")
_WORDS_KEPT = 6
"""Of a result that is no longer than this, the words are kept: "no rows", "not found"."""


def delexicalise(trajectory: Trajectory) -> Trajectory:
    r"""Return a trajectory of the same steps, whose actions and results say what comes from where, and not what it is.

    Of each argument, and each token of a message, it is told whether it stands in the task, in the last result or in
    an earlier one, or nowhere; whether the line that it stands in is the one which has most in common with all else
    that is known; whether it takes up all lines of the last result; and whether the call was made before. What
    an action led to says nothing about the action itself. Steps before the first tool call stay as they are.

    >>> from agentprm.types import Task, new_id
    >>> found = ToolCall("search", {"query": "kettle"}, output="a.txt: a lamp\nb.txt: a red kettle")
    >>> calls = (found, ToolCall("read", {"path": "b.txt"}))
    >>> steps = tuple(Step(Observation("q"), Action(tool_calls=(call,))) for call in calls)
    >>> plain = delexicalise(Trajectory(new_id(), Task("who wrote about the red kettle?"), steps, Observation()))
    >>> [step.action.text for step in plain.steps]
    ['search query=kettle_task', 'read path=last_best']
    """
    known = _Known(trajectory.task.text)
    steps = []
    for step in trajectory.steps:
        steps.append(known.told(step))
        known.learn(step)
    return replace(trajectory, steps=tuple(steps))


@dataclass(frozen=True)
class _Result:
    """What one call brought, line by line."""

    name: str
    status: str
    lines: tuple[frozenset[str], ...]
    text: str

    @classmethod
    def of(cls, call: ToolCall) -> _Result:
        text = "" if call.output is None else describe(call.output).lower()
        lines = tuple(tokens for line in text.splitlines() if (tokens := frozenset(_TOKEN.findall(line))))
        return cls(call.name, call.status, lines, text)

    def holding(self, value: str) -> list[int]:
        """Return the lines that hold a value, by number."""
        tokens = _TOKEN.findall(value)
        return [i for i, line in enumerate(self.lines) if tokens and line.issuperset(tokens)]

    def place(self, value: str, known: frozenset[str]) -> str:
        """Return how the line that holds a value compares with the other lines: alone, best, or worse."""
        fits = self.fits(known)
        held = max(fits[i] for i in self.holding(value))
        return "alone" if len(fits) == 1 else "best" if held >= max(fits) else "worse"

    def fits(self, known: frozenset[str]) -> list[float]:
        """Return how much each line has in common with what is known, rare words counting most."""
        n = len(self.lines)
        df = Counter(token for line in self.lines for token in line)
        # Exactly, because sets are in another order in every process, and equal lines must stay equal.
        return [math.fsum(math.log(n / df[token]) for token in line & known) for line in self.lines]

    @property
    def said(self) -> str:
        """It, in few words."""
        words = self.text.split()
        literal = " ".join(words) if len(words) <= _WORDS_KEPT and not re.search(r"\d", self.text) else ""
        return f"{self.name} {self.status} lines_{min(len(self.lines), 3)} {literal}".strip()


class _Known:
    """Task, results and calls so far."""

    def __init__(self, task: str) -> None:
        self.task = frozenset(_TOKEN.findall(task.lower()))
        self.results: list[_Result] = []
        self.latest: list[_Result] = []
        self.asked: set[tuple[str, str]] = set()

    def told(self, step: Step) -> Step:
        """Return a step in these words."""
        if not self.asked and not step.action.tool_calls:
            return step
        action = Action(self.action(step.action), self.message(step.action.plan))
        return replace(step, observation=Observation(self.sight(step.observation)), action=action)

    def learn(self, step: Step) -> None:
        """Take in what a step's calls brought."""
        calls = step.action.tool_calls
        self.asked |= {_key(call) for call in calls}
        self.latest = [_Result.of(call) for call in calls]
        self.results += self.latest

    def sight(self, observation: Observation) -> str:
        """Return the observation, or, where that says nothing, what the last results were like."""
        return readable_text(observation) or "\n".join(result.said for result in self.latest)

    def action(self, action: Action) -> str:
        """Return an action as a line for each call, and what it says."""
        said = self.message(action_text(replace(action, tool_calls=())))
        return "\n".join(filter(None, [said, *map(self.call, action.tool_calls)]))

    def call(self, call: ToolCall) -> str:
        """Return a call, each argument by its origin."""
        again = " again" if _key(call) in self.asked else ""
        arguments = (f"{key}={self.argument(value)}" for key, value in _arguments(call))
        return " ".join([call.name, *arguments]) + again

    def argument(self, value: str) -> str:
        """Return where an argument comes from: as a whole, or else piece by piece."""
        whole = self.origin(value)
        if whole != "nowhere" or len(tokens := _TOKEN.findall(value)) < 2:
            literal = f"{value}_" if re.fullmatch(r"[a-z_]+", value) else ""
            return literal + whole
        origins = sorted({self.origin(token) for token in tokens})
        signs = "".join(sorted(set(re.findall(r"[^\w\s.]", value))))
        return " ".join(filter(None, ["+".join(origins), signs, self.cover(tokens)]))

    def origin(self, value: str) -> str:
        """Return where a value was seen last."""
        latest = [result for result in self.latest if result.holding(value)]
        if latest:
            whole = "whole" if latest[-1].text.strip() == value else latest[-1].place(value, self.beside(latest[-1]))
            return f"last_{whole}"
        for result in reversed(self.results):
            if result.holding(value):
                return f"{result.name}_{result.place(value, self.beside(result))}"
        tokens = _TOKEN.findall(value)
        return "task" if tokens and self.task.issuperset(tokens) else "nowhere"

    def beside(self, result: _Result) -> frozenset[str]:
        """Return the words of the task, and of the other results."""
        others = (line for other in self.results if other is not result for line in other.lines)
        return self.task.union(*others)

    def cover(self, tokens: Sequence[str]) -> str:
        """Return how many lines of the last results hold one of these tokens."""
        lines = [line for result in self.latest for line in result.lines if any(t[0].isdigit() for t in line)]
        telling = {token for token in tokens if len(token) > 2}
        n = sum(bool(line & telling) for line in lines)
        return "covers_none" if n == 0 else "covers_all" if n == len(lines) else "covers_some"

    def message(self, text: str) -> str:
        """Return what is said, with the origin of each figure in it."""
        tokens = _TOKEN.findall(text.lower())
        return " ".join(self.figure(token) if token[0].isdigit() else token for token in tokens)

    def figure(self, token: str) -> str:
        """Return where a figure comes from, and which tool spoke last."""
        by = self.latest[-1].name if self.latest else ""
        return f"{by}:{self.origin(token)}"


def _key(call: ToolCall) -> tuple[str, str]:
    return call.name, "\0".join(map("\0".join, _arguments(call)))


def _arguments(call: ToolCall) -> Iterator[tuple[str, str]]:
    named = call.arguments.items() if isinstance(call.arguments, Mapping) else [("", call.arguments)]
    yield from ((str(key), describe(value).lower()) for key, value in named)
