"""Hashed text features of a step: what is asked, what is seen, what was done before, and the action among them.

Words and word pairs, hashed by content alone: the same in every process. Nothing here knows any environment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentprm.text.describe import action_text, observation_text
from agentprm.types import Trajectory

__all__ = ["Context", "Hashes", "context_before", "contexts", "extract"]

Hashes = NDArray[np.uint64]

_WORD = re.compile(r"\w+")
_MOST_WORDS = 512
"""Of a longer text the first and the last half of this many words are read."""
_MOST_CROSSED_WORDS = 10
"""Words of an action that are crossed with what is seen: its name and first arguments."""
_MOST_CROSSED_GRAMS = 256


class Context(NamedTuple):
    """All that the features of one step depend on; equal contexts have equal features."""

    task: str
    seen: str
    action: str
    plan: str
    seen_before: str
    """The observation before, empty at the first step."""
    done: tuple[str, ...]
    """The two actions before, latest first."""
    index: int
    repeats: int
    """How often the same was done before on the same sight."""
    used: int
    """How often the same was done before at all."""


def contexts(trajectory: Trajectory) -> Iterator[Context]:
    """Yield the context of each step, in order; nothing beyond its action is looked at."""
    history = _History(trajectory.task.text)
    for step in trajectory.steps:
        yield history.take(observation_text(step.observation), action_text(step.action), step.action.plan)


def context_before(trajectory: Trajectory) -> _History:
    """Return what the next action is chosen from: ``.look(seen, action, plan)`` is its context."""
    history = _History(trajectory.task.text)
    for step in trajectory.steps:
        history.take(observation_text(step.observation), action_text(step.action), step.action.plan)
    return history


class _History:
    """What was done so far, as far as features remember it."""

    __slots__ = ("_counts", "_done", "_index", "_seen_before", "_task")

    def __init__(self, task: str) -> None:
        self._task, self._seen_before, self._index = task, "", 0
        self._done: tuple[str, ...] = ()
        self._counts: dict[Any, int] = {}

    def look(self, seen: str, action: str, plan: str = "") -> Context:
        """Return the context of an action that is not taken yet."""
        count = self._counts.get
        repeats, used = count((seen, action), 0), count(action, 0)
        return Context(self._task, seen, action, plan, self._seen_before, self._done, self._index, repeats, used)

    def take(self, seen: str, action: str, plan: str) -> Context:
        """Return the context of an action, and remember that it was taken."""
        context = self.look(seen, action, plan)
        self._counts[seen, action] = context.repeats + 1
        self._counts[action] = context.used + 1
        self._seen_before, self._index = seen, self._index + 1
        self._done = (action, *self._done[:1])
        return context


def extract(context: Context) -> tuple[Hashes, Hashes]:
    """Return the hashes of one step: those of state and action, and those of the two crossed."""
    task, seen = _text(context.task), _text(context.seen)
    action = _action(context, task, seen)
    state = (
        _salted("task", task.grams),
        _salted("seen", seen.grams),
        _salted("before", _text(context.seen_before).words),
        _flags(("t", min(context.index, 8 + context.index // 8)), ("goal seen", seen.share_of(task))),
    )
    crossed = _crossed(action, seen.grams[:_MOST_CROSSED_GRAMS])
    return np.concatenate((*state, action, _salted("plan", _text(context.plan).grams))), crossed


def _action(context: Context, task: _Text, seen: _Text) -> Hashes:
    """The words of the action, whether the task or the sight names them, and how it follows on what was done."""
    text = _text(context.action)
    known = [f"{w} {w in task.known:d}" for w in text.order[:_MOST_CROSSED_WORDS]]
    shape = " ".join("*" if w in task.known else w for w in text.order[:_MOST_CROSSED_WORDS])
    head = text.order[0] if text.order else ""
    again = (min(context.repeats, 3), min(context.used, 3))
    return _flags(
        *(("word", w) for w in known),
        ("shape", shape),
        ("head", head, text.share_of(task), seen.share_of(text)),
        ("again", again[0]),
        ("used", again[1]),
        ("head again", head, *again),
        *(("after", i, done, shape) for i, done in enumerate(context.done)),
        *(("head after", i, *done.split()[:1], head) for i, done in enumerate(context.done)),
    )


class _Text(NamedTuple):
    order: tuple[str, ...]
    known: frozenset[str]
    words: Hashes
    grams: Hashes

    def share_of(self, other: _Text) -> int:
        """How much of the other text this one names: 0 none, 1 some, 2 half or more, 3 all."""
        if not other.known:
            return 0
        share = len(other.known & self.known) / len(other.known)
        return 3 if share == 1 else 2 if share >= 0.5 else int(share > 0)


@lru_cache(maxsize=4096)
def _text(text: str) -> _Text:
    order = tuple(sys.intern(word) for word in _WORD.findall(text.lower()))
    if len(order) > _MOST_WORDS:
        order = order[: _MOST_WORDS // 2] + order[-_MOST_WORDS // 2 :]
    hashes = np.fromiter(map(_hash, order), np.uint64, len(order))
    words = _distinct(hashes)
    pairs = _distinct(_mix(hashes[:-1], hashes[1:]))
    return _Text(order, frozenset(order), words, np.concatenate((words, pairs)))


def _distinct(hashes: Hashes) -> Hashes:
    """Without repeats, in order of first sight."""
    _, first = np.unique(hashes, return_index=True)
    return hashes[np.sort(first)]


@lru_cache(maxsize=65536)
def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _flags(*flags: Sequence[object]) -> Hashes:
    return np.fromiter((_hash("\0".join(map(str, flag))) for flag in flags), np.uint64, len(flags))


def _salted(name: str, hashes: Hashes) -> Hashes:
    return _mix(np.full(1, _hash(name), np.uint64), hashes)


def _crossed(left: Hashes, right: Hashes) -> Hashes:
    return _mix(left[:, None], right[None, :]).ravel()


def _mix(left: Hashes, right: Hashes) -> Hashes:
    """Combine hashes, order mattering (the finaliser of Steele et al. 2014, SplitMix)."""
    mixed = left * np.uint64(0x9E3779B97F4A7C15) ^ right
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)
