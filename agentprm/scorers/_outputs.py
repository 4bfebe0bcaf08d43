"""The output layer of a language model: what turns a state into a number per token."""

from __future__ import annotations

from typing import Any

from agentprm.scorers._backbones import pretrained

# After our own modules, which name the missing extra.
import torch  # isort: skip
from torch import Tensor, nn  # isort: skip
from transformers import AutoModelForCausalLM  # isort: skip

__all__ = ["as_embedded", "pretrained_with_output"]


def as_embedded(backbone: Any) -> nn.Linear:
    """Return an output layer whose rows are the backbone's input embeddings, as in a model that ties the two."""
    rows: Tensor = backbone.get_input_embeddings().weight
    layer = nn.Linear(rows.shape[1], rows.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(rows.float())
    return layer


def pretrained_with_output(where: str, dtype: str) -> tuple[Any, Tensor]:
    """Return a pretrained model without its output layer, and that layer's rows: one per token, float32.

    Raises what `pretrained` does, also for a model that was saved without its output layer.
    """
    whole = pretrained(where, dtype, AutoModelForCausalLM)
    rows: Tensor = whole.get_output_embeddings().weight
    return whole.base_model, rows.detach().float().clone()
