"""The tokenizer that goes with a pretrained model: its own, or one that agrees with it."""

from __future__ import annotations

from typing import Any

from agentprm.errors import InvalidSpec, MissingExtra, TokenMismatch
from agentprm.text.tokens import Encoder, backend_of

try:
    from transformers import AutoTokenizer
except ImportError as error:
    raise MissingExtra("models", error.name or "transformers") from error

__all__ = ["tokenizer_of"]


def tokenizer_of(where: str, given: Any = None) -> Any:
    """Return the tokenizer of a pretrained model, or `given`: it may know more tokens, and number none otherwise.

    Raises InvalidSpec where there is none, TokenMismatch for one that writes other ids than the model learnt.
    """
    if given is None:
        return _own(where)
    try:
        own = _vocabulary(_own(where))
    except InvalidSpec:
        return given
    for token, number in sorted(_vocabulary(given).items(), key=lambda pair: pair[1]):
        if own.get(token, number) != number:
            raise TokenMismatch(
                f"{token!r} is {number} in the tokenizer given and {own[token]} in the one that {where} was trained "
                "with: leave tokenizer= out, or give one that only adds to it"
            )
    return given


def _own(where: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except Exception as error:  # transformers raises what it likes, down to missing libraries
        said = str(error).strip().partition("\n")[0]
        raise InvalidSpec(f"{where} holds no tokenizer that can be loaded: {said}") from error


def _vocabulary(tokenizer: Any) -> dict[str, int]:
    if isinstance(tokenizer, Encoder):
        return backend_of(tokenizer.json).get_vocab(with_added_tokens=True)
    return dict(tokenizer.get_vocab()) if hasattr(tokenizer, "get_vocab") else {}
