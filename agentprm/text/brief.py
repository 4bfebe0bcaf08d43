"""Each step told by itself, in few words: a small model reads what matters for one decision, and no more."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from agentprm.errors import InvalidSpec
from agentprm.text.describe import action_text, readable_text
from agentprm.text.render import LiveSight, Segment, Template, decided, opening, output_text, samples
from agentprm.text.tokens import Encoded, Encoder
from agentprm.text.turns import joined
from agentprm.types import Observation, Trajectory
from agentprm.values import clean_text

__all__ = ["Brief", "BriefEncoder", "brief", "matching"]

_WORD = re.compile(r"\w+")
_LINES = re.compile(r"(?<=[.!?])\s+|\n")
_MOST_STEPS = 131_072


@dataclass(frozen=True)
class Brief(Template):
    r"""A wording that tells each step by itself: the task, what was done before, the latest sight, the decision.

    A transformer that learns from scratch then sees some sixty tokens per step instead of an episode. Raises
    InvalidSpec for no turn at all, a negative `done` or a `skip` that is no regular expression, and as `Template` does.

    >>> from agentprm.testing.trajectories import episode
    >>> told = episode(("Your goal: leave. You see a red key 1.", "look"), ("A red key 1 lies here.", "take red key 1"))
    >>> template = Brief(skip="Your goal.*?[.] ")
    >>> template.text(brief(told, 1, template))[:62]
    '<|task|>leave the house<|gap|>1<|action|>look<|observation|>A '
    >>> template.text(brief(told, 1, template))[62:]
    'red key 1 lies here.<|action|>take red key 1<|beside|>A red key 1 lies here.<|step|>'
    """

    name: str = "brief"
    beside: str = "<|beside|>"
    """Before what stands beside an action: the words that the task names, too, and the line that fits it best."""
    turns: int = 1
    """How many observations are read, the latest ones; of the turns before them, what was done."""
    done: int = 8
    """How many different actions of those turns are told, the latest ones."""
    matches: bool = True
    """Whether an action is repeated beside what matches it (see `matching`)."""
    again: bool = True
    """Whether it is told how often the same was seen before, and the same done on the same sight."""
    skip: str = ""
    r"""What is left out of observations, as a regular expression: a list of choices (``r"\nAvailable actions.*"``)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turns < 1 or self.done < 0:
            raise InvalidSpec(f"turns={self.turns} is 1 or more, done={self.done} is 0 or more")
        try:
            re.compile(self.skip)
        except re.error as error:
            raise InvalidSpec(f"skip={self.skip!r} is no regular expression: {error}") from error

    @property
    def markers(self) -> tuple[str, ...]:
        """Every marker, in the order of the fields."""
        return *super().markers, self.beside

    @property
    def digest(self) -> str:
        """128 bits, in hex, that name what it makes of trajectories."""
        told = (
            self.text(brief(trajectory, t, self, sees))
            for trajectory in samples(self)
            for t in range(len(trajectory))
            for sees in _SIGHTS
        )
        return hashlib.blake2b("\0".join([repr(asdict(self)), *told]).encode(), digest_size=16).hexdigest()

    def sight(self, observation: Observation) -> str:
        """Return what is read of an observation; raises MissingText for a large array without words."""
        return _without(self.skip, readable_text(observation))


_SIGHTS: tuple[LiveSight, ...] = ("action", "result")


@lru_cache(maxsize=4096)
def _without(skip: str, text: str) -> str:
    text = clean_text(text)
    return re.sub(skip, "", text, flags=re.DOTALL) if skip else text


def brief(trajectory: Trajectory, t: int, template: Brief, sees: LiveSight = "action") -> Iterator[Segment]:
    """Yield step `t` by itself, as one who sees that far knows it: the last segment is the one that is scored.

    What opens the episode; behind the gap how many turns there were, how often the latest sight was met before, and
    the latest different actions of those turns that are not read; the latest observations, with what calls returned;
    then the decision, or, for *result*, nothing more.
    """
    latest = t + (sees == "result")
    first = max(0, latest - template.turns + 1)
    sights = [template.sight(observation) for observation in trajectory.observations[: latest + 1]]
    yield from opening(trajectory)
    yield Segment("gap", None, str(latest) + _again(template, sights[:-1].count(sights[-1])))
    yield from (Segment("action", None, text) for text in _done(trajectory, first, template.done))
    yield from _returned(trajectory, first - 1)
    for i in range(first, latest):
        yield Segment("observation", i, sights[i])
        yield from decided(i, trajectory.steps[i], ends_step=False)
    yield Segment("observation", latest, sights[-1], scored=sees == "result")
    if sees == "action":
        yield from _decision(trajectory, t, template, sights)


