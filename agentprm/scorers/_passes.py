"""Token ids through a backbone: packed in one row, or padded where a backbone cannot be packed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agentprm.text.attention import NAME, Plan, Row
from agentprm.text.groups import rows
from agentprm.text.windows import Window

__all__ = ["buckets", "bytes_per_token", "can_pack", "is_set_up", "packed", "padded"]

_ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-6}
"""Of the largest number, by which packed and padded passes of a probe may differ; more in half precision."""
_HALF = 0.05


def packed(backbone: Any, rows: Sequence[Row]) -> Tensor:
    """Return what a backbone makes of every token of some rows, one behind the other: shape (tokens, width).

    Of rows that say where they are read, the states of other tokens mean nothing.
    """
    device = next(backbone.parameters()).device
    ids = torch.from_numpy(np.concatenate([row.tree.ids for row in rows]).astype(np.int64))
    depths = torch.from_numpy(np.concatenate([row.tree.depths for row in rows]))
    if not len(ids):
        return torch.empty(0, device=device)
    # A mask of four dimensions is taken as it is: nothing is made of it, and the plan says who sees whom.
    bare = torch.empty((1, 1, 1, 1), device=device)
    said = backbone(
        input_ids=ids[None].to(device),
        position_ids=depths[None].to(device),
        attention_mask=bare,
        use_cache=False,
        plan=Plan(rows, _last_layer(backbone)),
    )
    states: Tensor = said.last_hidden_state[0]
    return states


def _last_layer(backbone: Any) -> int:
    return int(getattr(backbone.config.get_text_config(), "num_hidden_layers", 0)) - 1


def padded(backbone: Any, windows: Sequence[Window], most: int) -> Tensor:
    """Return what a backbone makes of the ends of windows, one row each, in order.

    Windows of like length go through together, padded on the right, where a causal model does not look.
    """
    rows: list[Tensor] = [torch.empty(0)] * len(windows)
    for bucket in buckets([len(window.ids) for window in windows], most):
        for i, states in zip(bucket, _pass(backbone, [windows[i] for i in bucket]), strict=True):
            rows[i] = states
    return torch.cat(rows)


def _pass(backbone: Any, windows: Sequence[Window]) -> Iterator[Tensor]:
    width = max(len(window.ids) for window in windows)
    rows = [[*window.ids, *[window.ids[-1]] * (width - len(window.ids))] for window in windows]
    ids = torch.tensor(rows, device=next(backbone.parameters()).device)
    states = backbone(input_ids=ids, use_cache=False).last_hidden_state
    for row, window in zip(states, windows, strict=True):
        yield row[list(window.ends)]


def can_pack(backbone: Any) -> bool:
    """Return whether a backbone reads packed texts as it reads each alone; it is then made to attend to trees.

    Tried on three texts, two of which begin alike. One that cannot, such as those without position ids or with another
    attention, or that reads backwards too, stays as it was.
    """
    attention = backbone.config._attn_implementation
    windows = _probes(backbone.get_input_embeddings().num_embeddings)
    try:
        with torch.no_grad():
            alone = padded(backbone, windows, most=0)
            backbone.set_attn_implementation(NAME)
            ((members, row, places),) = rows(windows, most=1 << 30)
            flat = packed(backbone, [row])
            found = {i: flat[place] for i, place in zip(members, places, strict=True)}
            together = torch.cat([found[i] for i in range(len(windows))])
    except Exception:
        backbone.set_attn_implementation(attention)
        return False
    most = _ROUNDING.get(alone.dtype, _HALF) * float(alone.abs().max())
    if is_same := float((alone - together).abs().max()) <= most:
        return is_same
    backbone.set_attn_implementation(attention)
    return False


def is_set_up(backbone: Any) -> bool:
    """Return whether a backbone attends to trees; somebody else may have given it another attention meanwhile."""
    return bool(backbone.config._attn_implementation == NAME)


def _probes(n_ids: int) -> list[Window]:
    ids = np.random.default_rng(0).integers(0, n_ids, 64).astype(np.int32)
    lines = (ids[:28], np.concatenate((ids[:20], ids[28:40])), ids[40:])
    return [Window(array("i", line.tobytes()), tuple(range(3, len(line), 4)), 0) for line in lines]


def bytes_per_token(backbone: Any) -> int:
    """Return about how much memory the keys and values of a token take in all layers."""
    config = backbone.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    grouped = getattr(config, "num_key_value_heads", None) or heads
    size = next(backbone.parameters()).element_size()
    return int(2 * getattr(config, "num_hidden_layers", 1) * grouped * width * size)


def buckets(lengths: Sequence[int], most: int, shortest: float = 0.8) -> Iterator[list[int]]:
    """Yield the positions of items by length: groups of at most `most` tokens, no item below `shortest` of the longest.

    >>> list(buckets([10, 2, 9, 2], most=20))
    [[1, 3], [2, 0]]
    """
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        too_many = lengths[i] * (len(group) + 1) > most
        if group and (too_many or lengths[group[0]] < shortest * lengths[i]):
            yield group
            group = []
        group.append(i)
    if group:
        yield group
