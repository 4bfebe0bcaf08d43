"""One number for a trajectory from its steps' scores. A step without an opinion (None) does not count."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agentprm.types import Aggregate, Unit

__all__ = ["AGGREGATES", "default_aggregate", "last", "mean", "minimum", "product", "softmin", "total"]

Values = Sequence[float | None]


def _given(values: Values) -> list[float]:
    return [v for v in values if v is not None]


def last(values: Values) -> float | None:
    """Return the last score given: the right one for *values*, each of which already foretells the outcome.

    >>> last([0.2, 0.7, None])
    0.7
    """
    return next((v for v in reversed(values) if v is not None), None)


def minimum(values: Values) -> float | None:
    """Return the worst step's score (Wang et al. 2023, Math-Shepherd)."""
    return min(_given(values), default=None)


def product(values: Values) -> float | None:
    """Return the chance that every step is right (Lightman et al. 2023); it leans against long episodes."""
    given = _given(values)
    return math.prod(given) if given else None


def mean(values: Values) -> float | None:
    """Return the mean score."""
    given = _given(values)
    return math.fsum(given) / len(given) if given else None


def total(values: Values) -> float | None:
    """Return the sum: the right one for *rewards*."""
    given = _given(values)
    return math.fsum(given) if given else None


def softmin(values: Values, temperature: float = 0.1) -> float | None:
    """Return the softmin-weighted sum of Cheng et al. (2025, PURE): Σ w_t p_t with w = softmax(−p / temperature).

    >>> round(softmin([0.0, 1.0]), 6)
    4.5e-05
    """
    given = _given(values)
    if not given:
        return None
    lowest = min(given)
    weights = [math.exp((lowest - v) / temperature) for v in given]
    return math.fsum(w * v for w, v in zip(weights, given, strict=True)) / math.fsum(weights)


AGGREGATES: dict[str, Aggregate] = {
    "last": last,
    "min": minimum,
    "product": product,
    "mean": mean,
    "sum": total,
    "softmin": softmin,
}
"""By the names that specs and the command line use."""

_BY_UNIT: dict[Unit, Aggregate] = {"value": last, "correctness": product, "reward": total}


def default_aggregate(unit: Unit) -> Aggregate:
    """Return the aggregate that fits a unit: last for values, product for correctness, sum for rewards.

    Mixing them up costs one to two points of best-of-N accuracy (Zhang et al. 2025, arXiv:2501.07301).
    """
    return _BY_UNIT[unit]
