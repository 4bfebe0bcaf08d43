"""Attention over trees of text that lie in one row: every token sees what comes before it in its own line, only.

A backbone of transformers gets this as its attention implementation. Nothing is padded, a beginning that several texts
share is computed once, and what was computed before comes from lines of keys and values that were kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from agentprm.errors import MissingExtra
from agentprm.text.tree import Tree

try:
    import torch
    from torch import Tensor
    from torch.nn.functional import scaled_dot_product_attention
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["NAME", "Kept", "Plan", "Row"]

NAME = "agentprm_trees"
"""Of this attention, among those of transformers."""

_FOREIGN = ("softcap", "s_aux", "position_bias", "head_mask")
"""What some attention layers ask for, and this one does not know."""


class Kept(Protocol):
    """Keys and values of a line of tokens, with room behind them."""

    def write(self, layer: int, at: int, key: Tensor, value: Tensor, /) -> tuple[Tensor, Tensor]:
        """Put keys and values of a layer behind the first `at` tokens; return those of all of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A tree to be read: by itself, or behind the first tokens of a line that was kept."""

    tree: Tree
    line: Kept | None = None
    skip: int = 0
    """How many tokens of the line come before the tree."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Queries that are computed together: tokens `start` to `stop` of all."""

    start: int
    stop: int
    path: tuple[tuple[int, int], ...] = ()
    row: Row | None = None
    """Set when keys and values are kept."""


@dataclass(slots=True)
class Plan:
    """What every token of some rows, one behind the other, sees."""

    rows: Sequence[Row]
    _blocks: list[_Block] = field(default_factory=list)
    _masks: dict[tuple[int, int | None], Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = 0
        for row in self.rows:
            self._blocks += _blocks(row, start)
            start += len(row.tree)

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scale: Any, window: int | None) -> Tensor:
        """Return what each token takes from those that it sees: shape (1, heads, tokens, width)."""
        found = []
        for i, block in enumerate(self._blocks):
            keys, values = _seen(block, module, key, value)
            mask = self._mask(i, keys.shape[2], window, query)
            found.append(_attend(query[:, :, block.start : block.stop], keys, values, mask, scale))
        return torch.cat(found, dim=2)

    def _mask(self, i: int, n_keys: int, window: int | None, like: Tensor) -> Tensor | None:
        window = None if window is None or window >= n_keys else window
        if (i, window) not in self._masks:
            mask = _mask(self._blocks[i], n_keys, window)
            self._masks[i, window] = None if mask is None else _added(mask, like)
        return self._masks[i, window]


def _blocks(row: Row, start: int) -> Iterator[_Block]:
    if row.line is not None:
        if len(row.tree):
            yield _Block(start, start + len(row.tree), row=row)
        return
    for branch in row.tree.branches:
        path = tuple((start + a, start + b) for a, b in branch.path)
        yield _Block(start + branch.start, start + branch.stop, path)


def _seen(block: _Block, module: Any, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return the keys and values that a block sees, its own last."""
    own = slice(block.start, block.stop)
    if block.row is not None:
        return cast(Kept, block.row.line).write(module.layer_idx, block.row.skip, key[:, :, own], value[:, :, own])
    if not block.path:
        return key[:, :, own], value[:, :, own]
    pieces = (*(slice(a, b) for a, b in block.path), own)
    keys, values = ([tensor[:, :, piece] for piece in pieces] for tensor in (key, value))
    return torch.cat(keys, dim=2), torch.cat(values, dim=2)


def _mask(block: _Block, n_keys: int, window: int | None) -> Any:
    """Return which keys each query sees; None where it is all up to itself, and nothing came before."""
    n = block.stop - block.start
    tree = block.row.tree if block.row is not None else None
    if n == n_keys and window is None and (tree is None or len(tree.branches) == 1):
        return None
    before = n_keys - n
    within = tree.mask() if tree is not None and len(tree.branches) > 1 else np.tri(n, dtype=bool)
    seen = np.concatenate((np.ones((n, before), dtype=bool), within), axis=1)
    if window is not None:
        depths = np.arange(n) if tree is None else tree.depths - tree.depths[0]
        far = np.concatenate((np.arange(before), before + depths))
        seen &= far[None, :] > (before + depths)[:, None] - window
    return seen


def _added(mask: Any, like: Tensor) -> Tensor:
    added = torch.zeros(mask.shape, dtype=like.dtype)
    added.masked_fill_(torch.from_numpy(~mask), float("-inf"))
    return added.to(like.device)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: Any) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and mask is not None and query.is_cuda:
        # On CUDA a mask beside grouped heads would leave the fast kernels.
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
        groups = 1
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=groups > 1
    )


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    plan: Plan | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend as the plan says; without one, as the ordinary attention of torch does."""
    if plan is None:
        said = {**others, "scaling": scaling, "sliding_window": sliding_window}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **said)
    if foreign := [name for name in _FOREIGN if others.get(name) is not None]:
        raise NotImplementedError(f"attention with {foreign}")
    return plan.attend(module, query, key, value, scaling, sliding_window).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
