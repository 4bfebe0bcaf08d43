"""What vLLM and SGLang have in common: they are asked in token ids, and answer in rows of numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from agentprm.errors import BadAnswer, InvalidSpec
from agentprm.scorers._remote_numbers import Head, Row
from agentprm.scorers._remote_reading import Read, Reading
from agentprm.scorers._remote_served import Opinion, Served
from agentprm.text.windows import Window
from agentprm.types import Sight, Trajectory

__all__ = ["Identity", "Tokens", "Wire", "counted", "listed"]


class Identity(NamedTuple):
    """What a server says of its model."""

    model: str
    more: Sequence[Any]
    """Whatever else names the weights."""
    context: int | None


class Wire(Protocol):
    """One endpoint: what is sent there, and what comes back."""

    @property
    def whole(self) -> bool:
        """Whether it judges every step of a text at once; else it judges the end of a text."""

    def who(self) -> Identity:
        """Return what is served."""

    def rows(self, windows: Sequence[Window], model: str) -> tuple[list[list[Row]], bool]:
        """Return a row for each end of each window, and whether they are chances; raises BadAnswer."""


@dataclass(frozen=True)
class Tokens:
    """A server of somebody else's: it knows tokens, and we know which of them end a step."""

    wire: Wire
    reading: Reading
    head: Head
    sees: Sight
    context: int | None
    version: str

    def hello(self) -> Served:
        """Return what is served; raises InvalidSpec for a longer context than it has."""
        who = self.wire.who()
        if who.context is not None and (self.context or 0) > who.context:
            raise InvalidSpec(f"context={self.context}, and {who.model} reads {who.context} tokens where it is served")
        parts = json.dumps([who.model, *who.more, self.reading.digest, self.version], sort_keys=True)
        weights = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
        return Served(self.head.unit, self.sees, who.model, weights, self.context or who.context)

    def read(self, trajectory: Trajectory, served: Served) -> Read:
        """Return the windows of a trajectory, and for each step why it cannot be read."""
        return self.reading.read(trajectory, served.context)

    def questions(self, read: Read) -> list[Window]:
        """Return the windows; one for each step where only the end of a text is judged."""
        return read[0] if self.wire.whole else [one for window in read[0] for one in _prefixes(window)]

    def ask(self, windows: Sequence[Window], served: Served) -> list[tuple[float, ...]]:
        """Return the score of each step of each window."""
        found, is_activated = self.wire.rows(windows, served.model)
        return [tuple(self.head.score(row, is_activated=is_activated) for row in rows) for rows in found]

    def opinion(self, read: Read, said: Sequence[tuple[float, ...]]) -> Opinion:
        """Return the scores of a trajectory; None, with a note, where it cannot be read."""
        return self.reading.opinion(read, [value for one in said for value in one])


def _prefixes(window: Window) -> Iterator[Window]:
    for t, end in zip(window.steps, window.ends, strict=True):
        yield Window(window.ids[: end + 1], (end,), t, window.dropped)


def listed(found: Any, n: int, where: str) -> list[Any]:
    """Return a list of so many; raises BadAnswer for anything else."""
    if not isinstance(found, list) or len(found) != n:
        what = f"{len(found)}" if isinstance(found, list) else f"{found!r:.80}"
        raise BadAnswer(f"{where} was asked about {n} texts, and answered {what}")
    return found


def counted(said: Any, sent: int, where: str) -> None:
    """Return if a server read as many tokens as it was sent, or does not say; raises BadAnswer otherwise.

    One that cuts a text off, or puts a token before it, judges other places than those meant.
    """
    if isinstance(said, int) and said != sent:
        raise BadAnswer(f"{where} was sent {sent} tokens, and says that it read {said}: steps end elsewhere for it")
