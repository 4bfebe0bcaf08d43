"""The mask of tokens that follow on others, each seeing what came before it: parts of one tensor, made once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["stairs"]

_MOST_TOKENS = 256
_made: dict[tuple[torch.dtype, torch.device], Tensor] = {}


def stairs(n: int, before: int, like: Tensor) -> Tensor:
    """Return what is added to the attention of `n` tokens behind `before` others: 0 or -inf, shape (n, before + n).

    Not to be written to.

    >>> stairs(2, 1, torch.zeros(0))
    tensor([[0., 0., -inf],
            [0., 0., 0.]])
    """
    if n > _MOST_TOKENS or like.is_cuda:  # fast kernels of CUDA want masks that are aligned
        return _new(n, before, like)
    key = like.dtype, like.device
    made = _made.get(key)
    if made is None or made.shape[1] - _MOST_TOKENS < before:
        _made[key] = made = _new(_MOST_TOKENS, 1 << max(before, 1024).bit_length(), like)
    flat = made.shape[1] - _MOST_TOKENS
    return made[:n, flat - before : flat + n]


def _new(n: int, before: int, like: Tensor) -> Tensor:
    steps = torch.full((n, n), -torch.inf, dtype=like.dtype, device=like.device).triu(1)
    return torch.cat((steps.new_zeros(n, before), steps), dim=1)
