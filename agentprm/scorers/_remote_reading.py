"""Trajectories as token ids for a model that is served elsewhere, by its tokenizer here.

Where a step is judged is known from how the text was made; it is never found again in it, here or there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

from agentprm.errors import InvalidSpec
from agentprm.scorers._answers import answers
from agentprm.scorers._published_folder import Checkpoint, fetch
from agentprm.scorers._published_kinds import KINDS, Kind
from agentprm.scorers._published_reading import Solutions
from agentprm.scorers._remote_served import Opinion
from agentprm.text.chat import encoder_of
from agentprm.text.render import PLAIN, LiveSight
from agentprm.text.tokens import Encoder
from agentprm.text.windows import Window, read, remarks
from agentprm.types import Trajectory

__all__ = ["Read", "Reading", "Reads", "reading"]

Reads: TypeAlias = Literal[Kind, "plain", "chat"]
Read: TypeAlias = tuple[list[Window], list[str | None]]
"""The windows of a trajectory, and for each step why it cannot be read."""


class Reading(Protocol):
    """A tokenizer, and how a trajectory is worded for it."""

    @property
    def digest(self) -> str:
        """128 bits, in hex, that name tokenizer and wording."""

    @property
    def verdicts(self) -> tuple[int, int]:
        """The ids of the tokens for *wrong* and *right*, where these are the model's words; else (0, 0)."""

    def read(self, trajectory: Trajectory, context: int | None) -> Read:
        """Return the windows of a trajectory, and for each step why it cannot be read."""

    def opinion(self, read: Read, said: Sequence[float]) -> Opinion:
        """Return what the numbers at all ends of these windows, in order, say of each step."""


def reading(tokenizer: str, reads: str | None, separator: str, sees: str) -> Reading:
    """Return what turns trajectories into the tokens of a model; raises InvalidSpec for what cannot."""
    known = (*get_args(Kind), "plain", "chat")
    if reads is None or reads not in known:
        raise InvalidSpec(f"reads is how the model was taught to read, one of {', '.join(known)}, not {reads!r}")
    found = Checkpoint(fetch(tokenizer, weights=False), {}, {}).tokenizer()
    if reads in ("plain", "chat"):
        if sees not in get_args(LiveSight):
            raise InvalidSpec(f"sees is one of {', '.join(get_args(LiveSight))}, not {sees!r}")
        return _Turns.of(found, reads, sees)  # type: ignore[arg-type]
    if sees != "action":
        raise InvalidSpec(f"a published model judges a step by its action: sees='action', not {sees!r}")
    wording = KINDS[reads].wording(found, separator)  # type: ignore[index]
    return _Solution(Solutions.of(wording, found), _digest(found, reads, separator))


@dataclass(frozen=True)
class _Solution:
    """A question and the steps of its solution, as published models read them."""

    solutions: Solutions
    digest: str

    @property
    def verdicts(self) -> tuple[int, int]:
        return self.solutions.wording.verdicts

    def read(self, trajectory: Trajectory, context: int | None) -> Read:
        window, notes = self.solutions.read(trajectory, context)
        return [window] if window.ends else [], notes

    def opinion(self, read: Read, said: Sequence[float]) -> Opinion:
        # Steps that cannot be read stand in no window.
        notes, numbers = read[1], iter(said)
        values = tuple(next(numbers) if note is None else None for note in notes)
        return Opinion(values, {}, tuple(notes) if any(notes) else ())


@dataclass(frozen=True)
class _Turns:
    """A trajectory turn by turn, as our own models read it."""

    encoder: Encoder
    sees: LiveSight

    @classmethod
    def of(cls, tokenizer: Any, reads: str, sees: LiveSight) -> _Turns:
        encoder = encoder_of(tokenizer, PLAIN if reads == "plain" else "chat")
        if encoder.added:
            raise InvalidSpec(
                f"this tokenizer lacks {len(encoder.added)} of the markers between turns, for which a model that is "
                "served elsewhere has no embeddings: give the tokenizer it was trained with, or say reads='chat'"
            )
        return cls(encoder, sees)

    @property
    def digest(self) -> str:
        return _hash(self.encoder.digest, self.encoder.template.digest, self.sees)

    @property
    def verdicts(self) -> tuple[int, int]:
        return 0, 0

    def read(self, trajectory: Trajectory, context: int | None) -> Read:
        if context is None:
            raise InvalidSpec("the server does not say how many tokens its model reads: say context=")
        return read(trajectory, self.encoder, self.sees, context)

    def opinion(self, read: Read, said: Sequence[float]) -> Opinion:
        ((values, _),) = answers([read], said, {})
        return Opinion(values, {}, remarks(*read))


def _digest(tokenizer: Any, *more: str) -> str:
    words = json.dumps(json.loads(tokenizer.backend_tokenizer.to_str()), sort_keys=True)
    return _hash(words, str(tokenizer.chat_template), str(tokenizer.bos_token), *more)


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
