import math

import pytest
import torch

from agentprm.ops.losses import preference_error, progress_error, ranking_error, soft_cross_entropy, squared_error


def test_squared_error_is_half_the_mean_square():
    assert squared_error(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0])).item() == (1 + 4) / 2 / 2


def test_soft_cross_entropy_is_what_torch_says():
    logits, targets = torch.tensor([-90.0, -1.0, 0.0, 2.0, 90.0]), torch.tensor([0.0, 0.25, 1.0, 0.5, 1.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert soft_cross_entropy(logits, targets).item() == pytest.approx(expected.item())


def test_soft_cross_entropy_is_least_where_the_chance_is_the_target():
    logit = torch.tensor([math.log(0.25 / 0.75)], requires_grad=True)
    soft_cross_entropy(logit, torch.tensor([0.25])).backward()
    assert logit.grad.item() == pytest.approx(0.0, abs=1e-7)


def test_progress_error_counts_only_changes_within_a_trajectory():
    predictions, targets = torch.tensor([0.5, 0.25, 0.0, 1.0]), torch.tensor([0.0, 0.0, 0.0, 0.0])
    follows = torch.tensor([False, True, False, True])
    assert progress_error(predictions, targets, follows).item() == ((-0.25) ** 2 + 1.0**2) / 2


def test_progress_error_of_first_steps_only_is_zero_and_can_be_learnt_from():
    predictions = torch.tensor([0.5, 0.5], requires_grad=True)
    loss = progress_error(predictions, torch.zeros(2), torch.tensor([False, False]))
    loss.backward()
    assert (loss.item(), predictions.grad.tolist()) == (0.0, [0.0, 0.0])


def test_progress_error_forgives_a_constant():
    predictions = torch.tensor([0.1, 0.6, 0.9])
    assert progress_error(predictions + 0.05, predictions, torch.tensor([False, True, True])).item() == pytest.approx(0)


def test_the_ranking_error_by_hand():
    # right 1.0, wrong -1.0, right 2.0; margin 0. Terms: start, 1.0, 2.0, each against the chain so far and the wrong.
    e = math.exp
    wrong = e(-1.0)
    terms = [
        -math.log(1 / (1 + wrong)),
        -math.log(e(1) / (1 + e(1) + wrong)),
        -math.log(e(2) / (1 + e(1) + e(2) + wrong)),
    ]
    scores, right = torch.tensor([1.0, -1.0, 2.0]), torch.tensor([True, False, True])
    assert ranking_error(scores, right, zeta=0.0).item() == pytest.approx(sum(terms) / 3)


def test_without_a_wrong_step_the_start_has_no_term_of_its_own():
    e = math.exp
    expected = (-math.log(e(1) / (1 + e(1))) - math.log(e(2) / (1 + e(1) + e(2)))) / 2
    assert ranking_error(torch.tensor([1.0, 2.0]), torch.tensor([True, True])).item() == pytest.approx(expected)


def test_the_ranking_error_prefers_rising_right_steps_and_falling_wrong_ones():
    right = torch.tensor([True, True, False])
    rising = ranking_error(torch.tensor([1.0, 2.0, -5.0]), right)
    assert rising < ranking_error(torch.tensor([2.0, 1.0, -5.0]), right)
    assert rising < ranking_error(torch.tensor([1.0, 2.0, 5.0]), right)


def test_large_scores_overflow_no_ranking_error():
    scores = torch.tensor([200.0, 300.0, -500.0], requires_grad=True)
    loss = ranking_error(scores, torch.tensor([True, True, False]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.grad).all()
    assert ranking_error(torch.zeros(0), torch.zeros(0, dtype=torch.bool)).item() == 0


def test_the_preference_error_by_hand():
    better, worse = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2
    assert preference_error(better, worse).item() == pytest.approx(expected)
    assert preference_error(torch.zeros(0), torch.zeros(0)).item() == 0
    assert torch.isfinite(preference_error(torch.tensor([-1e4]), torch.tensor([1e4])))
