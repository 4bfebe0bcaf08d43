"""A language model that reads trajectories: its backbone, and a head at each token where a step ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import Any

from agentprm.errors import MissingExtra
from agentprm.scorers import _passes as passes
from agentprm.scorers._adapters import merged
from agentprm.scorers._share import shared
from agentprm.text.attention import Row
from agentprm.text.cache import PrefixCache
from agentprm.text.groups import rows
from agentprm.text.windows import Window

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["Reader"]

_MOST_TOKENS = 8_192
"""In one pass."""
_MOST_LOOKED_AT = 4_096
"""Numbers of each tensor of a head, evenly spread, that are compared to see whether it has learnt."""


class Reader(nn.Module):
    """A causal language model without its output layer, and a head read at the tokens where steps end.

    Dropout is off, in training too, so that what a step is worth depends on the weights and the step alone. The head
    computes in float32.
    """

    def __init__(self, backbone: Any, head: nn.Module, memory: int = 0, *, in_half: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.eval()
        self.head = head.to(self.device)
        self.in_half = in_half
        self.cache = PrefixCache(memory, passes.bytes_per_token(backbone), _MOST_TOKENS)
        self._packs: bool | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        first: Tensor = next(self.backbone.parameters())
        return first.device

    @property
    def width(self) -> int:
        """How many numbers the backbone makes of a token."""
        return int(self.backbone.config.get_text_config().hidden_size)

    @property
    def packs(self) -> bool:
        """Whether the backbone was found to read packed texts as it reads each alone."""
        if self._packs is None or (self._packs and not passes.is_set_up(self.backbone)):
            self._packs = passes.can_pack(self.backbone)
        return self._packs

    def forward(self, windows: Sequence[Window]) -> Tensor:
        """Return what the head says of each step of each window, in order: float32, the first dimension is the step."""
        return shared(windows, self._said)

    def _said(self, windows: Sequence[Window]) -> Tensor:
        said: Tensor = self.head(self.states(windows).float())
        return said

    def recall(self, windows: Sequence[Window], version: Any = None) -> Tensor:
        """Return the same as `forward`, without gradients, reading only what is new since it was called before.

        `version` is that of the weights, where the caller knows it.
        """
        with torch.no_grad():
            if not windows:
                return self._said(windows)
            if not self.packs:
                self.cache.encoded_tokens += sum(len(window.ids) for window in windows)
                return self._said(windows)
            states = self.cache.states(windows, self._run, version or self.version())
            said: Tensor = self.head(torch.cat(states).float())
            return said

    def states(self, windows: Sequence[Window]) -> Tensor:
        """Return what the backbone makes of the tokens at `ends`: one row per end of each window, in order.

        Windows that begin alike are read as a tree: what they share goes through the backbone once.
        """
        if not windows:
            return torch.empty(0, self.width, device=self.device)
        if not self.packs:
            return self._padded(windows)
        found: list[Tensor] = [torch.empty(0)] * len(windows)
        for members, row, places in rows(windows, _MOST_TOKENS):
            flat = self._run([row])
            for i, place in zip(members, places, strict=True):
                found[i] = flat[place]
        return torch.cat(found)

    def _run(self, rows: Sequence[Row]) -> Tensor:
        with self._precision():
            states: Tensor = passes.packed(self.backbone, rows)
            return states

    def _padded(self, windows: Sequence[Window]) -> Tensor:
        with self._precision():
            states: Tensor = passes.padded(self.backbone, windows, _MOST_TOKENS)
            return states

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.in_half else nullcontext()

    def digest(self) -> str:
        """Return 128 bits, in hex, that name the weights, wherever they lie."""
        state = blake2b(digest_size=16)
        head = {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        body = {f"backbone.{name}": tensor for name, tensor in merged(self.backbone).items()}
        for name, tensor in sorted({**body, **head}.items()):
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return state.hexdigest()

    def version(self) -> tuple[Any, ...]:
        """Return what changes whenever the weights do, without reading all of them."""
        # Some optimisers write past the version counters; none leaves what learns of the head as it was.
        learning = [p.detach().reshape(-1) for p in self.head.parameters() if p.requires_grad]
        head = torch.cat([p[:: 1 + len(p) // _MOST_LOOKED_AT].float() for p in learning]).cpu()
        changes = which = 0
        modules: list[nn.Module] = [self]
        # Ten times as fast as parameters() and buffers(), and asked at every call.
        for module in modules:
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None:
                    changes += tensor._version
                    which ^= id(tensor)
            modules.extend(child for child in module._modules.values() if child is not None)
        first = next(self.backbone.parameters())
        return changes, which, first.dtype, first.device, self.in_half, head.numpy().tobytes()
