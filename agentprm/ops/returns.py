"""Targets and advantages of one trajectory."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["discounted_returns", "generalized_advantages", "lambda_targets"]


def lambda_targets(values: Sequence[float | None], outcome: float, lambda_: float = 0.95) -> list[float]:
    """Return the TD(λ) target of each step's value, from the outcome backwards.

    With M_t the current value of step t and R the outcome, G_T = R and G_t = (1 − λ) M_t + λ G_{t+1}. This is what the
    TD + GAE estimate of Xi et al. (2025, arXiv:2511.08325, eq. 12-14) computes at γ = 1 once the outcome stands
    *instead of* the last prediction; as printed, the last residual counts both. λ = 1 gives R everywhere; λ = 0
    gives back the predictions, from which nothing is learnt but the last step. A step without a prediction (None)
    passes the later target on.

    >>> lambda_targets([0.2, 0.6, 0.9], outcome=1.0, lambda_=0.5)
    [0.5, 0.8, 1.0]
    """
    if not 0.0 <= lambda_ <= 1.0:
        raise ValueError(f"lambda_ lies in [0, 1], not at {lambda_}")
    targets = [outcome] * len(values)
    for t in range(len(values) - 2, -1, -1):
        value, later = values[t], targets[t + 1]
        targets[t] = later if value is None else (1.0 - lambda_) * value + lambda_ * later
    return targets


def discounted_returns(rewards: Sequence[float], gamma: float = 1.0) -> list[float]:
    """Return G_t = r_t + γ G_{t+1} for each step, with nothing after the last.

    >>> discounted_returns([1.0, 0.0, 2.0], gamma=0.5)
    [1.5, 1.0, 2.0]
    """
    returns = list(rewards)
    for t in range(len(returns) - 2, -1, -1):
        returns[t] += gamma * returns[t + 1]
    return returns


def generalized_advantages(
    rewards: Sequence[float], values: Sequence[float], last: float = 0.0, *, gamma: float = 1.0, lambda_: float = 0.95
) -> list[float]:
    """Return the generalised advantage estimate of each action (Schulman et al. 2016).

    `values` are V(s_0) … V(s_{n−1}); `last` is V(s_n): 0 after a real termination, the critic's value of the final
    observation after a truncation. δ_t = r_t + γ V(s_{t+1}) − V(s_t) and A_t = δ_t + γλ A_{t+1}.

    >>> generalized_advantages([0.0, 1.0], [0.5, 0.5], gamma=1.0, lambda_=0.5)
    [0.25, 0.5]
    """
    if len(rewards) != len(values):
        raise ValueError(f"{len(rewards)} rewards beside {len(values)} values: give one of each per step")
    following, advantage = [*values[1:], last], 0.0
    advantages = [0.0] * len(rewards)
    for t in range(len(rewards) - 1, -1, -1):
        delta = rewards[t] + gamma * following[t] - values[t]
        advantages[t] = advantage = delta + gamma * lambda_ * advantage
    return advantages
