"""Which weights of a backbone learn: all, none, or small matrices beside them that are folded in when it is saved."""

from __future__ import annotations

from typing import Any

from agentprm.errors import InvalidSpec, MissingExtra

try:
    from torch import Tensor
    from transformers.modeling_layers import GradientCheckpointingLayer
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["checkpoint", "choose", "merged"]

_BASE = "base_layer."
"""How peft calls what it has put an adapter around."""


def choose(backbone: Any, train: str, rank: int) -> None:
    """Let all of a backbone learn, nothing of it (*head*), or low-rank adapters beside its linear layers (*lora*)."""
    if train == "all":
        return
    backbone.requires_grad_(False)
    if train == "lora":
        _inject(backbone, rank)


def _inject(backbone: Any, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtra("lora", error.name or "peft") from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"), backbone)


def merged(backbone: Any) -> dict[str, Tensor]:
    """Return the weights as they would be of a backbone without adapters that says the same."""
    state = {name: tensor.detach() for name, tensor in backbone.state_dict().items()}
    for name, module in backbone.named_modules():
        if hasattr(module, "get_delta_weight"):
            weight = state[f"{name}.{_BASE}weight"]
            change = sum(module.get_delta_weight(adapter).detach() for adapter in module.active_adapters)
            state[f"{name}.{_BASE}weight"] = weight + change
    return {name.replace(_BASE, ""): tensor for name, tensor in state.items() if ".lora_" not in name}


def checkpoint(backbone: Any) -> None:
    """Let every layer be computed again in the backward pass instead of being remembered; dropout stays off.

    Raises InvalidSpec for a backbone that cannot.
    """
    if not getattr(backbone, "supports_gradient_checkpointing", False):
        raise InvalidSpec(f"{type(backbone).__name__} cannot be computed twice: say checkpointing=False")
    # Called gradient_checkpointing_enable before transformers 5.2x.
    older = backbone.gradient_checkpointing_enable
    getattr(backbone, "activation_checkpointing_enable", older)({"use_reentrant": False})
    for module in backbone.modules():
        # A layer looks at this flag of its own; what is inside it keeps its dropout off.
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True
