"""How far scores agree with what happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import NamedTuple

__all__ = [
    "Interval",
    "Moments",
    "auc",
    "auc_interval",
    "brier",
    "correlation_interval",
    "difference_interval",
    "mean_interval",
    "psi",
    "sign_test",
    "wilson",
]


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


def auc_interval(auc: float, n_pos: int, n_neg: int, confidence: float = 0.95) -> Interval | None:
    """Return the interval of an AUC over independent cases (Hanley & McNeil 1982); None without both kinds.

    >>> low, high = auc_interval(0.8, 50, 50)
    >>> round(low, 3), round(high, 3)
    (0.713, 0.887)
    """
    if not n_pos or not n_neg:
        return None
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    total = auc * (1 - auc) + (n_pos - 1) * (q1 - auc * auc) + (n_neg - 1) * (q2 - auc * auc)
    low, high = mean_interval(auc, total / (n_pos * n_neg), confidence)
    return Interval(max(0.0, low), min(1.0, high))


def difference_interval(successes_1: float, n_1: int, successes_2: float, n_2: int) -> Interval:
    """Return the 95 % interval of one share less another (Newcombe 1998, from Wilson's of each); n at least 1.

    >>> low, high = difference_interval(56, 70, 48, 80)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    one, two = wilson(successes_1, n_1), wilson(successes_2, n_2)
    assert one is not None
    assert two is not None
    p_1, p_2 = successes_1 / n_1, successes_2 / n_2
    below = math.hypot(p_1 - one.low, two.high - p_2)
    above = math.hypot(one.high - p_1, p_2 - two.low)
    return Interval(p_1 - p_2 - below, p_1 - p_2 + above)


def sign_test(a: int, b: int) -> float | None:
    """Return the two-sided p of `a` wins against `b` when both are as likely, exactly; None without any.

    >>> sign_test(1, 7)
    0.0703125
    """
    n = a + b
    if n == 0:
        return None
    tail: float = sum(math.comb(n, i) for i in range(min(a, b) + 1)) / 2**n
    return min(1.0, 2 * tail)


def psi(before: Sequence[float], now: Sequence[float]) -> float | None:
    """Return the population stability index of two histograms: Σ (q − p) ln(q / p); half a case is added to each bin.

    >>> psi([50, 50], [50, 50]), round(psi([900, 100], [500, 500]), 2)
    (0.0, 0.88)
    """
    if not sum(before) or not sum(now):
        return None
    half = len(before) / 2
    p, q = ([(x + 0.5) / (sum(bins) + half) for x in bins] for bins in (before, now))
    return math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over n observations of x, y and z, from which correlations follow.

    >>> m = Moments(3, x=6, y=12, xx=14, yy=56, xy=28)
    >>> m.correlation
    1.0
    """

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    zz: float = 0.0
    xy: float = 0.0
    xz: float = 0.0
    yz: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def correlation(self) -> float | None:
        """Pearson's r of x and y; None where one of them never varies."""
        return self._r(self.x, self.y, self.xx, self.yy, self.xy)

    @property
    def partial(self) -> float | None:
        """The correlation of x and y with z held fixed; plain where z never varies."""
        r = self.correlation
        with_x = self._r(self.x, self.z, self.xx, self.zz, self.xz)
        with_y = self._r(self.y, self.z, self.yy, self.zz, self.yz)
        if r is None or with_x is None or with_y is None:
            return r
        left = (1 - with_x * with_x) * (1 - with_y * with_y)
        return None if left <= 1e-12 else max(-1.0, min(1.0, (r - with_x * with_y) / math.sqrt(left)))

    def _r(self, a: float, b: float, aa: float, bb: float, ab: float) -> float | None:
        if self.n < 2:
            return None
        var_a, var_b = aa - a * a / self.n, bb - b * b / self.n
        if var_a <= 1e-12 * abs(aa) or var_b <= 1e-12 * abs(bb):
            return None
        return max(-1.0, min(1.0, (ab - a * b / self.n) / math.sqrt(var_a * var_b)))


def correlation_interval(r: float, n: float, confidence: float = 0.95) -> Interval | None:
    """Return the interval of a correlation over n independent observations (Fisher 1921); None for n ≤ 3.

    >>> low, high = correlation_interval(0.5, 103)
    >>> round(low, 3), round(high, 3)
    (0.339, 0.632)
    """
    if n <= 3 or abs(r) >= 1.0:
        return Interval(r, r) if n > 3 else None
    half = _z(confidence) / math.sqrt(n - 3)
    return Interval(math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))
