import math

import pytest
import torch

from agentprm.ops.losses import progress_error, soft_cross_entropy, squared_error


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
