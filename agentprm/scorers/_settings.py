"""What can be chosen about a language model, and what cannot be."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.text.render import LiveSight
from agentprm.text.windows import Keep

try:
    from transformers import PreTrainedModel
except ImportError as error:
    raise MissingExtra("models", error.name or "transformers") from error

__all__ = ["Train", "Unreadable", "check"]

Train: TypeAlias = Literal["all", "head", "lora"]
Unreadable: TypeAlias = Literal["raise", "skip"]
_KINDS: dict[str, Any] = {"sees": LiveSight, "keep": Keep, "unreadable": Unreadable, "train": Train}


def check(model: Any) -> None:
    """Return if a model can be made of these fields; raises InvalidSpec that names what is wrong."""
    if not isinstance(model.backbone, PreTrainedModel) or getattr(model.backbone, "_hf_peft_config_loaded", False):
        kind = type(model.backbone).__name__
        raise InvalidSpec(f"a backbone is a model of transformers without adapters, not {kind}: merge them first")
    for name, kind in _KINDS.items():
        if getattr(model, name) not in get_args(kind):
            raise InvalidSpec(f"{name} is one of {get_args(kind)}, not {getattr(model, name)!r}")
    if model.rank < 1 or model.memory < 0:
        raise InvalidSpec(f"rank={model.rank} is 1 or more, memory={model.memory} is a number of bytes, 0 or more")
