"""A language model's folder: safetensors and JSON, nothing that is ever executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from agentprm.errors import InvalidSpec, MissingExtra, TokenMismatch
from agentprm.scorers._adapters import merged
from agentprm.scorers._backbones import bars_on_terminals, own_chance
from agentprm.scorers._identity import Reads, assert_probe, assert_train_serve_identity, probe
from agentprm.scorers._reader import Reader
from agentprm.spec import CONFIG
from agentprm.text.brief import Brief, BriefEncoder
from agentprm.text.chat import Chat, ChatEncoder
from agentprm.text.render import Template
from agentprm.text.tokens import Encoder
from agentprm.types import Spec

try:
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModel
except ImportError as error:
    raise MissingExtra("models", error.name or "safetensors") from error

__all__ = ["load", "save"]

_NAMES = ("weights", "template", "tokenizer")
_HEAD, _TOKENIZER, _BACKBONE = "head.safetensors", "tokenizer.json", "config.json"
_WORDINGS: dict[str, tuple[Any, Any]] = {"chat": (Chat, ChatEncoder), "brief": (Brief, BriefEncoder)}
"""What reads a folder's texts, by the name of its template; any other name is that of markers."""

M = TypeVar("M", bound="Model")
_HOW = ("unreadable", "train", "rank", "checkpointing", "half")
"""Arguments that say how a model is taught and run, not what it is: saved, and no part of its spec."""


class Model(Reads, Protocol):
    """What can be saved."""

    name: ClassVar[str]

    def __init__(self, backbone: Any, tokenizer: Any, /, **settings: Any) -> None: ...
    @property
    def spec(self) -> Spec: ...
    @property
    def encoder(self) -> Encoder: ...


def save(model: Model, folder: Path) -> None:
    """Write a model and what it says of samples; raises what `assert_train_serve_identity` does, before it writes."""
    assert_train_serve_identity(model)
    params = {**model.spec.params, **{name: getattr(model, name) for name in _HOW}}
    params.pop("folder", None)
    _write(folder, {"name": model.name, "params": params, "probe": probe(model)}, model.reader, model.encoder)


def load(cls: type[M], folder: Path) -> M:
    """Return the model that `save` wrote, after the same checks.

    Raises InvalidSpec for anything else, TokenMismatch for a tokenizer, template or library that reads other tokens
    than those it was trained on.
    """
    config = _read_config(folder, cls.name)
    encoder = _read_encoder(folder, config)
    try:
        model = cls(_read_backbone(folder), encoder, **_settings(config))
    except TypeError as error:
        raise InvalidSpec(f"{folder} holds no {cls.name} that can be made: {error}") from error
    _read_head(folder, model.reader, config)
    assert_probe(model, config["probe"])
    assert_train_serve_identity(model)
    return model


def _write(folder: Path, config: Mapping[str, Any], reader: Reader, encoder: Encoder) -> None:
    """Write a model: the backbone as transformers does, the head and the tokenizer beside it, what it is at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    with bars_on_terminals():
        reader.backbone.save_pretrained(folder, state_dict=merged(reader.backbone))
    save_file({name: p.detach().cpu().contiguous() for name, p in reader.head.state_dict().items()}, folder / _HEAD)
    (folder / _TOKENIZER).write_text(encoder.json, encoding="utf-8")
    text = json.dumps({**config, "template": asdict(encoder.template)}, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    """Return what `write` was given as config; raises InvalidSpec for a folder that holds no model of that name."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        probe, params = config["probe"], config["params"]
        digests = [(params[key], str) for key in _NAMES]
        kinds = *digests, (params["context"], int), (probe["ids"], str), (probe["values"], list)
        if not all(isinstance(value, kind) for value, kind in kinds) or not isinstance(config["template"], dict):
            raise TypeError("a value of the wrong kind")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSpec(f"{folder} holds no language model: {CONFIG} is unreadable ({error!r})") from error
    if config.get("name") != name:
        raise InvalidSpec(
            f"{folder} holds a model called {config.get('name')!r}, not {name!r}: say load_scorer(folder)"
        )
    return dict(config)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with which the model was made."""
    return {name: value for name, value in config["params"].items() if name not in _NAMES}


def _read_encoder(folder: Path, config: Mapping[str, Any]) -> Encoder:
    """Return the tokenizer and its template; raises TokenMismatch when one is not what the model was trained with."""
    try:
        words, reads = _WORDINGS.get(config["template"].get("name"), (Template, Encoder))
        template = words(**config["template"])
        text = (folder / _TOKENIZER).read_text(encoding="utf-8")
    except (OSError, ValueError, TypeError) as error:
        raise InvalidSpec(f"{folder} holds no language model: {error}") from error
    encoder: Encoder = reads(text, template)
    for name, found in (("template", template.digest), ("tokenizer", encoder.digest)):
        if found != config["params"][name]:
            raise TokenMismatch(
                f"the {name} in {folder} is {found}, and the model was trained with {config['params'][name]}: restore "
                "the folder as it was saved, with the agentprm that saved it"
            )
    return encoder


def _read_backbone(folder: Path) -> Any:
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


def _read_head(folder: Path, reader: Reader, config: Mapping[str, Any]) -> None:
    """Put the saved head in place; raises InvalidSpec for one that does not fit, or weights other than those saved."""
    try:
        reader.head.load_state_dict(load_file(folder / _HEAD))
    except Exception as error:
        raise InvalidSpec(f"{folder} holds no head that fits its backbone: {error}") from error
    if (found := reader.digest()) != (recorded := config["params"]["weights"]):
        raise InvalidSpec(f"{folder} holds other weights ({found}) than those that were saved ({recorded})")
