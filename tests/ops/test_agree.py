"""Agreement against brute force and published values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm.ops import agree
from agentprm.ops.agree import auc, brier, mean_interval, wilson

pairs = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 1.0, -3.0]), st.booleans()), max_size=40)


def counted(scores, positives):
    """The definition: over all pairs of a positive and a negative."""
    wins, n = 0.0, 0
    for high, is_positive in zip(scores, positives, strict=True):
        for low, other in zip(scores, positives, strict=True):
            if is_positive and not other:
                n += 1
                wins += 1.0 if high > low else 0.5 if high == low else 0.0
    return wins / n if n else None


@given(pairs)
def test_auc_is_the_share_of_pairs_in_order_with_ties_counting_half(given_pairs):
    scores, positives = [s for s, _ in given_pairs], [p for _, p in given_pairs]
    expected = counted(scores, positives)
    found = auc(scores, positives)
    assert found is None if expected is None else found == pytest.approx(expected, abs=1e-12)


@given(pairs)
def test_auc_of_the_opposite_is_the_rest(given_pairs):
    scores, positives = [s for s, _ in given_pairs], [p for _, p in given_pairs]
    one, other = auc(scores, positives), auc([-s for s in scores], positives)
    assert (one is None) == (other is None)
    assert one is None or one + other == pytest.approx(1.0, abs=1e-12)


def test_auc_by_hand():
    assert auc([1.0, 2.0, 3.0, 4.0], [False, False, True, True]) == 1.0
    assert auc([1.0, 2.0, 3.0, 4.0], [True, True, False, False]) == 0.0
    assert auc([0.5] * 6, [True, False] * 3) == 0.5
    assert auc([1.0], [True]) is None
    assert auc([], []) is None


def test_scores_and_outcomes_come_in_pairs():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        auc([0.1, 0.2], [True, False, False])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        brier([0.1, 0.2], [1.0])


def test_brier_by_hand():
    assert brier([0.0, 0.5, 1.0], [0.0, 1.0, 0.0]) == pytest.approx(1.25 / 3)
    assert brier([], []) is None


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, table I: the score method without continuity correction.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_gives_published_intervals(successes, n, low, high):
    interval = wilson(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_wilson_holds_the_share_and_stays_within_0_and_1(n, share, confidence):
    low, high = wilson(share * n, n, confidence)
    assert 0.0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1.0


def test_no_trial_has_no_interval():
    assert wilson(0, 0) is None


def test_the_interval_of_a_mean_is_the_normal_one():
    low, high = mean_interval(0.5, 0.01)
    assert (low, high) == pytest.approx((0.5 - 1.959964 * 0.1, 0.5 + 1.959964 * 0.1), abs=1e-6)
    assert mean_interval(0.5, 0.0) == (0.5, 0.5)
    assert mean_interval(0.5, -1e-18) == (0.5, 0.5), "rounding may leave a variance just below zero"
    assert math.isclose(mean_interval(0.0, 1.0, 0.6826895).high, 1.0, abs_tol=1e-6)


def test_auc_interval_is_that_of_hanley_and_mcneil_by_hand():
    q1, q2 = 0.8 / 1.2, 1.28 / 1.8
    variance = (0.16 + 49 * (q1 - 0.64) + 49 * (q2 - 0.64)) / 2500
    assert agree.auc_interval(0.8, 50, 50) == pytest.approx(
        (0.8 - 1.959964 * variance**0.5, 0.8 + 1.959964 * variance**0.5)
    )
    assert agree.auc_interval(0.8, 0, 5) is None
    assert agree.auc_interval(1.0, 5, 5) == (1.0, 1.0)


def test_difference_interval_is_newcombes_published_example():
    assert agree.difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    low, high = agree.difference_interval(0, 1, 1, 1)
    assert -1 <= low < high <= 1


def test_sign_test_counts_coin_tosses():
    assert agree.sign_test(0, 5) == 2 / 32
    assert agree.sign_test(3, 3) == 1.0
    assert agree.sign_test(0, 0) is None
    assert agree.sign_test(400, 600) == pytest.approx(agree.sign_test(600, 400))


def test_psi_by_hand():
    p, q = (10.5 / 41, 30.5 / 41), (20.5 / 41, 20.5 / 41)
    expected = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert agree.psi([10, 30], [20, 20]) == pytest.approx(expected)
    assert agree.psi([1, 1], [0, 0]) is None


def test_moments_without_variation_have_no_correlation():
    assert agree.Moments(3, 3, 6, 0, 3, 14, 0, 6).correlation is None
    assert agree.Moments(1, 1, 1).correlation is None
    assert agree.correlation_interval(0.5, 3) is None
