"""Attention over trees of text that lie in one row: every token sees what comes before it in its own line, only.

A backbone of transformers gets this as its attention implementation. Nothing is padded, a beginning that several texts
share is computed once, and what was computed before comes from lines of keys and values that were kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, pairwise
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from agentprm.errors import MissingExtra
from agentprm.text.stairs import stairs
from agentprm.text.tree import Branch, Tree

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
    read: NDArray[np.int64] | None = None
    """The places in the tree whose states are wanted, each once, in order; None for all of them."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Queries that are computed together: tokens `start` to `stop` of all."""

    start: int
    stop: int
    path: tuple[tuple[int, int], ...] = ()
    """What of this pass comes before them: from where to where."""
    row: Row | None = None
    """Set when keys and values are kept."""
    read: NDArray[np.int64] | None = None
    """Which of them are wanted of the last layer, counted from the first; None for all."""

    @property
    def seen(self) -> tuple[tuple[int, int], ...]:
        """What of this pass they see, themselves last."""
        return *self.path, (self.start, self.stop)


@dataclass(slots=True)
class Plan:
    """What every token of some rows, one behind the other, sees. The last layer attends only where it is read."""

    rows: Sequence[Row]
    last: int = -1
    """The index of the last layer; -1 where it is not known."""
    _blocks: list[_Block] = field(default_factory=list)
    _cuts: list[int] = field(default_factory=list)
    """Where a block begins or ends, or what it sees does."""
    _masks: dict[tuple[int, int | None, bool], Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = 0
        for row in self.rows:
            self._blocks += _blocks(row, start)
            start += len(row.tree)
        stretches = (stretch for block in self._blocks for stretch in block.seen)
        self._cuts = sorted({0, start, *chain.from_iterable(stretches)})

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scale: Any, window: int | None) -> Tensor:
        """Return what each token takes from those that it sees: shape (1, heads, tokens, width).

        In the last layer those that nobody reads take nothing.
        """
        # Split once: the gradient of each slice by itself would be as large as the whole.
        sizes = [b - a for a, b in pairwise(self._cuts)]
        pieces = _split(key, sizes), _split(value, sizes)
        queries = _split(query, [block.stop - block.start for block in self._blocks])
        some = module.layer_idx == self.last and all(block.read is not None for block in self._blocks)
        found = []
        for i, (block, asking) in enumerate(zip(self._blocks, queries, strict=True)):
            keys, values = (self._seen(block, of) for of in pieces)
            if block.row is not None:
                keys, values = cast(Kept, block.row.line).write(module.layer_idx, block.row.skip, keys, values)
            if some:
                asking = asking[:, :, block.read]
            if asking.shape[2]:
                found.append(_attend(asking, keys, values, self._mask(i, keys.shape[2], window, query, some), scale))
        return self._spread(_joined(found), query) if some else _joined(found)

    def _spread(self, found: Tensor, like: Tensor) -> Tensor:
        """Return what was taken by those that are read, in their places among all."""
        places = np.concatenate([block.start + cast(Any, block.read) for block in self._blocks])
        return found.new_zeros(like.shape).index_copy(2, torch.from_numpy(places).to(found.device), found)

    def _seen(self, block: _Block, pieces: Sequence[Tensor]) -> Tensor:
        """Return the keys, or values, of this pass that a block sees, its own last."""
        ranges = (range(bisect_left(self._cuts, a), bisect_left(self._cuts, b)) for a, b in block.seen)
        parts = [pieces[i] for i in chain.from_iterable(ranges)]
        return _joined(parts)

    def _mask(self, i: int, n_keys: int, window: int | None, like: Tensor, some: bool) -> Tensor | None:
        window = None if window is None or window >= n_keys else window
        if (i, window, some) not in self._masks:
            block = self._blocks[i]
            added = _added(block, n_keys, window, block.read if some else None, like)
            self._masks[i, window, some] = added
        return self._masks[i, window, some]


def _split(tensor: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    return (tensor,) if len(sizes) == 1 else torch.split(tensor, sizes, dim=2)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _blocks(row: Row, start: int) -> Iterator[_Block]:
    if row.line is not None:
        if len(row.tree):
            yield _Block(start, start + len(row.tree), row=row, read=row.read)
        return
    for branch in row.tree.branches:
        path = tuple((start + a, start + b) for a, b in branch.path)
        yield _Block(start + branch.start, start + branch.stop, path, read=_within(branch, row.read))


def _within(branch: Branch, read: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return the places of a branch that are read, counted from its first."""
    if read is None:
        return None
    first, last = read.searchsorted((branch.start, branch.stop))
    return read[first:last] - branch.start


def _added(
    block: _Block, n_keys: int, window: int | None, read: NDArray[np.int64] | None, like: Tensor
) -> Tensor | None:
    """Return what is added to the attention of each query, or those read: 0 or -inf; None for a whole line."""
    n = block.stop - block.start
    if read is None and window is None and _tree(block) is None:
        return None if n == n_keys else stairs(n, n_keys - n, like)
    return _filled(_sees(block, n_keys, window, np.arange(n) if read is None else read), like)


def _tree(block: _Block) -> Tree | None:
    """Return the tree in which the queries of a block stand, if it is more than a line."""
    return block.row.tree if block.row is not None and len(block.row.tree.branches) > 1 else None


def _sees(block: _Block, n_keys: int, window: int | None, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which keys (columns) the queries `at` (rows) see, at most `window` tokens back if that is given."""
    n, tree = block.stop - block.start, _tree(block)
    before = n_keys - n
    if tree is None:
        depths = np.arange(n)
        seen: NDArray[np.bool_] = np.arange(n_keys) <= before + at[:, None]
    else:
        depths = tree.depths - tree.depths[0]
        seen = np.concatenate((np.ones((len(at), before), dtype=bool), tree.mask()[at]), axis=1)
    if window is not None:
        far = np.concatenate((np.arange(before), before + depths))
        seen &= far > (before + depths[at])[:, None] - window
    return seen


def _filled(mask: Any, like: Tensor) -> Tensor:
    return torch.zeros(mask.shape, dtype=like.dtype).masked_fill_(torch.from_numpy(~mask), -torch.inf).to(like.device)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: Any) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and mask is not None and query.is_cuda:
        # On CUDA a mask beside grouped heads would leave the fast kernels.
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
        groups = 1
    ask = partial(scaled_dot_product_attention, is_causal=mask is None, scale=scale, enable_gqa=groups > 1)
    if not torch.is_autocast_enabled(query.device.type) or query.is_cuda or not query.requires_grad:
        return ask(query, key, value, mask)
    # On CPUs the gradient of attention in bfloat16 takes three times as long as that in float32.
    with torch.autocast(query.device.type, enabled=False):
        return ask(query.float(), key.float(), value.float(), None if mask is None else mask.float())


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
