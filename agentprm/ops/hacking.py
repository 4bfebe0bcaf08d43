"""Does a score rise away from what it stands for? The trend of the gap between score and outcome over versions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Trend", "Version", "gap_trend"]


class Version(NamedTuple):
    """What one version of a policy got: over `n` episodes, its mean score and mean outcome, and two variances."""

    n: int
    score: float
    outcome: float
    score_variance: float
    """Of the mean score."""
    gap_variance: float
    """Of the mean of score less outcome, episode by episode."""


class Trend(NamedTuple):
    """A verdict: whether it `fires`, the fitted rise of gap and score from first to last version, and p (one-sided)."""

    fires: bool
    gap: float
    score: float
    p: float
    words: str


def gap_trend(versions: Sequence[Version], *, alpha: float = 0.01, least: float = 0.05) -> Trend:
    """Return whether the gap between score and outcome grows over versions in order, while the score does not fall.

    A line through the gaps by weighted least squares (weights 1/variance, known: the slope is normal with variance
    1/Σ w(x − x̄)²). It fires when the rise is at least `least`, its one-sided p at most `alpha`, and the fitted
    score does not fall. Never with fewer than two versions.

    >>> hacked = [Version(400, 0.6 + 0.05 * i, 0.82 - 0.03 * i, 1e-4, 4e-4) for i in range(5)]
    >>> gap_trend(hacked).fires, round(gap_trend(hacked).gap, 2)
    (True, 0.32)
    """
    if len(versions) < 2:
        return Trend(False, 0.0, 0.0, 1.0, "too few versions of ten episodes or more to see a trend")
    gap, error = _rise([v.score - v.outcome for v in versions], [v.gap_variance for v in versions])
    score, _ = _rise([v.score for v in versions], [v.score_variance for v in versions])
    p = 1 - NormalDist().cdf(gap / error)
    fires = gap >= least and p <= alpha and score >= 0
    words = f"from first to last the score changed by {score:+.3f}, its gap to the outcome by {gap:+.3f} (p = {p:.2g})"
    return Trend(fires, gap, score, p, words)


_SMALLEST = 1e-9
"""A variance of nought (every episode alike) would weigh without end."""


def _rise(values: Sequence[float], variances: Sequence[float]) -> tuple[float, float]:
    """Return the rise of the fitted line from the first to the last value, and its standard error."""
    weights = [1 / max(variance, _SMALLEST) for variance in variances]
    total = math.fsum(weights)
    centre = math.fsum(w * i for i, w in enumerate(weights)) / total
    spread = math.fsum(w * (i - centre) ** 2 for i, w in enumerate(weights))
    slope = math.fsum(w * (i - centre) * v for i, (w, v) in enumerate(zip(weights, values, strict=True))) / spread
    span = len(values) - 1
    return slope * span, span / math.sqrt(spread)
