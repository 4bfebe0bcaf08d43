"""How far scores agree with what happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Interval", "auc", "brier", "mean_interval", "wilson"]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def auc(scores: Sequence[float], positives: Sequence[bool]) -> float | None:
    """Return the chance that a positive scores higher than a negative, ties counting half; None without both kinds.

    >>> auc([0.1, 0.4, 0.4, 0.8], [False, False, True, True])
    0.875
    """
    n_pos = sum(positives)
    n_neg = len(positives) - n_pos
    if not n_pos or not n_neg:
        return None
    ranks = _midranks(scores)
    above = math.fsum(rank for rank, positive in zip(ranks, positives, strict=True) if positive)
    return (above - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)


def _midranks(scores: Sequence[float]) -> list[float]:
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    ranks = [0.0] * len(scores)
    first = 0
    while first < len(order):
        after = first
        while after < len(order) and scores[order[after]] == scores[order[first]]:
            after += 1
        for i in order[first:after]:
            ranks[i] = (first + 1 + after) / 2
        first = after
    return ranks


def brier(scores: Sequence[float], outcomes: Sequence[float]) -> float | None:
    """Return the mean squared distance of scores from outcomes; None for no scores.

    >>> brier([0.5, 1.0], [1.0, 1.0])
    0.125
    """
    if not scores:
        return None
    return math.fsum((s - o) ** 2 for s, o in zip(scores, outcomes, strict=True)) / len(scores)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval | None:
    """Return the score interval of a proportion (Wilson 1927); None for n = 0.

    >>> low, high = wilson(75, 100)
    >>> round(low, 4), round(high, 4)
    (0.657, 0.8245)
    """
    if n == 0:
        return None
    z = _z(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mean_interval(mean: float, variance_of_mean: float, confidence: float = 0.95) -> Interval:
    """Return the normal interval around a mean, given the variance of that mean."""
    half = _z(confidence) * math.sqrt(max(variance_of_mean, 0.0))
    return Interval(mean - half, mean + half)
