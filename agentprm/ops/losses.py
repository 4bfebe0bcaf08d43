"""What a model of steps is taught by. Torch tensors in, a scalar tensor out; torch itself is not imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "class_cross_entropy",
    "preference_error",
    "progress_error",
    "ranking_error",
    "soft_cross_entropy",
    "squared_error",
]


def squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the promise loss, the mean of ½ (M_t − Q_t)² (Xi et al. 2025, eq. 4).

    >>> import torch
    >>> squared_error(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 0.0])).item()
    0.3125
    """
    return (predictions - targets).square().mean() / 2


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of −(Q log σ(x) + (1 − Q) log(1 − σ(x))) for targets in [0, 1] (Choudhury 2025, eq. 2).

    >>> import torch
    >>> round(soft_cross_entropy(torch.tensor([0.0, 100.0]), torch.tensor([0.25, 1.0])).item(), 6)
    0.346574
    """
    return (logits.clamp(min=0) - logits * targets + (-logits.abs()).exp().log1p()).mean()


def class_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross entropy of ordered classes: logits (n, classes), targets (n) in [0, 1].

    The classes stand at equal distances from 0 to 1. A target between two of them is shared by both, in proportion.

    >>> import torch
    >>> logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 100.0, 100.0]])
    >>> class_cross_entropy(logits, torch.tensor([0.3, 0.75])) * 2 - torch.tensor([3.0, 2.0]).log().sum()
    tensor(0.)
    """
    top = logits.shape[-1] - 1
    place = targets * top
    below = place.floor().clamp(max=top - 1).long()
    share = (place - below).unsqueeze(-1)
    chances = logits.log_softmax(-1)
    low, high = (chances.gather(-1, (below + i).unsqueeze(-1)) for i in (0, 1))
    return -((1 - share) * low + share * high).mean()


def progress_error(predictions: Tensor, targets: Tensor, follows: Tensor) -> Tensor:
    """Return the progress loss, the mean of ((M_t − M_{t−1}) − (Q_t − Q_{t−1}))² (Xi et al. 2025, eq. 9).

    `follows` is True where a number follows on the one before it, as the next step of the same trajectory; a first
    step has no progress. 0 when nothing follows. The paper's Algorithm 1 prints a factor ½ that its eq. 9 does not.

    >>> import torch
    >>> predictions, targets = torch.tensor([0.5, 0.5, 0.75]), torch.tensor([0.0, 1.0, 1.0])
    >>> progress_error(predictions, targets, torch.tensor([False, True, False])).item()
    1.0
    """
    error = predictions - targets
    change = (error[1:] - error[:-1])[follows[1:]]
    return change.square().sum() / max(1, len(change))


def ranking_error(scores: Tensor, right: Tensor, zeta: float = 4.0) -> Tensor:
    """Return the ranking loss of one trajectory's steps, in order (Li and Li 2024, PQM).

    For each right step t, −log of exp(s_t) over the sum of exp(s) of the start (whose score is 0) and of the right
    steps up to t, and of exp(s + zeta) of every wrong step; their mean. The start has such a term, too, where any step
    is wrong. 0 for an empty trajectory.

    >>> import torch
    >>> ranking_error(torch.tensor([0.0]), torch.tensor([True])).item() == torch.tensor(2.0).log().item()
    True
    >>> round(ranking_error(torch.tensor([-4.0]), torch.tensor([False])).item(), 6)
    0.693147
    """
    chain = scores.new_zeros(1 + int(right.sum()))
    chain[1:] = scores[right]
    below = scores[~right] + zeta
    rising = chain.logcumsumexp(0)
    against = rising if not len(below) else rising.logaddexp(below.logsumexp(0))
    terms = (chain - against)[0 if len(below) else 1 :]
    return -terms.sum() / max(1, len(terms))


def preference_error(better: Tensor, worse: Tensor) -> Tensor:
    """Return the mean of −log σ(x_better − x_worse) (Bradley and Terry 1952); 0 without pairs.

    >>> import torch
    >>> round(preference_error(torch.tensor([0.0, 9.0]), torch.tensor([0.0, -90.0])).item(), 6)
    0.346574
    """
    gap = better - worse
    return ((-gap).clamp(min=0) + (-gap.abs()).exp().log1p()).sum() / max(1, len(gap))
