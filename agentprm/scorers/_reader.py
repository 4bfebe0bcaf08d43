"""A language model that reads trajectories: its backbone, and one number at each token where a step ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, cast

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.text.windows import Window

try:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["Reader", "buckets"]

_MOST_TOKENS = 16_384
"""In one pass, padding included."""


class Reader(nn.Module):
    """A causal language model without its output layer, and a linear head read at the tokens where steps end.

    The head begins at zero: untrained, every value is 0.5. Dropout is off, in training too, so that what a step is
    worth depends on the weights and the step alone. The head computes in float32.
    """

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        if not isinstance(backbone, PreTrainedModel) or getattr(backbone, "_hf_peft_config_loaded", False):
            kind = type(backbone).__name__
            raise InvalidSpec(f"a backbone is a model of transformers without adapters, not {kind}: merge them first")
        self.backbone = cast(Any, backbone)
        self.backbone.eval()
        width = backbone.config.get_text_config().hidden_size
        # Off the devices, or its first weights would be drawn from a global generator.
        self.head = nn.Linear(width, 1, device="meta").to_empty(device=self.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        first: Tensor = next(self.backbone.parameters())
        return first.device

    def forward(self, windows: Sequence[Window]) -> Tensor:
        """Return the value of each step of each window, in order, in [0, 1]: a vector of float32."""
        values: Tensor = self.head(self.states(windows).float()).squeeze(-1).sigmoid()
        return values

    def states(self, windows: Sequence[Window]) -> Tensor:
        """Return what the backbone makes of each step: one row per end of each window, in order.

        Windows of like length go through together, padded on the right, where a causal model does not look.
        """
        rows: list[Tensor] = [torch.empty(0)] * len(windows)
        if not rows:
            return torch.empty(0, self.head.in_features, device=self.device)
        for bucket in buckets([len(window.ids) for window in windows], _MOST_TOKENS):
            for i, states in zip(bucket, self._pass([windows[i] for i in bucket]), strict=True):
                rows[i] = states
        return torch.cat(rows)

    def _pass(self, windows: Sequence[Window]) -> Iterator[Tensor]:
        width = max(len(window.ids) for window in windows)
        padded = [window.ids + window.ids[-1:] * (width - len(window.ids)) for window in windows]
        ids = torch.tensor(padded, device=self.device)
        states = self.backbone(input_ids=ids, use_cache=False).last_hidden_state
        for row, window in zip(states, windows, strict=True):
            yield row[list(window.ends)]

    def digest(self) -> str:
        """Return 128 bits, in hex, that name the weights, wherever they lie."""
        state = blake2b(digest_size=16)
        for name, tensor in sorted(self.state_dict().items()):
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return state.hexdigest()

    def version(self) -> tuple[int, torch.dtype, bytes]:
        """Return what changes whenever the weights do, without reading all of them."""
        # Some optimisers write past the version counters; none leaves the head as it was.
        head = torch.cat([p.detach().reshape(-1) for p in self.head.parameters()]).cpu()
        changes = sum(int(tensor._version) for tensor in self.state_dict(keep_vars=True).values())
        return changes, next(self.backbone.parameters()).dtype, head.numpy().tobytes()


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
