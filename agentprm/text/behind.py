"""A causal language model reads on behind what it has read, in whatever words transformers asks for that."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["read_behind"]


def read_behind(model: Any, ids: Any, cache: Any) -> tuple[Any, Any]:
    """Return the logits of a row of ids, shape (1, n, vocabulary), and the cache that has read them.

    None as `cache` begins anew; one that is given is changed.
    """
    name = _name(type(model).forward)
    said = model(input_ids=ids, use_cache=True, **{name: cache})
    return said.logits, said[name]


@lru_cache
def _name(forward: Callable[..., Any]) -> str:
    """Return what a model calls its cache: ``cache`` since transformers 5.24, ``past_key_values`` before."""
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"
