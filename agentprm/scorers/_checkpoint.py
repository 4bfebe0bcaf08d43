"""A language model's folder: safetensors and JSON, nothing that is ever executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentprm.errors import InvalidSpec, MissingExtra, TokenMismatch
from agentprm.scorers._backbones import bars_on_terminals, own_chance
from agentprm.scorers._reader import Reader
from agentprm.spec import CONFIG
from agentprm.text.render import Template
from agentprm.text.tokens import Encoder

try:
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModel
except ImportError as error:
    raise MissingExtra("models", error.name or "safetensors") from error

__all__ = ["read_backbone", "read_config", "read_encoder", "read_head", "settings", "write"]

_HEAD, _TOKENIZER, _BACKBONE = "head.safetensors", "tokenizer.json", "config.json"


def write(folder: Path, config: Mapping[str, Any], reader: Reader, encoder: Encoder) -> None:
    """Write a model: the backbone as transformers does, the head and the tokenizer beside it, what it is at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    with bars_on_terminals():
        reader.backbone.save_pretrained(folder)
    save_file({name: p.detach().cpu().contiguous() for name, p in reader.head.state_dict().items()}, folder / _HEAD)
    (folder / _TOKENIZER).write_text(encoder.json, encoding="utf-8")
    text = json.dumps({**config, "template": asdict(encoder.template)}, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Return what `write` was given as config; raises InvalidSpec for a folder that holds no such model."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        given, probe = settings(config), config["probe"]
        digests = [(config["params"][name], str) for name in ("weights", "template", "tokenizer")]
        numbers = (given["beta"], float | int), (given["context"], int)
        kinds = *digests, *numbers, (probe["ids"], str), (probe["values"], list)
        if not all(isinstance(value, kind) for value, kind in kinds) or not isinstance(config["template"], dict):
            raise TypeError("a value of the wrong kind")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSpec(f"{folder} holds no language model: {CONFIG} is unreadable ({error!r})") from error
    return dict(config)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with which the model was made."""
    return {name: config["params"][name] for name in ("sees", "beta", "context", "keep", "unreadable")}


def read_encoder(folder: Path, config: Mapping[str, Any]) -> Encoder:
    """Return the tokenizer and its template; raises TokenMismatch when one is not what the model was trained with."""
    try:
        template = Template(**config["template"])
        text = (folder / _TOKENIZER).read_text(encoding="utf-8")
    except (OSError, ValueError, TypeError) as error:
        raise InvalidSpec(f"{folder} holds no language model: {error}") from error
    encoder = Encoder(text, template)
    for name, found in (("template", template.digest), ("tokenizer", encoder.digest)):
        if found != config["params"][name]:
            raise TokenMismatch(
                f"the {name} in {folder} is {found}, and the model was trained with {config['params'][name]}: restore "
                "the folder as it was saved, with the agentprm that saved it"
            )
    return encoder


def read_backbone(folder: Path) -> Any:
    """Return the backbone; raises InvalidSpec for one that asks for code, adapters or anything but safetensors."""
    try:
        asked = json.loads((folder / _BACKBONE).read_text(encoding="utf-8"))
        attention = str(asked.get("attn_implementation") or asked.get("_attn_implementation") or "")
        if "auto_map" in asked or "/" in attention or (folder / "adapter_config.json").exists():
            raise InvalidSpec(f"{folder} asks for code or adapters of somebody else, and these are never loaded")
        with own_chance(0), bars_on_terminals():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            return AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=asked.get("dtype", "float32"),
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
            )
    except InvalidSpec:
        raise
    except Exception as error:
        raise InvalidSpec(f"{folder} holds no backbone that can be loaded: {error}") from error


def read_head(folder: Path, reader: Reader) -> None:
    """Put the saved head in place; raises InvalidSpec for one that does not fit."""
    try:
        reader.head.load_state_dict(load_file(folder / _HEAD))
    except Exception as error:
        raise InvalidSpec(f"{folder} holds no head that fits its backbone: {error}") from error
