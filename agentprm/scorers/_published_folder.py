"""The folder of a published checkpoint: configuration, tensors and tokenizer. Nothing in it is ever executed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.scorers._backbones import bars_on_terminals, own_chance, unreported
from agentprm.spec import CONFIG

try:
    import torch
    from huggingface_hub import snapshot_download
    from safetensors import safe_open
    from torch import Tensor
    from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer, PreTrainedTokenizerFast
except ImportError as error:
    raise MissingExtra("models", error.name or "transformers") from error

__all__ = ["Checkpoint", "fetch"]

_CONFIG, _WEIGHTS, _INDEX, _ADAPTER = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
)
_WORDS = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab*", "merges.txt")
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_FOREIGN = ("auto_map", "attn_implementation", "experts_implementation", "trust_remote_code")
"""Parts of keys of a configuration that ask for code of somebody else."""


def fetch(where: str, *, weights: bool = True) -> Path:
    """Return the folder of a checkpoint: one that is here, or one of the Hugging Face Hub, by its name.

    Of the Hub only JSON, safetensors if `weights`, and the tokenizer's files are asked for: no code, no pickles.
    Raises InvalidSpec.
    """
    if (folder := Path(where)).is_dir():
        return folder
    try:
        patterns = ["*.json", "*.model", *_WORDS, *(["*.safetensors"] if weights else [])]
        return Path(snapshot_download(where, allow_patterns=patterns))
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise InvalidSpec(
            f"{where!r} is no folder here, and the Hugging Face Hub gave none of that name: {said}"
        ) from error


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a model in safetensors, beside its configuration; raises InvalidSpec for anything else."""

    folder: Path
    config: Mapping[str, Any]
    """As written, less what asks for code."""
    places: Mapping[str, Path]
    """In which file each tensor lies, by its name."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return what is in a folder; tensors are not read yet."""
        config = _json(folder / _CONFIG)
        if (folder / _ADAPTER).exists():
            raise InvalidSpec(f"{folder} holds adapters ({_ADAPTER}): merge them into their model, and save that")
        return cls(folder, _harmless(config), _places(folder))

    @property
    def architecture(self) -> str:
        """The class that it was saved from, as its configuration says; empty if it does not."""
        return str(next(iter(self.config.get("architectures") or ()), ""))

    def tensor(self, name: str, rows: list[int] | None = None) -> Tensor:
        """Return a tensor in float32, or some of its rows; raises InvalidSpec where there is none of that name."""
        if name not in self.places:
            raise InvalidSpec(f"{self.folder} holds no tensor {name!r}, which such a model has: is it another kind?")
        with safe_open(str(self.places[name]), framework="pt") as file:
            if rows is None:
                return cast(Tensor, file.get_tensor(name)).float()
            part = file.get_slice(name)
            return torch.cat([part[row : row + 1] for row in rows]).float()

    def backbone(self, dtype: str) -> Any:
        """Return the model without its head, as transformers itself builds it."""
        kind = str(self.config.get("model_type"))
        if kind not in CONFIG_MAPPING:
            raise InvalidSpec(
                f"{self.folder} is a model of type {kind!r}, which transformers has no code of its own for"
            )
        try:
            with own_chance(0), bars_on_terminals(), unreported():
                model, report = AutoModel.from_pretrained(
                    self.folder,
                    config=CONFIG_MAPPING[kind].from_dict(dict(self.config)),
                    dtype=dtype,
                    trust_remote_code=False,
                    use_safetensors=True,
                    local_files_only=True,
                    output_loading_info=True,
                )
        except Exception as error:
            said = str(error).strip().partition("\n")[0]
            raise InvalidSpec(f"{self.folder} holds no backbone that can be loaded: {said}") from error
        if missing := sorted(report["missing_keys"]):
            raise InvalidSpec(
                f"{self.folder} lacks {len(missing)} tensors of its backbone, the first is {missing[0]!r}"
            )
        return model

    def tokenizer(self) -> Any:
        """Return the tokenizer; raises InvalidSpec where there is none, or one that is not fast, or is code."""
        # Without any of these transformers makes one that knows no word, and says nothing.
        if not any((self.folder / name).exists() for name in _VOCABULARIES):
            raise InvalidSpec(f"{self.folder} holds no tokenizer: none of {', '.join(_VOCABULARIES)}")
        # AutoTokenizer puts the splitting that a type of model usually has in place of what tokenizer.json says.
        cls = PreTrainedTokenizerFast if (self.folder / _VOCABULARIES[0]).exists() else AutoTokenizer
        try:
            found = cls.from_pretrained(self.folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:
            said = str(error).strip().partition("\n")[0]
            raise InvalidSpec(f"{self.folder} holds no tokenizer that can be loaded: {said}") from error
        if not found.is_fast:
            raise InvalidSpec(f"{self.folder} holds a slow tokenizer: save it with a tokenizer.json")
        return found

    def copy(self, folder: Path, scorer: Mapping[str, Any]) -> None:
        """Write the same to another folder (or leave it where it is), with a scorer.json that says what it is."""
        folder.mkdir(parents=True, exist_ok=True)
        if folder.resolve() != self.folder.resolve():
            files = {
                path for pattern in ("*.safetensors", _INDEX, "*.model", *_WORDS) for path in self.folder.glob(pattern)
            }
            for path in sorted(files):
                shutil.copy(path, folder / path.name)
            (folder / _CONFIG).write_text(json.dumps(dict(self.config), indent=2) + "\n", encoding="utf-8")
        (folder / CONFIG).write_text(json.dumps(dict(scorer), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{path.parent} is no checkpoint: {path.name} is missing or unreadable ({error})") from error
    if not isinstance(found, dict):
        raise InvalidSpec(f"{path.parent} is no checkpoint: {path.name} holds a {type(found).__name__}, not an object")
    return found


def _harmless(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without what names code, at any depth."""
    kept = {key: value for key, value in config.items() if not any(part in key for part in _FOREIGN)}
    return {key: _harmless(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def _places(folder: Path) -> dict[str, Path]:
    """Return the file of each tensor; raises InvalidSpec where there is no safetensors file, naming pickles."""
    if (folder / _INDEX).exists():
        shards = _json(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict):
            raise InvalidSpec(f"{folder} is no checkpoint: {_INDEX} has no weight_map")
        return {name: folder / Path(str(file)).name for name, file in shards.items()}
    if not (folder / _WEIGHTS).exists():
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        also = (
            f" only {pickles[0]}, and opening a pickle runs code: convert it to safetensors" if pickles else " nothing"
        )
        raise InvalidSpec(f"{folder} holds no {_WEIGHTS}, but{also}")
    try:
        with safe_open(str(folder / _WEIGHTS), framework="pt") as file:
            return dict.fromkeys(file.keys(), folder / _WEIGHTS)
    except Exception as error:
        raise InvalidSpec(f"{folder / _WEIGHTS} is no safetensors file: {error}") from error
