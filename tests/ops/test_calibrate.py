"""Calibration by hand: errors, temperatures, rising curves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm.ops.calibrate import expected_calibration_error, interpolated, isotonic, temperature, warmed

chances = st.floats(0, 1)


def test_the_error_by_hand():
    # range 0.0-0.1: scores .05, .05, outcomes 0, 1: gap .45; range 0.9-1.0: score 1, outcome 0: gap 1
    assert expected_calibration_error([0.05, 0.05, 1.0], [0.0, 1.0, 0.0]) == pytest.approx((2 * 0.45 + 1) / 3)
    assert expected_calibration_error([], []) is None


def test_a_perfect_score_has_no_error_and_the_opposite_has_all():
    assert expected_calibration_error([0.0, 1.0], [0.0, 1.0]) == 0.0
    assert expected_calibration_error([0.0, 1.0], [1.0, 0.0]) == 1.0


def test_warming_by_hand():
    # logit(.9) = ln 9; halved it is ln 3, whose chance is 3/4; doubled it is ln 81: 81/82
    assert warmed(0.9, 2.0) == pytest.approx(0.75)
    assert warmed(0.9, 0.5) == pytest.approx(81 / 82)
    assert warmed(0.5, 7.0) == pytest.approx(0.5)


@given(chances, st.floats(0.05, 20))
def test_warmed_scores_are_chances(score, t):
    assert 0.0 <= warmed(score, t) <= 1.0


@given(st.lists(chances, min_size=2, max_size=2), st.floats(0.05, 20))
def test_warming_keeps_the_order(pair, t):
    low, high = sorted(pair)
    assert warmed(low, t) <= warmed(high, t)


def test_the_temperature_undoes_what_was_done():
    # Of 100 steps at each score, the share of successes is the score itself; then the scores are sharpened.
    scores = [s for s in (0.1, 0.3, 0.5, 0.7, 0.9) for _ in range(100)]
    outcomes = [float(i < round(100 * s)) for s in (0.1, 0.3, 0.5, 0.7, 0.9) for i in range(100)]
    sharpened = [warmed(s, 1 / 3) for s in scores]
    assert temperature(scores, outcomes) == pytest.approx(1.0, abs=1e-4)
    assert temperature(sharpened, outcomes) == pytest.approx(3.0, abs=1e-3)


def test_scores_that_are_always_right_are_sharpened_as_far_as_it_goes():
    assert temperature([0.6, 0.4], [1.0, 0.0]) == pytest.approx(0.05, rel=1e-3)


def test_neighbours_in_the_wrong_order_are_pooled():
    # 0, 2/3 of (1, 1, 0) over the scores .2, .3, .4, then 1
    assert isotonic([0.1, 0.2, 0.3, 0.4, 0.5], [0.0, 1.0, 1.0, 0.0, 1.0]) == [
        (0.1, 0.0),
        (0.2, pytest.approx(2 / 3)),
        (0.4, pytest.approx(2 / 3)),
        (0.5, 1.0),
    ]


def test_equal_scores_are_one_point_whatever_their_order():
    assert isotonic([0.5, 0.5, 0.5], [1.0, 0.0, 0.0]) == [(0.5, pytest.approx(1 / 3))]
    assert isotonic([0.5, 0.2, 0.5], [1.0, 1.0, 0.0]) == isotonic([0.2, 0.5, 0.5], [1.0, 0.0, 1.0])


def test_no_points_are_refused():
    with pytest.raises(ValueError, match="at least one point"):
        isotonic([], [])


@given(st.lists(st.tuples(chances, st.sampled_from([0.0, 1.0])), min_size=1, max_size=30))
def test_the_curve_rises_and_keeps_the_sum(points):
    scores, outcomes = [s for s, _ in points], [y for _, y in points]
    knots = isotonic(scores, outcomes)
    assert [x for x, _ in knots] == sorted({x for x, _ in knots})
    assert [y for _, y in knots] == sorted(y for _, y in knots)
    assert math.fsum(interpolated(s, knots) for s in scores) == pytest.approx(math.fsum(outcomes))


def test_between_knots_the_curve_is_straight_and_beyond_them_level():
    knots = [(0.2, 0.0), (0.6, 1.0)]
    assert [interpolated(x, knots) for x in (0.0, 0.2, 0.3, 0.6, 0.9)] == pytest.approx([0.0, 0.0, 0.25, 1.0, 1.0])
