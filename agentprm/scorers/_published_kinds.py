"""The kinds of published models: how each is recognised, how it reads, and what its head says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.scorers import _published_texts as texts
from agentprm.scorers._published_folder import Checkpoint

try:
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["KINDS", "Kind", "chances", "fit", "recognise"]

Kind: TypeAlias = Literal["qwen", "skywork", "math_shepherd", "rlhflow", "token_classification"]

_VALUE_HEAD = "v_head.summary"
_RIGHT = re.compile(r"label_1|1|\+|good|right|correct|positive|true|yes", re.IGNORECASE)


class Form(NamedTuple):
    """What is particular to a kind."""

    wording: Callable[[Any, str], texts.Wording]
    head: Callable[[Checkpoint, texts.Wording], nn.Module]


def recognise(checkpoint: Checkpoint, name: str) -> Kind:
    """Return the kind of a checkpoint, by its architecture, its tensors and, for language models, its name.

    Raises InvalidSpec for what is no process reward model, and for a language model that does not say it is one.
    """
    found = checkpoint.architecture
    if found == "Qwen2ForProcessRewardModel":
        return "qwen"
    if found == "Qwen2ForPrmModel" or f"{_VALUE_HEAD}.weight" in checkpoint.places:
        return "skywork"
    if found.endswith("ForTokenClassification"):
        return "token_classification"
    if not found.endswith("ForCausalLM"):
        raise InvalidSpec(f"{name} is a {found or 'model of no named architecture'}, and no {_known()}")
    called = " ".join(map(_last, (name, str(checkpoint.config.get("_name_or_path", ""))))).lower()
    if "shepherd" in called:
        return "math_shepherd"
    if "rlhflow" in called or "prm" in called:
        return "rlhflow"
    raise InvalidSpec(
        f"{name} is a {found}, a language model like any other: if it was taught to judge steps, say "
        "kind='math_shepherd' (+ or - after ки) or kind='rlhflow' (the assistant says + or -)"
    )


def _last(name: str) -> str:
    """Return a name on the Hub, or the last part of a path: what lies above it says nothing of a model."""
    return name if name.count("/") == 1 and not name.startswith("/") else PurePath(name).name


def _known() -> str:
    return f"process reward model of a known kind: there are {', '.join(get_args(Kind))}"


def chances(said: Tensor) -> list[float]:
    """Return the chance that each step is right, of one logit each, or of two: *wrong* and *right*."""
    right = said[:, 0].sigmoid() if said.shape[-1] == 1 else said.softmax(-1)[:, 1]
    return [float(chance) for chance in right.tolist()]


def fit(backbone: Any, head: nn.Module, tokenizer: Any, where: str) -> None:
    """Return if head and tokenizer are those of a backbone; raises InvalidSpec that names both sides."""
    width, asked = backbone.config.get_text_config().hidden_size, next(head.parameters()).shape[1]
    if asked != width:
        raise InvalidSpec(f"{where} has a head that reads {asked} numbers, on a backbone that makes {width} of a token")
    rows, last = backbone.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values(), default=-1)
    if last >= rows:
        raise InvalidSpec(f"{where} has a tokenizer of ids up to {last}, and {rows} embeddings: give its own tokenizer")


def _layer(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    if weight.ndim != 2:
        raise InvalidSpec(f"a head's weight is a matrix, not of shape {tuple(weight.shape)}")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    try:
        layer.load_state_dict(state)
    except RuntimeError as error:
        raise InvalidSpec(f"a head of shapes that do not fit: {str(error).splitlines()[-1].strip()}") from error
    return layer


def _named(checkpoint: Checkpoint, name: str) -> nn.Linear:
    return _layer(checkpoint.tensor(f"{name}.weight"), checkpoint.tensor(f"{name}.bias"))


def _two_layers(checkpoint: Checkpoint, wording: texts.Wording) -> nn.Module:
    return nn.Sequential(_named(checkpoint, "score.0"), nn.ReLU(), _two(checkpoint, _named(checkpoint, "score.2")))


def _value_head(checkpoint: Checkpoint, wording: texts.Wording) -> nn.Module:
    return _named(checkpoint, _VALUE_HEAD)


def _verdicts(checkpoint: Checkpoint, wording: texts.Wording) -> nn.Module:
    """Return two rows of the output layer; of the embeddings, where these are the output layer, too."""
    rows = [*wording.verdicts]
    if "lm_head.weight" not in checkpoint.places and checkpoint.config.get("tie_word_embeddings"):
        return _layer(checkpoint.tensor("model.embed_tokens.weight", rows))
    return _layer(checkpoint.tensor("lm_head.weight", rows))


def _labels(checkpoint: Checkpoint, wording: texts.Wording) -> nn.Module:
    """Return a layer to two labels, *right* the second of them."""
    weight = checkpoint.tensor("score.weight")
    bias = checkpoint.tensor("score.bias") if "score.bias" in checkpoint.places else None
    right = _right(checkpoint.config.get("id2label") or {})
    _two(checkpoint, layer := _layer(weight, bias))
    if right == 0:
        layer = _layer(weight.flip(0), None if bias is None else bias.flip(0))
    return layer


def _right(names: dict[Any, Any]) -> int:
    """Return which label stands for a right step: the one that says so, else the second, as TRL trains them."""
    saying = [int(i) for i, name in names.items() if _RIGHT.fullmatch(str(name))]
    if not names:
        return 1
    if len(saying) != 1 or saying[0] not in (0, 1):
        raise InvalidSpec(f"id2label={names} does not say which label is a right step: name one LABEL_1 or correct")
    return saying[0]


def _two(checkpoint: Checkpoint, layer: nn.Linear) -> nn.Linear:
    if layer.out_features != 2:
        raise InvalidSpec(f"{checkpoint.folder} has {layer.out_features} labels for a step, and right or wrong are two")
    return layer


KINDS: dict[Kind, Form] = {
    "qwen": Form(texts.qwen_wording, _two_layers),
    "skywork": Form(texts.skywork_wording, _value_head),
    "math_shepherd": Form(texts.shepherd_wording, _verdicts),
    "rlhflow": Form(texts.chat_wording, _verdicts),
    "token_classification": Form(texts.trl_wording, _labels),
}
