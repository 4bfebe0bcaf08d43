"""Maps from scores to chances, and how far scores are from being chances."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["expected_calibration_error", "interpolated", "isotonic", "temperature", "warmed"]

_MARGIN = 1e-6
"""How near to 0 and 1 a score may come before its logit is taken."""


def expected_calibration_error(scores: Sequence[float], outcomes: Sequence[float], bins: int = 10) -> float | None:
    """Return the mean distance of score and outcome over `bins` equal ranges of the score (Naeini et al. 2015).

    Each range counts by the share of scores in it; 0 is perfect, 1 the worst. None for no scores.

    >>> expected_calibration_error([0.75, 0.75, 0.75, 0.75], [1.0, 1.0, 1.0, 0.0])
    0.0
    """
    if not scores:
        return None
    sums = [[0.0, 0.0] for _ in range(bins)]
    for score, outcome in zip(scores, outcomes, strict=True):
        cell = sums[min(int(score * bins), bins - 1)]
        cell[0] += score
        cell[1] += outcome
    return math.fsum(abs(score - outcome) for score, outcome in sums) / len(scores)


def warmed(score: float, temperature: float) -> float:
    """Return σ(logit(score) / temperature) (Guo et al. 2017): above 1 it draws scores to a half, below it away.

    >>> warmed(0.9, 1.0), round(warmed(0.9, 2.0), 6)
    (0.9, 0.75)
    """
    if temperature == 1.0:
        return score
    inside = min(max(score, _MARGIN), 1 - _MARGIN)
    return 1 / (1 + math.exp(-math.log(inside / (1 - inside)) / temperature))


def temperature(scores: Sequence[float], outcomes: Sequence[float]) -> float:
    """Return the temperature in [0.05, 20] at which the log-loss of `warmed` scores is least (Guo et al. 2017).

    Outcomes lie in [0, 1]. The loss has one minimum in log(temperature), found by golden section to 1e-6.

    >>> round(temperature([0.9, 0.9, 0.9, 0.9], [1.0, 1.0, 1.0, 0.0]), 3)
    2.0
    """
    low, high, ratio = math.log(0.05), math.log(20.0), (math.sqrt(5) - 1) / 2

    def loss(log_temperature: float) -> float:
        return _log_loss(scores, outcomes, math.exp(log_temperature))

    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def _log_loss(scores: Sequence[float], outcomes: Sequence[float], temperature: float) -> float:
    chances = (min(max(warmed(score, temperature), 1e-12), 1 - 1e-12) for score in scores)
    return -math.fsum(y * math.log(p) + (1 - y) * math.log1p(-p) for p, y in zip(chances, outcomes, strict=True))


def isotonic(scores: Sequence[float], outcomes: Sequence[float]) -> list[tuple[float, float]]:
    """Return the knots (score, outcome) of the rising curve nearest to the points in squares (Zadrozny and Elkan 2002).

    Pool adjacent violators; between knots `interpolated` draws straight lines. Raises ValueError for no points.

    >>> isotonic([0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 0.0, 1.0])
    [(0.1, 0.0), (0.2, 0.5), (0.3, 0.5), (0.4, 1.0)]
    """
    if not scores:
        raise ValueError("isotonic regression needs at least one point")
    points: dict[float, list[float]] = {}
    for score, outcome in zip(scores, outcomes, strict=True):
        points.setdefault(score, []).append(outcome)
    blocks: list[tuple[float, float, float, int]] = []  # first score, last score, sum of outcomes, how many
    for score in sorted(points):
        block = (score, score, math.fsum(points[score]), len(points[score]))
        while blocks and blocks[-1][2] * block[3] >= block[2] * blocks[-1][3]:
            first, _, total, n = blocks.pop()
            block = (first, block[1], total + block[2], n + block[3])
        blocks.append(block)
    return [(x, total / n) for first, last, total, n in blocks for x in sorted({first, last})]


def interpolated(score: float, knots: Sequence[Sequence[float]]) -> float:
    """Return the height of a curve of knots at `score`, level beyond its ends.

    >>> interpolated(0.5, [(0.0, 0.2), (1.0, 0.4)])
    0.30000000000000004
    """
    at = bisect_left(knots, score, key=lambda knot: knot[0])
    if at == 0 or at == len(knots):
        return knots[min(at, len(knots) - 1)][1]
    (x0, y0), (x1, y1) = knots[at - 1], knots[at]
    return y0 + (y1 - y0) * (score - x0) / (x1 - x0)
