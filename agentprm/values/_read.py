"""From JSON text back to the value."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from agentprm.types import Value

__all__ = ["decode"]

_FLEXIBLE: dict[str, Callable[[Any], Value]] = {"U": np.str_, "S": np.bytes_, "V": np.void}
_FLOAT = struct.Struct(">d")
_SETS: dict[str, type[Any]] = {"$set": set, "$frozenset": frozenset}


def decode(text: str) -> Value:
    """Return the value that `encode` was given."""
    return _untag(json.loads(text))


def _untag(value: Any) -> Value:
    if type(value) is list:
        return [_untag(v) for v in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        (key, inner), *_ = value.items()
        if key[:1] == "$":
            return _untag_one(key, inner)
    return {k: _untag(v) for k, v in value.items()}


def _untag_one(key: str, inner: Any) -> Value:
    if key == "$tuple":
        return tuple(_untag(v) for v in inner)
    if key in _SETS:
        return _SETS[key](_hashable(_untag(v)) for v in inner)
    if key == "$dict":
        return {_hashable(_untag(k)): _untag(v) for k, v in inner}
    if key == "$array":
        return _array(inner[0], inner[1], inner[2])
    if key == "$scalar":
        return _scalar(inner[0], inner[1])
    if key == "$str":
        return base64.b64decode(inner).decode("utf-8", "surrogatepass")
    if key == "$int":
        return int(inner, 16)
    if key == "$float":
        return _FLOAT.unpack(bytes.fromhex(inner[2:]))[0] if inner[:2] == "0x" else float(inner)
    return base64.b64decode(inner) if key == "$bytes" else {key: inner}


def _hashable(value: Value) -> Hashable:
    """Return a key or an element of a set; what stands for an inexact one may not be hashable, its text is."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value  # type: ignore[no-any-return]


def _scalar(dtype: str, data: Any) -> Any:
    flexible = _FLEXIBLE.get(np.dtype(dtype).kind)
    return flexible(_untag(data)) if flexible else _array(dtype, (1,), data)[0]


def _array(dtype: str, shape: Any, data: Any) -> np.ndarray[Any, Any]:
    if not isinstance(data, str):
        return np.array(data, dtype=dtype).reshape(shape)
    return np.ndarray(shape, dtype, base64.b64decode(data)).copy()
