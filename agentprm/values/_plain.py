"""The shortest way to JSON, for what a recorder meets at every step; it gives what the walk would give, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from agentprm.types import Value
from agentprm.values._tagged import LARGEST_JSON_INT, MOST_READABLE
from agentprm.values._text import is_clean

__all__ = ["plain_json"]

_ATOMS, _KEYS = frozenset({str, bool, type(None)}), frozenset({str})
_INTS, _FLOATS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"), ("f2", "f4", "f8")
_CODES = {np.dtype(code): np.dtype(code).str for code in _INTS + _FLOATS}
_SCALARS = {dtype.type: code for dtype, code in _CODES.items()}
_LEVELS = 8


def plain_json(value: Value) -> str | None:
    """Return the JSON text of a value that is certain at a glance to be exact; None for any other."""
    kind = type(value)
    shortcut = _SHORTCUTS.get(kind)
    if shortcut is not None:
        return shortcut(value)
    code = _SCALARS.get(kind)
    return None if code is None else _scalar(code, value.item())


def _text(value: str) -> str | None:
    return orjson.dumps(value).decode() if is_clean(value) else None


def _scalar(code: str, number: int | float) -> str | None:
    if not -LARGEST_JSON_INT < number < LARGEST_JSON_INT:  # nor is NaN
        return None
    return f'{{"$scalar":["{code}",{number!r}]}}'


def _array(array: np.ndarray[Any, Any]) -> str | None:
    code = _CODES.get(array.dtype)
    if code is None or array.ndim != 1 or len(array) > MOST_READABLE:
        return None
    numbers = array.tolist()
    if not sum(map(abs, numbers)) < LARGEST_JSON_INT:  # nor is NaN
        return None
    return f'{{"$array":["{code}",[{len(numbers)}],{orjson.dumps(numbers).decode()}]}}'


def _container(value: dict[Any, Any] | list[Any]) -> str | None:
    if not _is_json(value, _LEVELS):
        return None
    try:
        data = orjson.dumps(value)
    except orjson.JSONEncodeError:  # a lone surrogate
        return None
    # A key or text that begins with a dollar, or a NUL: perhaps harmless, but not at a glance.
    return None if b'"$' in data or b"\\u0000" in data else data.decode()


def _is_json(value: Value, levels: int) -> bool:
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is list:
        return _ATOMS.issuperset(map(type, value)) or (levels > 0 and all(_is_json(v, levels - 1) for v in value))
    if kind is dict:
        plain = _KEYS.issuperset(map(type, value))
        return plain and levels > 0 and all(_is_json(v, levels - 1) for v in value.values())
    if kind is float:
        return value - value == 0  # type: ignore[no-any-return]
    return kind is int and -LARGEST_JSON_INT < value < LARGEST_JSON_INT


_SHORTCUTS: dict[type[Any], Callable[[Any], str | None]] = {
    str: _text,
    np.ndarray: _array,
    dict: _container,
    list: _container,
}
