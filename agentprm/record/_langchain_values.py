"""Copies of live values, which the program that made them may go on changing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentprm.types import Value

__all__ = ["Shown", "snapshot"]

_DEEPEST = 100
_SCALARS: dict[type, Callable[[Any], Value]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes,
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is left of a live object: its words.

    >>> Shown("<a socket>")
    <a socket>
    """

    text: str

    def __repr__(self) -> str:
        return self.text


def snapshot(value: Value, depth: int = 0) -> Value:
    """Return a copy that no one else can change: containers and arrays copied, other objects as `Shown`.

    Of a subclass, such as an enum or an OrderedDict, the plain value is kept.

    >>> snapshot({"a": [1, object]})
    {'a': [1, <class 'object'>]}
    """
    if value is None or type(value) in (str, int, float, bool, bytes):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return Shown(_words(value)) if value.dtype.hasobject else value.copy()
    for base, plain in _SCALARS.items():
        if isinstance(value, base):
            return plain(value)
    if depth < _DEEPEST:
        if isinstance(value, dict):
            return {snapshot(k, depth + 1): snapshot(v, depth + 1) for k, v in value.items()}
        for kind in (list, tuple, set, frozenset):
            if isinstance(value, kind):
                return kind(snapshot(v, depth + 1) for v in value)
    return Shown(_words(value))


def _words(value: Value) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
