"""What a server says of itself, and of trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

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


class Opinion(NamedTuple):
    """What was said of one trajectory."""

    values: Series
    parts: Mapping[str, Series] = {}
    notes: tuple[str | None, ...] = ()


class Speaks(Protocol):
    """The language of one kind of server."""

    def hello(self) -> Served:
        """Return what is served."""

    def score(self, trajectories: Sequence[Trajectory], served: Served, /) -> list[Opinion]:
        """Return what is said of each trajectory; raises BadAnswer for what is no score."""
