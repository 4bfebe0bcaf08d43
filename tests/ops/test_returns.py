"""Targets and advantages against the papers' sums, written out independently."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm.ops.returns import discounted_returns, generalized_advantages, lambda_targets

finite = st.floats(-10, 10, allow_nan=False)
share = st.floats(0, 1)


def targets_by_the_paper(values, outcome, lambda_, start):
    """Xi et al. 2025, eq. 12-14, γ = 1, with the outcome *instead of* the last prediction in the last residual."""
    last = len(values) - 1
    before = [start, *values]  # before[t] is M_{t−1}
    residuals = [values[t] - before[t] if t < last else outcome - before[t] for t in range(last + 1)]
    advantages = [math.fsum(lambda_**k * residuals[t + k] for k in range(last + 1 - t)) for t in range(last + 1)]
    return [advantages[t] + before[t] for t in range(last)] + [outcome]


@given(st.lists(share, min_size=1, max_size=30), share, share, finite)
def test_lambda_targets_are_those_of_the_paper_whatever_the_start_is_worth(values, outcome, lambda_, start):
    expected = targets_by_the_paper(values, outcome, lambda_, start)
    assert lambda_targets(values, outcome, lambda_) == pytest.approx(expected, abs=1e-12)


def test_lambda_targets_by_hand():
    # G_2 = 1; G_1 = 0.05 * 0.6 + 0.95 * 1 = 0.98; G_0 = 0.05 * 0.2 + 0.95 * 0.98 = 0.941
    assert lambda_targets([0.2, 0.6, 0.9], 1.0, 0.95) == pytest.approx([0.941, 0.98, 1.0], abs=1e-15)
    assert lambda_targets([0.2, 0.6, 0.9], 0.0) == pytest.approx([0.05 * 0.2 + 0.95 * 0.03, 0.03, 0.0], abs=1e-15)


@given(st.lists(share, max_size=20), share)
def test_lambda_1_is_the_outcome_and_lambda_0_the_prediction(values, outcome):
    assert lambda_targets(values, outcome, 1.0) == [outcome] * len(values)
    assert lambda_targets(values, outcome, 0.0) == [*values[:-1], *[outcome] * bool(values)]


@given(st.lists(share, min_size=1), share, share)
def test_lambda_targets_lie_between_predictions_and_outcome(values, outcome, lambda_):
    low, high = min(*values, outcome), max(*values, outcome)
    assert all(low - 1e-12 <= target <= high + 1e-12 for target in lambda_targets(values, outcome, lambda_))


@pytest.mark.parametrize("lambda_", [-0.1, 1.1, float("nan")])
def test_lambda_outside_0_and_1_is_refused(lambda_):
    with pytest.raises(ValueError, match=r"lambda_ lies in \[0, 1\]"):
        lambda_targets([0.5], 1.0, lambda_)


@given(st.lists(finite, max_size=20), share)
def test_returns_are_discounted_sums_of_what_follows(rewards, gamma):
    expected = [math.fsum(gamma**k * r for k, r in enumerate(rewards[t:])) for t in range(len(rewards))]
    assert discounted_returns(rewards, gamma) == pytest.approx(expected, abs=1e-9)


def test_returns_leave_the_rewards_alone():
    rewards = [1.0, 2.0]
    assert discounted_returns(rewards) == [3.0, 2.0]
    assert rewards == [1.0, 2.0]


@given(st.lists(st.tuples(finite, finite), max_size=15), finite, share, share)
def test_advantages_are_sums_of_residuals(pairs, last, gamma, lambda_):
    rewards, values = [r for r, _ in pairs], [v for _, v in pairs]
    following = [*values, last][1:]
    deltas = [r + gamma * after - now for r, now, after in zip(rewards, values, following, strict=True)]
    expected = [math.fsum((gamma * lambda_) ** k * d for k, d in enumerate(deltas[t:])) for t in range(len(deltas))]
    found = generalized_advantages(rewards, values, last, gamma=gamma, lambda_=lambda_)
    assert found == pytest.approx(expected, abs=1e-8)


def test_advantages_by_hand_after_termination_and_after_truncation():
    # δ_1 = 1 + 0.5·0 − 0.4 = 0.6 or 1 + 0.5·0.8 − 0.4 = 1.0; δ_0 = 0 + 0.5·0.4 − 0.2 = 0; A_0 = δ_0 + 0.5·0.5·δ_1
    assert generalized_advantages([0.0, 1.0], [0.2, 0.4], gamma=0.5, lambda_=0.5) == pytest.approx([0.15, 0.6])
    assert generalized_advantages([0.0, 1.0], [0.2, 0.4], 0.8, gamma=0.5, lambda_=0.5) == pytest.approx([0.25, 1.0])


def test_advantages_at_lambda_1_are_returns_less_values():
    rewards, values = [1.0, 0.0, 2.0], [0.3, 0.1, 0.7]
    expected = [g - v for g, v in zip(discounted_returns(rewards, 0.9), values, strict=True)]
    assert generalized_advantages(rewards, values, gamma=0.9, lambda_=1.0) == pytest.approx(expected)


def test_advantages_need_as_many_values_as_rewards():
    with pytest.raises(ValueError, match="2 rewards beside 1 values"):
        generalized_advantages([1.0, 2.0], [1.0])
