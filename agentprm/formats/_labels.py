"""What people say of a step, as correctness."""

from __future__ import annotations

from typing import Literal, TypeAlias

from agentprm.errors import InvalidSpec
from agentprm.formats._node import Node
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["Neutral", "correctness", "human"]

Neutral: TypeAlias = Literal["positive", "negative", "ternary", "drop"]
"""What a rating of 0 counts as: 1, 0, 0.5, or no opinion."""
_NEUTRAL: dict[str, float | None] = {"positive": 1.0, "negative": 0.0, "ternary": 0.5, "drop": None}


def correctness(rating: Node | None, neutral: Neutral) -> float | None:
    """Return a rating of -1, 0 or 1 as correctness; None for none.

    >>> correctness(Node(0), "ternary"), correctness(Node(-1), "positive")
    (0.5, 0.0)
    """
    if neutral not in _NEUTRAL:
        raise InvalidSpec(f"neutral is one of {', '.join(_NEUTRAL)}, not {neutral!r}")
    if rating is None:
        return None
    given = rating.one_of(-1, 0, 1)
    return _NEUTRAL[neutral] if given == 0 else float(given > 0)


def human(
    trajectory: Trajectory,
    ratings: list[Node | None],
    *,
    dataset: str,
    neutral: Neutral,
    start: int = 0,
) -> Scores:
    """Return what people said of each step, by the name of the data set; the rating itself is the part ``rating``."""
    values = tuple(correctness(rating, neutral) for rating in ratings)
    raw = tuple(None if rating is None else float(rating.as_whole()) for rating in ratings)
    source = Spec(dataset, {"by": "human", "neutral": neutral})
    return Scores(trajectory.id, source, "correctness", values, start, {"rating": raw})
