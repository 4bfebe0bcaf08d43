"""One number for a trajectory, by hand; steps without an opinion do not count."""

import math

import pytest

from agentprm.errors import UnitError
from agentprm.ops.aggregate import AGGREGATES, default_aggregate, last, mean, minimum, product, softmin, total

GAPS = (None, 0.5, None, 0.25, 1.0, None)


@pytest.mark.parametrize(
    ("name", "number"),
    [("last", 1.0), ("min", 0.25), ("product", 0.125), ("mean", 1.75 / 3), ("sum", 1.75)],
)
def test_by_hand_with_gaps(name, number):
    assert AGGREGATES[name](GAPS) == number
    assert AGGREGATES[name]([v for v in GAPS if v is not None]) == number


def test_softmin_weighs_by_the_softmax_of_the_negated_scores():
    weights = [math.exp(-v / 0.5) for v in (0.5, 0.25, 1.0)]
    expected = (weights[0] * 0.5 + weights[1] * 0.25 + weights[2] * 1.0) / sum(weights)
    assert softmin(GAPS, temperature=0.5) == pytest.approx(expected, abs=1e-15)


def test_softmin_is_the_minimum_when_cold_the_mean_when_hot_and_never_overflows():
    values = [-1000.0, 5.0, 1000.0]
    assert softmin(values) == -1000.0
    assert softmin(values, temperature=1e12) == pytest.approx(5 / 3, abs=1e-3)


@pytest.mark.parametrize("name", AGGREGATES)
@pytest.mark.parametrize("values", [(), (None,), (None, None)])
def test_no_opinion_gives_none(name, values):
    assert AGGREGATES[name](values) is None


@pytest.mark.parametrize("name", AGGREGATES)
def test_one_opinion_is_the_number(name):
    assert AGGREGATES[name]((None, 0.3)) == 0.3


def test_sums_do_not_lose_small_numbers_beside_large_ones():
    assert total([1e16, 1.0, -1e16]) == 1.0
    assert mean([1e16, 3.0, -1e16]) == 1.0


def test_the_unit_picks_the_aggregate():
    assert default_aggregate("value") is last
    assert default_aggregate("correctness") is product
    assert default_aggregate("reward") is total
    assert minimum([0.0, None]) == 0.0, "zero is an opinion"
    with pytest.raises((UnitError, KeyError)):
        default_aggregate("probability")
