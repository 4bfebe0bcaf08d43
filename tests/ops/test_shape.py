"""What the learner is paid: the table of shapes by hand, and the identities of potential-based shaping."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm.errors import InvalidSpec, UnitError, UnknownName
from agentprm.ops import shape as shapes
from agentprm.ops.shape import SHAPES, Shaping, default_shape, require_fit, terms

TERMS = {"gamma": 0.5, "weight": 2.0}
numbers = st.floats(-5, 5, allow_nan=False)
opinions = st.one_of(st.none(), numbers, st.sampled_from([math.nan, math.inf, -math.inf]))
episodes = st.lists(st.tuples(numbers, opinions), min_size=1, max_size=25)


# r = 1, m = 0.8, the last Φ 0.6, γ = 0.5, w = 2.
BY_HAND = {
    ("potential", False): 1 + 2 * (0.5 * 0.8 - 0.6),
    ("potential", True): 1 + 2 * (0 - 0.6),
    ("difference", False): 1 + 2 * (0.8 - 0.6),
    ("difference", True): 1 + 2 * (0.8 - 0.6),
    ("add", False): 1 + 2 * 0.8,
    ("add", True): 1 + 2 * 0.8,
    ("replace", False): 2 * 0.8,
    ("replace", True): 2 * 0.8,
    ("record", False): 1.0,
    ("record", True): 1.0,
}
UNSCORED = {
    ("potential", False): 1 + 2 * (0.5 * 0.6 - 0.6),
    ("potential", True): 1 + 2 * (0 - 0.6),
    ("difference", False): 1.0,
    ("difference", True): 1.0,
    ("add", False): 1.0,
    ("add", True): 1.0,
    ("replace", False): 1.0,
    ("replace", True): 1.0,
    ("record", False): 1.0,
    ("record", True): 1.0,
}


@pytest.mark.parametrize(("name", "terminated"), BY_HAND)
@pytest.mark.parametrize(("table", "score"), [(BY_HAND, 0.8), (UNSCORED, None)], ids=["scored", "unscored"])
def test_every_shape_by_hand(name, terminated, table, score):
    paid = SHAPES[name](1.0, score, 0.6, **TERMS, terminated=terminated)
    assert paid == pytest.approx(table[name, terminated], abs=1e-15)


def test_the_table_names_every_shape_there_is():
    assert {name: function.__name__ for name, function in SHAPES.items()} == {name: name for name in SHAPES}
    assert set(SHAPES) == set(shapes.__all__) - {"SHAPES", "Shaping", "default_shape", "require_fit", "terms"}
    assert {name for name, _ in BY_HAND} == set(SHAPES)


def test_the_unit_picks_the_shape_and_correctness_has_to_be_decided():
    assert default_shape("value") == "potential"
    assert default_shape("reward") == "add"
    with pytest.raises(UnitError, match=r"name the shape, one of potential, difference, add, replace, record"):
        default_shape("correctness")


def pay(shaping, episode, terminated):
    """Return what is paid beside the reward, step by step; only the last step may end the episode."""
    last = len(episode) - 1
    return [shaping.pay(reward, score, terminated and t == last) - reward for t, (reward, score) in enumerate(episode)]


@given(episodes, st.floats(0, 1), st.floats(-3, 3), st.floats(-2, 2))
def test_shaping_of_a_terminated_episode_sums_to_minus_the_start(episode, gamma, weight, start):
    """Whatever the scorer said, with gaps, and whether or not it answered at the last step."""
    extra = pay(Shaping("potential", gamma=gamma, weight=weight, start=start), episode, terminated=True)
    assert math.fsum(gamma**t * f for t, f in enumerate(extra)) == pytest.approx(-weight * start, abs=1e-9)


@given(episodes, st.floats(0, 1), st.floats(-2, 2))
def test_a_truncated_episode_keeps_the_promise_of_its_last_step(episode, gamma, start):
    shaping = Shaping("potential", gamma=gamma, start=start)
    extra = pay(shaping, episode, terminated=False)
    last = next((m for _, m in reversed(episode) if m is not None and math.isfinite(m)), start)
    assert shaping.phi == last
    expected = gamma ** len(episode) * last - start
    assert math.fsum(gamma**t * f for t, f in enumerate(extra)) == pytest.approx(expected, abs=1e-9)


@given(episodes, st.floats(-2, 2))
def test_differences_sum_to_the_last_opinion_less_the_start_also_when_terminated(episode, start):
    shaping = Shaping("difference", gamma=0.3, start=start)
    extra = pay(shaping, episode, terminated=True)
    assert math.fsum(extra) == pytest.approx(shaping.phi - start, abs=1e-9)


@given(episodes)
def test_recording_pays_the_reward_itself(episode):
    shaping = Shaping("record", gamma=0.9, weight=3.0)
    assert [shaping.pay(reward, score, False) for reward, score in episode] == [reward for reward, _ in episode]


@pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", SHAPES)
def test_a_score_that_is_none_or_no_number_moves_nothing(name, score):
    shaping = Shaping(name, start=0.25)
    paid = shaping.pay(1.0, score, False)
    assert shaping.phi == 0.25
    assert paid == Shaping(name, start=0.25).pay(1.0, None, False)
    assert math.isfinite(paid)


def test_phi_is_kept_before_the_terminal_correction():
    shaping = Shaping("potential", start=0.5)
    assert shaping.phi == 0.5
    assert shaping.pay(1.0, 0.75, True) == 1.0 - 0.5
    assert shaping.phi == 0.75


def test_a_function_is_a_shape_as_well():
    def clipped(reward, potential, previous, *, gamma, weight, terminated):
        return max(-1.0, min(1.0, reward + weight * (potential or 0.0)))

    shaping = Shaping(clipped, weight=2.0)
    assert [shaping.pay(0.0, 0.25, False), shaping.pay(1.0, 3.0, False)] == [0.5, 1.0]


def test_a_shape_that_nobody_knows_is_refused_with_those_there_are():
    with pytest.raises(
        UnknownName, match=r"'potental' \(did you mean 'potential'\?\); there are potential, difference"
    ):
        Shaping("potental")


@pytest.mark.parametrize("unit", ["value", "correctness", "reward"])
@pytest.mark.parametrize("name", SHAPES)
def test_differences_of_rewards_are_refused_and_every_other_shape_may_be_named(name, unit):
    if unit == "reward" and name in ("potential", "difference"):
        with pytest.raises(UnitError, match=f"shape='{name}' takes differences .* are rewards.* say shape='add'"):
            require_fit(name, unit)
    else:
        require_fit(name, unit)


@pytest.mark.parametrize("term", ["gamma", "weight", "start"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, "0.5", None, True, [1.0], 10**400], ids=str)
def test_terms_that_are_no_finite_numbers_are_refused(term, number):
    with pytest.raises(InvalidSpec, match=f"{term} is a finite number, not "):
        Shaping("potential", **{term: number})


@pytest.mark.parametrize("gamma", [2, 1.0000001, -1e-9, -1])
def test_a_discount_outside_0_and_1_is_refused(gamma):
    with pytest.raises(InvalidSpec, match=rf"gamma is a discount in \[0, 1\], not {gamma}: give the learner's own"):
        Shaping("potential", gamma=gamma)


def test_terms_of_any_numeric_type_are_floats():
    found = terms(gamma=np.float32(0.5), weight=-2, start=np.int64(3))
    assert found == {"gamma": 0.5, "weight": -2.0, "start": 3.0}
    assert {type(term) for term in found.values()} == {float}
    assert terms(0, 0, 0)["gamma"] == 0.0
    assert terms(1, 0, 0)["gamma"] == 1.0
