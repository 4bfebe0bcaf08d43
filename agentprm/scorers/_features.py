"""Hashed text features of a step: what is asked, what is seen, what was done before, and the action among them.

Words and pairs of words, hashed by content alone: the same in every process. Nothing here knows any environment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentprm.text.describe import action_text, readable_text
from agentprm.text.render import output_text
from agentprm.types import Action, Observation, Step, Trajectory

__all__ = ["Context", "Hashes", "History", "contexts", "extract"]

Hashes = NDArray[np.uint64]

_WORD = re.compile(r"\w+")
_MOST_WORDS = 512
"""Of a longer text the first and the last half of this many words are read."""
_MOST_ACTION_WORDS = 10
"""Words of an action that are crossed with what is seen: its name and first arguments."""
_MOST_GRAMS = 256
"""Words and pairs of what is seen that an action is crossed with."""
_MOST_DONE = 16


class Context(NamedTuple):
    """All that the features of one step depend on; equal contexts have equal features."""

    task: str
    seen: str
    action: str
    plan: str
    seen_before: str
    """The observation before; empty at the first step."""
    done: tuple[str, ...]
    """The latest different actions before, latest first."""
    time: int
    repeats: int
    """How often the same was done before on the same sight."""
    used: int
    """How often the same was done before at all."""


class History:
    """What was done so far, as far as features remember it."""

    __slots__ = ("_counts", "_done", "_index", "_returned", "_seen_before", "_task")

    def __init__(self, task: str) -> None:
        self._task, self._seen_before, self._index, self._returned = task, "", 0, ""
        self._done: tuple[str, ...] = ()
        self._counts: dict[object, int] = {}

    @classmethod
    def of(cls, trajectory: Trajectory) -> History:
        """Return the history of all steps of a trajectory: what its next action follows on."""
        history = cls(trajectory.task.text)
        for step in trajectory.steps:
            history.take(step)
        return history

    def look(self, observation: Observation, action: Action) -> Context:
        """Return the context of an action that is not taken yet."""
        seen = "\n".join(filter(None, (self._returned, readable_text(observation))))
        done = action_text(action)
        repeats, used = self._counts.get((seen, done), 0), self._counts.get(done, 0)
        return Context(self._task, seen, done, action.plan, self._seen_before, self._done, self._index, repeats, used)

    def take(self, step: Step) -> Context:
        """Return the context of an action, and remember that it was taken."""
        context = self.look(step.observation, step.action)
        seen, action = context.seen, context.action
        self._counts[seen, action] = context.repeats + 1
        self._counts[action] = context.used + 1
        self._seen_before, self._index = seen, self._index + 1
        ended = [call for call in step.action.tool_calls if call.status != "pending"]
        self._returned = "\n".join(filter(None, map(output_text, ended)))
        self._done = (action, *(a for a in self._done if a != action))[:_MOST_DONE]
        return context


def contexts(trajectory: Trajectory) -> Iterator[Context]:
    """Yield the context of each step, in order; nothing beyond a step's action is looked at."""
    history = History(trajectory.task.text)
    for step in trajectory.steps:
        yield history.take(step)


def extract(context: Context) -> tuple[Hashes, Hashes]:
    """Return the hashes of one step: state, action and plan each by itself; and the action crossed with the state."""
    task, seen, action = _text(context.task), _text(context.seen), _text(context.action)
    words = _flags(*(("word", word, word in task.known) for word in action.order[:_MOST_ACTION_WORDS]))
    shape = _shape(context.action, context.task)
    shape_only = _flags(("shape", shape))
    follows = _follows(context, action, shape, (action.share_of(task), seen.share_of(action)))
    state = _state(context.task, context.seen, context.seen_before, context.done, context.time)
    deep = (state, words, shape_only, follows, _salted("plan", _text(context.plan).grams))
    grams, known = seen.grams[:_MOST_GRAMS], seen.words[:_MOST_GRAMS]
    wide = (_crossed(shape_only, grams), _crossed(words, known), words, shape_only, follows)
    return np.concatenate(deep), np.concatenate(wide)


# Candidates for one action differ in nothing of this.
@lru_cache(maxsize=256)
def _state(task: str, seen: str, seen_before: str, done: tuple[str, ...], time: int) -> Hashes:
    shapes = [_shape(action, task) for action in done]
    flags = _flags(
        ("time", min(time, 8 + time // 8)),
        ("task in sight", _text(seen).share_of(_text(task))),
        *(("done", shape) for shape in shapes),
        *(("last", i, shape) for i, shape in enumerate(shapes[:2])),
    )
    texts = (("task", _text(task).grams), ("seen", _text(seen).grams), ("before", _text(seen_before).words))
    return np.concatenate((*(_salted(name, hashes) for name, hashes in texts), flags))


def _follows(context: Context, action: _Text, shape: str, shares: tuple[int, int]) -> Hashes:
    """How the action fits the task, and how it follows on what was done."""
    head = action.order[0] if action.order else ""
    again, used = min(context.repeats, 3), min(context.used, 3)
    done = [_shape(earlier, context.task) for earlier in context.done]
    return _flags(
        ("fits", head, *shares),
        ("again", again),
        ("used", used),
        ("head again", head, again, used),
        *(("after", i, earlier, shape) for i, earlier in enumerate(done[:2])),
        *(("since", earlier, shape) for earlier in done),
    )


@lru_cache(maxsize=4096)
def _shape(action: str, task: str) -> str:
    """Return the action with the words of the task blotted out: what it does, whichever thing the task is about."""
    known = _text(task).known
    return " ".join("*" if word in known else word for word in _text(action).order[:_MOST_ACTION_WORDS])


class _Text(NamedTuple):
    order: tuple[str, ...]
    known: frozenset[str]
    words: Hashes
    grams: Hashes
    """Words, then pairs of neighbours; each once."""

    def share_of(self, other: _Text) -> int:
        """How much of the other text this one names: 0 none, 1 some, 2 half or more, 3 all."""
        if not other.known:
            return 0
        share = len(other.known & self.known) / len(other.known)
        return 3 if share == 1 else 2 if share >= 0.5 else int(share > 0)


@lru_cache(maxsize=2048)
def _text(text: str) -> _Text:
    order = tuple(sys.intern(word) for word in _WORD.findall(text.lower()))
    if len(order) > _MOST_WORDS:
        order = order[: _MOST_WORDS // 2] + order[-_MOST_WORDS // 2 :]
    hashes = np.fromiter(map(_hash, order), np.uint64, len(order))
    words = _distinct(hashes)
    return _Text(order, frozenset(order), words, np.concatenate((words, _distinct(_mixed(hashes[:-1], hashes[1:])))))


def _distinct(hashes: Hashes) -> Hashes:
    """Return them without repeats, in order of first sight."""
    _, first = np.unique(hashes, return_index=True)
    return hashes[np.sort(first)]


@lru_cache(maxsize=65536)
def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _flags(*flags: Sequence[object]) -> Hashes:
    return np.fromiter((_hash("\0".join(map(str, flag))) for flag in flags), np.uint64, len(flags))


def _salted(name: str, hashes: Hashes) -> Hashes:
    return _mixed(np.full(1, _hash(name), np.uint64), hashes)


def _crossed(left: Hashes, right: Hashes) -> Hashes:
    return _mixed(left[:, None], right[None, :]).ravel()


def _mixed(left: Hashes, right: Hashes) -> Hashes:
    """Combine hashes, order mattering, by the finaliser of SplitMix (Steele et al. 2014)."""
    mixed = left * np.uint64(0x9E3779B97F4A7C15) ^ right
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)
