"""Where a language model's backbone comes from: small and new, or pretrained. Global generators stay as they were."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.text.tokens import Encoder

try:
    import torch
    from transformers import AutoModel, LlamaConfig
    from transformers.utils import logging as transformers_logging
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["bars_on_terminals", "make_room", "own_chance", "positions", "pretrained", "tiny_llama", "unreported"]


def tiny_llama(n_ids: int, *, hidden: int, layers: int, heads: int, context: int, seed: int) -> Any:
    """Return a small Llama with random weights, the same for the same seed."""
    config = LlamaConfig(
        vocab_size=n_ids,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context,
    )
    with own_chance(seed):
        return cast(Any, AutoModel).from_config(config)


def pretrained(where: str, dtype: str, form: Any = AutoModel) -> Any:
    """Return a pretrained model in a form of transformers; by default without its output layer.

    Safetensors only, and no code that comes with it. Raises InvalidSpec where there is none, for one that reads no
    tokens or not as a decoder alone, and for one that lacks weights, which would be drawn by chance.
    """
    try:
        with own_chance(0), bars_on_terminals(), unreported():
            model, report = form.from_pretrained(
                where, dtype=dtype, trust_remote_code=False, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # transformers raises what it likes
        said = str(error).strip().partition("\n")[0]
        raise InvalidSpec(f"{where} holds no pretrained model that can be loaded: {said}") from error
    kind, config = type(model).__name__, model.config
    if getattr(config, "is_encoder_decoder", False) or not hasattr(config.get_text_config(), "vocab_size"):
        raise InvalidSpec(f"{where} holds a {kind}, and steps are read by a causal language model: give one")
    # A pooler stands behind the states that are read here.
    if missing := sorted(name for name in report["missing_keys"] if not name.startswith("pooler.")):
        raise InvalidSpec(
            f"{where} lacks {len(missing)} tensors of a {kind}, the first is {missing[0]!r}, and chance would fill "
            "them: it was saved as another kind of model"
        )
    return model


def positions(backbone: Any, asked: int | None) -> int:
    """Return how many tokens are read at once: as many as asked, else as many as the backbone has positions.

    Raises InvalidSpec when that is not known, not positive, or more than it has.
    """
    limit = getattr(backbone.config.get_text_config(), "max_position_embeddings", None)
    context = limit if asked is None else asked
    if context is None or not 0 < context <= (limit or context):
        raise InvalidSpec(f"context={asked} for a backbone of {limit} positions: give one that it can read")
    return int(context)


@contextmanager
def own_chance(seed: int) -> Iterator[None]:
    """Draw from a generator of its own, and leave the global one as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def unreported() -> Iterator[None]:
    """Let transformers say nothing of tensors that it does not expect; who loads looks for those that lack."""
    talk = cast(Any, transformers_logging)
    level = talk.get_verbosity()
    talk.set_verbosity_error()
    try:
        yield
    finally:
        talk.set_verbosity(level)


@contextmanager
def bars_on_terminals() -> Iterator[None]:
    """Let transformers draw its progress bars on a terminal, and nowhere else."""
    bars = cast(Any, transformers_logging)
    if sys.stderr.isatty() or not bars.is_progress_bar_enabled():
        yield
        return
    bars.disable_progress_bar()
    try:
        yield
    finally:
        bars.enable_progress_bar()


def make_room(backbone: Any, encoder: Encoder, seed: int) -> None:
    """Give every id of the encoder an embedding, and each new marker one as any token might have.

    Raises InvalidSpec for a tokenizer that is not the backbone's.
    """
    rows = backbone.get_input_embeddings().num_embeddings
    if (known := encoder.size - len(encoder.added)) > rows:
        raise InvalidSpec(f"a tokenizer of {known} ids beside a backbone of {rows} embeddings: give its own tokenizer")
    with own_chance(seed), torch.no_grad():
        if encoder.size > rows:
            backbone.resize_token_embeddings(encoder.size, mean_resizing=False)
        weight = backbone.get_input_embeddings().weight
        old = weight[:rows].float()
        mean, spread = old.mean(0).cpu(), old.std(0).cpu()
        for marker in encoder.added:
            weight[marker] = torch.normal(mean, spread).to(weight)
