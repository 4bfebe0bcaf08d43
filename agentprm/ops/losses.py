"""What a model of steps is taught by. Torch tensors in, a scalar tensor out; torch itself is not imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["progress_error", "soft_cross_entropy", "squared_error"]


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
