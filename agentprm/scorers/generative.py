"""A language model that writes, about each step, a critique and a verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Literal, get_args

from agentprm.errors import InvalidSpec
from agentprm.scorers._verdict import Combine, Judge, Question, Verdict, combined, total
from agentprm.scorers._verdict_cache import Kept
from agentprm.scorers._verdict_chances import Missing
from agentprm.scorers._verdict_chat import ChatJudge, identity_of, named
from agentprm.scorers._verdict_forms import FORMS
from agentprm.scorers._verdict_parser import read_items
from agentprm.scorers._verdict_prompt import PROMPT, checklist_question, step_question, wording
from agentprm.scorers._verdict_replies import Replies
from agentprm.spec import register
from agentprm.text.render import LiveSight, obstacles
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["PROMPT", "Generative"]

FormName = Literal["ternary", "score", "checklist", "binary"]
Meaning = Literal["correctness", "value"]
Series = tuple[float | None, ...]

_SECRETS = ("key", "token", "secret", "password")
_WAVE = 8
"""Rounds of `concurrency` questions after which replies are kept."""


@register("generative")
@dataclass(frozen=True, eq=False)
class Generative:
    r"""A judge: a language model that reads each step and writes a critique, in `notes`, and a verdict.

    `model` is a LangChain chat model, its name as ``provider:model``, or the folder of a causal language model of
    Hugging Face, whose verdict is always the chance of its words. The forms: *ternary*, −1, 0 or +1, for 0, ½ and 1;
    *binary*, yes or no; *score*, a number from 0 to 1; *checklist*, where a list is made of the task once and the
    score is the mean over its items of P(yes) + ½ P(in progress) (Chae et al. 2025, Web-Shepherd). Of several votes it
    is the mean, or the verdict of most.

    A reply without a verdict is asked for again, `retries` times; then the step is None, and its note says why. A
    model that fails raises what it raised; the replies that came are kept. Parts: ``spread`` of the votes, and what
    the verdict cost when it was asked for: ``tokens_in``, ``tokens_out``, ``seconds``; with `chances` also ``mass``.
    The record is put before the judge as data of others. Runs around it, their callbacks and streams, do not see it.

    Raises InvalidSpec for arguments that do not fit each other, and for a judge or wording other than the recorded.

    >>> from langchain_core.language_models import FakeListChatModel
    >>> from agentprm.testing.trajectories import episode
    >>> model = FakeListChatModel(responses=["It is the only way out.\nVerdict: +1"])
    >>> Generative(model)([episode(("a door", "open it"))])[0].values
    (1.0,)
    """

    model: Any
    form: FormName = "ternary"
    sees: LiveSight = "action"
    unit: Meaning = "correctness"
    votes: int = 1
    """How often each question is asked; let the model sample, or all say the same."""
    combine: Combine = "mean"
    chances: bool = False
    """Weigh the words of the verdict by their chance: Σ p·worth / Σ p at the token that begins it."""
    missing: Missing = "renormalise"
    """What of chance that no word has: *renormalise* what there is, *none* where some word's chance is not told, or
    no opinion below a mass in [0, 1]."""
    structured: bool | None = None
    """Whether the verdict is asked for as a tool call; None: where the model can, and `chances` is off."""
    retries: int = 1
    items: int = 5
    """Of a checklist, at most."""
    most: int | None = None
    """Characters of a record; the earliest turns are left out of a longer one. None shows all."""
    prompt: str = PROMPT
    """The instructions; ``{question}`` and ``{offer}`` are filled in."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For a model by name, what LangChain makes it with; for a folder ``max_tokens``, ``dtype``, ``device``."""
    cache: str | Path | MutableMapping[str, str] | None = None
    """Where replies are kept: a SQLite file, or a mapping. None keeps them in memory, as a live turn asks again."""
    concurrency: int = 4
    """Questions on their way at once."""
    wording: str | None = None
    """The digest of what the judge is told; checked if given, as in a recorded spec."""
    identity: str | None = None
    """The digest of the judge; checked if given."""

    name: ClassVar[str] = "generative"

    def __post_init__(self) -> None:
        self._require()
        told = wording(self.prompt, FORMS[self.form], self.unit, self.sees, self.most, self.items)
        judge = self._make_judge()
        kept = Kept(self.cache) if isinstance(self.cache, (str, Path)) else {} if self.cache is None else self.cache
        for mine, found, what in ((self.wording, told, "wording"), (self.identity, judge.identity, "judge")):
            if mine not in (None, found):
                raise InvalidSpec(f"this {what} ({found}) is not the recorded one ({mine}): scores would not compare")
        rules = json.dumps([self.chances, self.missing, self.structured, self.retries, dict(self.options)], default=str)
        replies = Replies(judge, kept, rules, _WAVE * self.concurrency, self.cache is None)
        object.__setattr__(self, "_replies", replies)
        object.__setattr__(self, "_told", told)

    def _require(self) -> None:
        for label, given, known in (
            ("form", self.form, get_args(FormName)),
            ("sees", self.sees, get_args(LiveSight)),
            ("unit", self.unit, get_args(Meaning)),
            ("combine", self.combine, get_args(Combine)),
        ):
            if given not in known:
                raise InvalidSpec(f"{label} is one of {', '.join(known)}, not {given!r}")
        if min(self.votes, self.items, self.concurrency) < 1 or self.retries < 0:
            raise InvalidSpec("votes, items and concurrency are 1 or more, retries 0 or more")
        if isinstance(self.missing, str) and self.missing not in ("renormalise", "none"):
            raise InvalidSpec(f"missing is renormalise, none or a mass in [0, 1], not {self.missing!r}")
        if not isinstance(self.missing, str) and not 0 <= self.missing <= 1:
            raise InvalidSpec(f"missing={self.missing} is a mass in [0, 1], renormalise or none")
        if secrets := [key for key in self.options if key.endswith(_SECRETS)]:
            raise InvalidSpec(f"options are recorded with every score: put {', '.join(secrets)} into the environment")
        if self.combine == "majority" and (self.form == "score" or self.chances or self._is_local):
            raise InvalidSpec("a majority counts words, and numbers seldom agree: combine='mean'")
        if self.chances and self.structured:
            raise InvalidSpec("the chances of words are not told of a tool call: leave structured=None")
        if self.chances and self.form == "score" and not self._is_local:
            raise InvalidSpec("the first token of a number does not tell it: chances=True goes with another form")

    @property
    def _is_local(self) -> bool:
        return isinstance(self.model, (str, Path)) and os.path.isdir(self.model)

    def _make_judge(self) -> Judge:
        if self._is_local:
            from agentprm.scorers._verdict_local import load

            return load(str(self.model), self.missing, self.options)
        if self.options and not isinstance(self.model, str):
            raise InvalidSpec("options make a model by its name: give them to the model itself")
        model = named(self.model, self.options) if isinstance(self.model, str) else self.model
        identity_of(model)
        return ChatJudge(model, self.structured, self.chances, self.missing, self.retries, self.concurrency)

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it; where replies are kept, and how many are on their way, change no score."""
        plain = isinstance(self.model, (str, Path))
        model = str(self.model) if plain else {"live": type(self.model).__name__}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("model", "cache", "concurrency")}
        if self.prompt == PROMPT:
            del rest["prompt"]
        rest |= {"options": dict(self.options), "wording": self._told, "identity": self._replies.judge.identity}
        return Spec(self.name, {"model": model, **rest})

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the verdict on each step; equal questions are asked once.

        Raises what the model raised, and MissingText for an observation without words.
        """
        lists = self._checklists(trajectories)
        asked = [self._questions(trajectory, lists[trajectory.task.text]) for trajectory in trajectories]
        said = self._replies(q for steps in asked for step in steps for votes in step for q in votes)
        spec = self.spec
        return [self._scores(t, steps, said, spec) for t, steps in zip(trajectories, asked, strict=True)]

    def _checklists(self, trajectories: Sequence[Trajectory]) -> dict[str, list[str]]:
        """Return the items of each task; of other forms one that says nothing."""
        tasks = {
            trajectory.task.text: checklist_question(trajectory.task.text, self.items) for trajectory in trajectories
        }
        if self.form != "checklist":
            return {task: [""] for task in tasks}
        said = self._replies(tasks.values())
        return {task: read_items(said[self._replies.key(asked)].note, self.items) for task, asked in tasks.items()}

    def _questions(self, trajectory: Trajectory, items: Sequence[str]) -> list[list[list[Question]]]:
        """Return, for each step, for each item, the question as often as there are votes."""
        return [
            [] if hidden is not None else [self._votes(trajectory, t, item) for item in items]
            for t, hidden in enumerate(obstacles(trajectory, self.sees))
        ]

    def _votes(self, trajectory: Trajectory, t: int, item: str) -> list[Question]:
        one = step_question(trajectory, t, self.sees, FORMS[self.form], self.unit, self.prompt, self.most, item)
        return [replace(one, vote=vote) for vote in range(self.votes)]

    def _scores(
        self, trajectory: Trajectory, steps: Sequence[list[list[Question]]], said: Mapping[str, Verdict], spec: Spec
    ) -> Scores:
        hidden = obstacles(trajectory, self.sees)
        found = [[[said[self._replies.key(q)] for q in votes] for votes in step] for step in steps]
        answers = [[combined(votes, self.combine) for votes in step] for step in found]
        values = tuple(_mean(answer.worth for answer in step) for step in answers)
        every = [[verdict for votes in step for verdict in votes] for step in found]
        costs = ("tokens_in", "tokens_out", "seconds")
        parts: dict[str, Series] = {"spread": tuple(_mean(answer.spread for answer in step) for step in answers)}
        parts |= {part: tuple(total(getattr(v, part) for v in step) for step in every) for part in costs}
        if self.chances or self._is_local:
            parts["mass"] = tuple(_mean(v.mass for v in step) for step in every)
        notes = tuple(why or self._note(asked, step) for why, asked, step in zip(hidden, steps, found, strict=True))
        return Scores(trajectory.id, spec, self.unit, values, 0, parts, notes, self.sees)

    def _note(self, asked: Sequence[Sequence[Question]], found: Sequence[Sequence[Verdict]]) -> str:
        if not found:
            return "no verdict: the judge made no checklist of this task"
        pairs = ((q, v) for qs, votes in zip(asked, found, strict=True) for q, v in zip(qs, votes, strict=True))
        said = (f"{question.item}: {verdict.note}" if question.item else verdict.note for question, verdict in pairs)
        return "\n\n".join(dict.fromkeys(said))

    _replies: ClassVar[Replies]
    _told: ClassVar[str]


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return fmean(known) if known else None
