"""The alarm for a score that rises away from its outcome: hand-made trends, and how often it cries wolf."""

import math

import numpy as np
import pytest

from agentprm.ops.agree import Moments
from agentprm.ops.hacking import Version, gap_trend


def version(scores, outcomes):
    gaps = scores - outcomes
    n = len(scores)
    return Version(n, scores.mean(), outcomes.mean(), scores.var(ddof=1) / n, gaps.var(ddof=1) / n)


def run(rng, success, rise=0.0, n=100, versions=8, miscalibrated=0.0):
    """Return the versions of one training run: `success` goes from its first to its second value, the score's mean too.

    A score is a noisy guess at its episode's chance of success; `rise` is what the last version's gets for nothing.
    """
    made = []
    for i in range(versions):
        share = i / (versions - 1)
        mean = success[0] + (success[1] - success[0]) * share
        chance = np.clip(rng.beta(4 * mean, 4 * (1 - mean), n), 0, 1)
        outcomes = (rng.random(n) < chance).astype(float)
        scores = np.clip(chance + miscalibrated + rise * share + rng.normal(0, 0.1, n), 0, 1)
        made.append(version(scores, outcomes))
    return made


def alarms(n_runs, success, **changes):
    rng = np.random.default_rng(0)
    return sum(gap_trend(run(rng, success, **changes)).fires for _ in range(n_runs)) / n_runs


@pytest.mark.parametrize("success", [(0.3, 0.8), (0.5, 0.5), (0.82, 0.7)], ids=["better", "flat", "worse"])
def test_healthy_runs_seldom_ring(success):
    """1,000 runs each: at the level of 1 %, no more than that and a simulation's error."""
    assert alarms(1000, success) <= 0.02


def length_explains(rng, success, n=800):
    """Return how much of the score length explains in a healthy run: failures take longer."""
    chance = rng.beta(4 * success, 4 * (1 - success), n)
    outcomes = (rng.random(n) < chance).astype(float)
    lengths = 1.0 + rng.poisson(12 - 6 * outcomes)
    scores = chance - 0.01 * lengths * rng.random() + rng.normal(0, 0.1, n)
    sums = (lengths, scores, outcomes, lengths**2, scores**2, outcomes**2, lengths * scores, lengths * outcomes,
            scores * outcomes)  # fmt: skip
    partial = Moments(n, *(float(x.sum()) for x in sums)).partial
    return max(partial, 0.0) ** 2


def test_length_explains_little_of_a_healthy_score():
    rng = np.random.default_rng(0)
    assert max(length_explains(rng, success) for success in (0.3, 0.5, 0.8) for _ in range(400)) < 0.1


def test_a_score_that_is_off_by_as_much_throughout_is_no_alarm():
    assert alarms(300, (0.3, 0.6), miscalibrated=0.2) <= 0.02


def test_a_score_that_rises_while_success_falls_from_82_to_70_percent_rings():
    assert alarms(300, (0.82, 0.70), rise=0.2) >= 0.9


def test_no_alarm_below_the_least_rise_or_when_the_score_falls():
    tiny = [Version(10**6, 0.50 + 0.004 * i, 0.5, 1e-9, 1e-9) for i in range(8)]
    assert gap_trend(tiny).p < 1e-6
    assert not gap_trend(tiny).fires
    assert gap_trend(tiny, least=0.02).fires
    falling = [Version(400, 0.8 - 0.01 * i, 0.8 - 0.05 * i, 1e-4, 4e-4) for i in range(8)]
    assert gap_trend(falling).gap > 0.2
    assert not gap_trend(falling).fires


def test_the_line_is_weighted_by_hand():
    found = gap_trend([Version(10, 0.5, 0.5, 0.01, 0.04), Version(10, 0.7, 0.5, 0.01, 0.01)])
    assert (found.gap, found.score) == (pytest.approx(0.2), pytest.approx(0.2))
    # With two points the slope's variance is the sum of theirs.
    assert found.p == pytest.approx(0.5 * math.erfc(0.2 / math.sqrt(0.05) / math.sqrt(2)))


def test_one_version_has_no_trend():
    assert not gap_trend([Version(100, 0.9, 0.1, 1e-4, 1e-4)]).fires
    assert not gap_trend([]).fires


def test_versions_without_any_variance_do_not_divide_by_zero():
    assert gap_trend([Version(10, 0.5, 0.5, 0.0, 0.0), Version(10, 0.9, 0.5, 0.0, 0.0)]).fires


def test_moments_give_the_correlations_of_numpy():
    rng = np.random.default_rng(3)
    z = rng.normal(size=200)
    x, y = z + rng.normal(size=200), z + rng.normal(size=200)
    sums = [len(z), *map(np.sum, (x, y, z, x * x, y * y, z * z, x * y, x * z, y * z))]
    m = Moments(*map(float, sums))
    assert m.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    rest = [a - np.polyval(np.polyfit(z, a, 1), z) for a in (x, y)]
    assert m.partial == pytest.approx(np.corrcoef(*rest)[0, 1])
    half = [Moments(*map(float, [50, *map(np.sum, (a, b, c, a * a, b * b, c * c, a * b, a * c, b * c))]))
            for a, b, c in ((x[i : i + 50], y[i : i + 50], z[i : i + 50]) for i in range(0, 200, 50))]  # fmt: skip
    assert sum(half, Moments()).partial == pytest.approx(m.partial)