def _again(template: Brief, n: int) -> str:
    return f" again {n}" if template.again and n else ""


def _done(trajectory: Trajectory, n: int, most: int) -> list[str]:
    """Return the different actions among the first `n`, the latest last."""
    latest_first = (clean_text(action_text(step.action)) for step in reversed(trajectory.steps[:n]))
    return list(islice(dict.fromkeys(latest_first), most))[::-1]


def _returned(trajectory: Trajectory, t: int) -> Iterator[Segment]:
    calls = trajectory.steps[t].action.tool_calls if t >= 0 else ()
    yield from (Segment("result", t, clean_text(output_text(call))) for call in calls if call.status != "pending")


def _decision(trajectory: Trajectory, t: int, template: Brief, sights: Sequence[str]) -> Iterator[Segment]:
    action = trajectory.steps[t].action
    if action.plan:
        yield Segment("plan", t, clean_text(action.plan))
    text = clean_text(action_text(action))
    earlier = zip(sights[:-1], trajectory.steps, strict=False)
    repeats = sum(sight == sights[-1] and action_text(step.action) == action_text(action) for sight, step in earlier)
    said = [text, *filter(None, (_again(template, repeats).strip(), *_beside(trajectory, t, template, sights[-1])))]
    for i, text in enumerate(said):
        yield Segment("beside" if i else "action", t, text, scored=i + 1 == len(said))


def _beside(trajectory: Trajectory, t: int, template: Brief, sight: str) -> tuple[str, ...]:
    if not template.matches:
        return ()
    returned = (segment.text for segment in _returned(trajectory, t - 1))
    action, task = clean_text(action_text(trajectory.steps[t].action)), clean_text(trajectory.task.text)
    return matching(action, task, "\n".join((*returned, sight)))


@lru_cache(maxsize=4096)
def matching(action: str, task: str, sight: str) -> tuple[str, str]:
    """Return the words of an action that the task names, and the line of what is seen that has most in common with it.

    Rare words count most, as the logarithm of how few lines have them (Spärck Jones 1972); among equals the first line
    wins, and one without a common word is none. A line that spells the whole action or task only lists or repeats it.

    >>> matching("take red key", "fetch a red ball", "A red ball lies left. A red key lies right. Say: take red key")
    ('red', 'A red key lies right.')
    """
    words, lines = _WORD.findall(action.lower()), [line for line in _LINES.split(sight) if line.strip()]
    lines = [line for line in lines if not any(whole and whole in line for whole in (action, task))]
    found = [frozenset(_WORD.findall(line.lower())) for line in lines]
    n_lines = Counter(word for line in found for word in line)
    fits = [
        math.fsum(math.log((len(lines) + 1) / n_lines[word]) for word in line.intersection(words)) for line in found
    ]
    best = max(fits, default=0.0)
    named = frozenset(_WORD.findall(task.lower()))
    return " ".join(word for word in words if word in named), lines[fits.index(best)] if best else ""


class BriefEncoder(Encoder):
    """A tokenizer with a brief wording: each step becomes a reading of its own."""

    template: Brief

    def __init__(self, json_text: str, template: Brief, added: tuple[int, ...] = ()) -> None:
        super().__init__(json_text, template, added)
        self._steps: dict[tuple[Any, ...], tuple[Any, Encoded]] = {}

    def readings(self, trajectory: Trajectory, sees: LiveSight) -> list[Encoded]:
        """Return each step in token ids, by itself."""
        return [self._read(trajectory, t, sees) for t in range(len(trajectory))]

    def _read(self, trajectory: Trajectory, t: int, sees: LiveSight) -> Encoded:
        after = trajectory.observations[t + 1] if sees == "result" else None
        about = (trajectory.task, trajectory.meta, *trajectory.steps[: t + 1], after)
        key = (*map(id, about), sees)
        if key not in self._steps:
            if len(self._steps) >= _MOST_STEPS:
                self._steps.clear()
            # An id is used again once its object is gone: the objects are kept beside their tokens.
            self._steps[key] = about, self._encode(brief(trajectory, t, self.template, sees), t)
        return self._steps[key][1]

    def _encode(self, segments: Iterable[Segment], t: int) -> Encoded:
        turn = joined([self._lead, self.turn(segments)])
        begins = turn.begins[-1] if turn.begins else 0
        return Encoded(turn.ids, turn.ends[-1:], (0,), self._left_out, (begins,), first=t)
