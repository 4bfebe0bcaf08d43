"""From segments to token ids, by concatenation: the end of each step is known, never searched for."""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

from agentprm.errors import InvalidSpec, MissingExtra, TokenMismatch
from agentprm.text.render import PLAIN, LiveSight, Segment, Template, decided, opening, render, seen
from agentprm.text.turns import Beginnings, Turn, joined
from agentprm.types import Step, Trajectory
from agentprm.values import clean_text

try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
except ImportError as error:
    raise MissingExtra("models", error.name or "transformers") from error

__all__ = ["Encoded", "Encoder", "backend_of", "texts", "train_tokenizer"]

_MOST_TEXTS = 4096
_MOST_TURNS = 4096


@dataclass(frozen=True, slots=True)
class Encoded:
    """A whole trajectory in token ids."""

    ids: array[int]
    ends: tuple[int, ...]
    """The position in `ids` at which the score of each step is read."""
    turns: tuple[int, ...]
    """The position at which each turn begins, with its observation; before the first stands the task."""
    gap: array[int]
    """The ids that stand for turns left out."""
    begins: tuple[int, ...] = ()
    """The position at which the decision of each step begins, with the marker of its plan or action."""
    first: int = 0
    """The step that the first of `ends` belongs to."""


class Encoder:
    """A tokenizer and a template: what turns segments into ids, the same way in training and in serving.

    Each segment is tokenised by itself, once: equal texts have equal ids wherever they stand. Markers are added to the
    tokenizer as special tokens unless it has them; a text that spells one is tokenised as ordinary letters.

    It keeps the tokenizer as it was given, as `json`, and the ids of markers that it lacked, as `added`. Raises
    InvalidSpec for one that cannot be read, or that does not know the markers.

    >>> from agentprm.types import Action, Observation, Step, Task, new_id
    >>> step = Step(Observation("a door"), Action("open it"))
    >>> trajectory = Trajectory(new_id(), Task("leave"), (step, step), Observation("a garden"))
    >>> encoder = Encoder.of(train_tokenizer(["leave by a door"], vocab_size=280))
    >>> encoded = encoder(render(trajectory))
    >>> len(encoded.ends), encoded.ends[-1] == len(encoded.ids) - 1
    (2, True)
    """

    def __init__(self, json_text: str, template: Template, added: tuple[int, ...] = ()) -> None:
        self.json, self.template, self.added = json_text, template, added
        self._tokenizer = backend_of(json_text)
        # Text that spells a special token must not become one.
        self._tokenizer.encode_special_tokens = True
        self._marks = _ids(self._tokenizer, template)
        self._reserved = frozenset(self._marks.values())
        self._lead = Turn(array("i", self._leading_ids()), (), (), ())
        self._left_out = array("i", [self._marks[template.gap]])
        self._ids_of = lru_cache(_MOST_TEXTS)(self._tokenise)
        self._turns: dict[tuple[Any, ...], tuple[tuple[Any, ...], Turn]] = {}
        self._beginnings = Beginnings()

    @classmethod
    def of(cls, tokenizer: Any, template: Template = PLAIN) -> Encoder:
        """Return the encoder around a copy of a tokenizer: a fast one of transformers, or one of tokenizers."""
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not isinstance(backend, Tokenizer):
            raise InvalidSpec(f"a tokenizer is a fast one, with a tokenizer.json, not {type(tokenizer).__name__}")
        copy = Tokenizer.from_str(backend.to_str())
        copy.no_truncation()
        copy.no_padding()
        known = copy.get_vocab(with_added_tokens=True)
        copy.add_special_tokens([AddedToken(m, special=True, normalized=False) for m in template.markers])
        added = [number for marker, number in _ids(copy, template).items() if marker not in known]
        return cls(copy.to_str(), template, tuple(added))

    @property
    def digest(self) -> str:
        """128 bits, in hex, that name the tokenizer: those of its canonical JSON."""
        return _digest(self.json)

    @property
    def size(self) -> int:
        """How many embeddings a model needs: one more than the largest id."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def __call__(self, segments: Iterable[Segment]) -> Encoded:
        """Return the ids of segments, and where steps end; raises TokenMismatch if a text passes for a marker."""
        return self._encoded(joined([self._lead, self.turn(segments)]))

    def readings(self, trajectory: Trajectory, sees: LiveSight) -> list[Encoded]:
        """Return a trajectory in token ids, all steps in one piece."""
        return [self.trajectory(trajectory, sees)]

    def trajectory(self, trajectory: Trajectory, sees: LiveSight) -> Encoded:
        """Return the same as for ``render(trajectory, sees)``; turns that were met before are not worded again."""
        steps = trajectory.steps

        def turns(start: int) -> Iterator[Turn]:
            if start == 0:
                about = trajectory.task, trajectory.meta
                yield from (self._lead, self._known(about, (), lambda: opening(trajectory)))
            for t in range(start, len(steps) - 1):
                yield self._step(steps[t], scored=sees == "result" and t > 0, sees=sees)

        parts = [self._beginnings.of((trajectory.task, trajectory.meta, sees), steps[:-1], turns)]
        if steps:
            parts.append(self._step(steps[-1], scored=sees == "result" and len(steps) > 1, sees=sees))
        if sees == "result":
            parts.append(self.turn([seen(0, trajectory.last, ends_step=bool(steps))]))
        return self._encoded(joined(parts))

    def _step(self, step: Step, *, scored: bool, sees: LiveSight) -> Turn:
        def worded() -> Iterator[Segment]:
            yield seen(0, step.observation, ends_step=scored)
            yield from decided(0, step, ends_step=sees == "action")

        return self._known((step,), (scored, sees), worded)

    def _known(self, about: tuple[Any, ...], how: tuple[Any, ...], worded: Callable[[], Iterable[Segment]]) -> Turn:
        key = (*map(id, about), *how)
        _, turn = self._turns.get(key, ((), None))
        if turn is None:
            turn = self.turn(worded())
            if len(self._turns) >= _MOST_TURNS:
                self._turns.clear()
            # An id is used again once its object is gone: the objects are kept beside their tokens.
            self._turns[key] = about, turn
        return turn

    def turn(self, segments: Iterable[Segment]) -> Turn:
        """Return the ids of segments that stand together, and where in them steps end, turns and decisions begin."""
        ids = array("i")
        ends, turns, begins = list[int](), list[int](), list[int]()
        before = None
        for segment in segments:
            if segment.role == "observation":
                turns.append(len(ids))
            elif segment.role == "plan" or (segment.role == "action" and before != "plan"):
                begins.append(len(ids))
            before = segment.role
            ids.append(self._marks[getattr(self.template, segment.role)])
            ids.extend(self._ids_of(segment.text))
            if segment.scored:
                ends.append(len(ids))
                ids.append(self._marks[self.template.end])
        return Turn(ids, tuple(ends), tuple(turns), tuple(begins))

    def _encoded(self, turn: Turn) -> Encoded:
        return Encoded(turn.ids, turn.ends, turn.starts, self._left_out, turn.begins)

    def _tokenise(self, text: str) -> array[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not self._reserved.isdisjoint(ids):
            raise TokenMismatch(f"the tokenizer makes a marker of the text {text[:80]!r}: its vocabulary spells one")
        return array("i", ids)

    def _leading_ids(self) -> list[int]:
        """Return what the tokenizer itself puts before a text, for most models nothing or one BOS."""
        lone = self._tokenizer.encode("a", add_special_tokens=True)
        return [i for i, _ in takewhile(lambda pair: pair[1], zip(lone.ids, lone.special_tokens_mask, strict=True))]

    def __reduce__(self) -> tuple[type[Encoder], tuple[str, Template, tuple[int, ...]]]:
        return type(self), (self.json, self.template, self.added)


def backend_of(json_text: str) -> Tokenizer:
    """Return the tokenizer that a tokenizer.json describes; raises InvalidSpec for anything else."""
    try:
        return Tokenizer.from_str(json_text)
    except Exception as error:
        raise InvalidSpec(f"this is no tokenizer.json: {error}") from error


def _ids(tokenizer: Tokenizer, template: Template) -> dict[str, int]:
    """Return the id of each marker."""
    found = {marker: tokenizer.token_to_id(marker) for marker in template.markers}
    if missing := [marker for marker, number in found.items() if number is None]:
        raise InvalidSpec(f"this tokenizer does not know {missing}: Encoder.of(tokenizer) adds markers")
    return {marker: number for marker, number in found.items() if number is not None}


@lru_cache(16)
def _digest(json_text: str) -> str:
    canonical = json.dumps(json.loads(json_text), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def texts(trajectories: Iterable[Trajectory]) -> Iterator[str]:
    """Yield every text that a model would read of trajectories: what to train a tokenizer on."""
    for trajectory in trajectories:
        yield from (segment.text for segment in render(trajectory, "result"))


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 2048, *, superwords: bool = False, apart: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer learnt from texts; it can write any text, and knows the plain markers.

    With `superwords` tokens may reach across spaces, though never across punctuation, digits or line ends: texts that
    repeat themselves, as those of environments do, become much shorter. Words in `apart` then stay tokens of their
    own, for what must be told apart (colours, names of things).

    >>> tokenizer = train_tokenizer(["you see a red key. you see a red box."] * 9, 300, superwords=True, apart=["red"])
    >>> tokenizer.tokenize("you see a red key")
    ['youĠseeĠa', 'Ġred', 'Ġkey']
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _splitting(superwords, sorted(apart, key=len, reverse=True))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(PLAIN.markers),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(clean_text, texts), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]


def _splitting(superwords: bool, apart: list[str]) -> pre_tokenizers.PreTokenizer:
    if not superwords:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [rf" ?\b{re.escape(word)}\b" for word in apart]
    pieces = Regex("|".join([*words, r" ?\d", r"\W*[^\w ]\W*"]))
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(pieces, "isolated"), bytes_only])
