"""What a server says of itself, and of trajectories; and what it takes to speak with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from agentprm.types import Sight, Trajectory, Unit

__all__ = ["Opinion", "Served", "Speaks"]

Series: TypeAlias = tuple[float | None, ...]


class Served(NamedTuple):
    """Who answers."""

    unit: Unit
    sees: Sight
    model: str
    """As the server calls it."""
    weights: str
    """128 bits, in hex, that name what is served, as far as the server tells."""
    context: int | None = None
    """How many tokens it reads at once; None where that is its own affair, or not known."""


class Opinion(NamedTuple):
    """What was said of one trajectory."""

    values: Series
    parts: Mapping[str, Series] = {}
    notes: tuple[str | None, ...] = ()


class Speaks(Protocol):
    """The language of one kind of server: a trajectory is read, questions are asked of it, answers become scores."""

    def hello(self) -> Served:
        """Return what is served."""

    def read(self, trajectory: Trajectory, served: Served, /) -> Any:
        """Return what is made of a trajectory before anything is asked."""

    def questions(self, read: Any, /) -> Sequence[Any]:
        """Return what is asked of it; any number of questions may go into one request."""

    def ask(self, questions: Sequence[Any], served: Served, /) -> Sequence[Any]:
        """Return an answer to each question; raises BadAnswer for what is none."""

    def opinion(self, read: Any, answers: Sequence[Any], /) -> Opinion:
        """Return what the answers to its questions say of a trajectory."""
