"""What is read at the token where a step ends."""

from __future__ import annotations

from typing import Any

from agentprm.errors import MissingExtra

try:
    from torch import nn
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["linear"]


def linear(backbone: Any, n: int) -> nn.Linear:
    """Return a linear layer from a backbone's states to `n` numbers, all of them 0 until it has learnt."""
    head = nn.Linear(backbone.config.get_text_config().hidden_size, n)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
