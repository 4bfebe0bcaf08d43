"""Any value an environment or a tool hands over, as JSON text and back: exactly, or tagged and counted.

Plain JSON values stay plain. Everything else becomes an object with one ``$`` key::

    float nan, inf, -inf    {"$float": "nan"}           bytes       {"$bytes": "<base64>"}
    tuple                   {"$tuple": [...]}           set         {"$set": [...]}, frozenset {"$frozenset": [...]}
    array                   {"$array": ["<f4", [2, 3], "<base64>"]}, or [...] for up to 32 finite numbers
    NumPy scalar            {"$scalar": ["<i8", 7]}, or "<base64>"; str_, bytes_ and void as text and bytes
    dict with other keys    {"$dict": [[key, value], ...]}
    str with NUL or surrogates   {"$str": "<base64 of UTF-8, surrogates passed>"}
    anything else           {"$repr": "..."}            not exact: counted as degraded
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np
import orjson

from agentprm.types import Value

__all__ = ["clean_text", "decode", "encode", "is_clean"]

_LARGEST_JSON_INT = 2**53
_DEEPEST = 100
_MOST_READABLE, _READABLE, _READABLE_BYTES = 32, "biuf", 8
_BASES: dict[type[Any], Callable[[Any], Value]] = {
    str: str.__str__,  # str() of an enumeration's member is its name
    int: int,
    float: float,
    bytes: bytes,
    dict: dict,
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    np.ndarray: np.asarray,
}
"""What is left of a subclass when its type is lost."""
_FLEXIBLE: dict[str, Callable[[Any], Value]] = {"U": str.__str__, "S": bytes, "V": bytes}
_FLEXIBLE_SCALARS: dict[str, Callable[[Any], Value]] = {"U": np.str_, "S": np.bytes_, "V": np.void}
"""Scalars of any length: as array elements they would lose their trailing zeros."""
_SETS: dict[str, type[Any]] = {"$set": set, "$frozenset": frozenset}
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)


def encode(value: Value) -> tuple[str, int]:
    """Return the JSON text of `value`, and how many parts of it have no exact form.

    >>> encode({"a": (1, float("inf"))})
    ('{"a":{"$tuple":[1,{"$float":"inf"}]}}', 0)
    """
    kind = type(value)
    if kind is str and is_clean(value):
        return _json(value), 0
    if kind is np.ndarray and value.dtype.kind in "iuf" and value.size <= _MOST_READABLE:
        # The hot path of a recorder: what tag() gives, without the walk.
        return _json({"$array": [value.dtype.str, value.shape, _elements(value)]}), 0
    tagger = _Tagger()
    return _json(tagger.tag(value)), tagger.lost


def _json(tagged: Any) -> str:
    """Return the JSON of what was tagged; orjson is several times as fast, and refuses what is nested very deep."""
    try:
        return orjson.dumps(tagged).decode()
    except orjson.JSONEncodeError:
        return _encoder.encode(tagged)


def decode(text: str) -> Value:
    """Return the value that `encode` was given."""
    return _untag(json.loads(text))


def is_clean(text: str) -> bool:
    """Tell whether every database takes this text as it is: no NUL, no lone surrogate."""
    if text.isascii():
        return "\x00" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def clean_text(text: str) -> str:
    """Return readable text that every database takes: NUL and lone surrogates become U+FFFD."""
    if is_clean(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


class _Tagger:
    """One walk through a value: counts what has no exact form, and knows the containers it stands in."""

    __slots__ = ("_inside", "lost")

    def __init__(self) -> None:
        self.lost = 0
        self._inside: set[int] = set()

    def tag(self, value: Value) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return value if is_clean(value) else {"$str": _base64(value.encode("utf-8", "surrogatepass"))}
        if kind is int:
            return value if -_LARGEST_JSON_INT < value < _LARGEST_JSON_INT else {"$int": hex(value)}
        if kind is float:
            return value if value - value == 0 else {"$float": repr(value)}
        if kind is bytes:
            return {"$bytes": _base64(value)}
        if kind is np.ndarray or issubclass(kind, np.generic):
            return self._numpy(value)
        if kind in (dict, list, tuple, set, frozenset):
            return self._container(value, kind)
        return self._inexact(value)

    def _numpy(self, value: Any) -> Any:
        if value.dtype.hasobject or value.dtype.names is not None:
            return self._repr(value)
        if type(value) is not np.ndarray:
            plain = _FLEXIBLE.get(value.dtype.kind)
            elements = self.tag(plain(value)) if plain else _elements(value)
            return {"$scalar": [value.dtype.str, elements]}
        return {"$array": [value.dtype.str, list(value.shape), _elements(value)]}

    def _container(self, value: Any, kind: type) -> Any:
        if id(value) in self._inside or len(self._inside) > _DEEPEST:
            return self._repr(value)
        self._inside.add(id(value))
        try:
            if kind is dict:
                return self._dict(value)
            if kind is list and _is_plain(value):
                return value
            items = [self.tag(v) for v in value]
            if kind is list:
                return items
            return {f"${kind.__name__}": items if kind is tuple else sorted(items, key=_encoder.encode)}
        finally:
            self._inside.discard(id(value))

    def _dict(self, value: dict[Any, Any]) -> Any:
        if _is_plain(value) and not any(k.startswith("$") for k in value):
            return {k: self.tag(v) for k, v in value.items()}
        return {"$dict": [[self.tag(k), self.tag(v)] for k, v in value.items()]}

    def _inexact(self, value: Value) -> Any:
        """Keep the content of a subclass (OrderedDict, IntEnum, a masked array), lose its type; else keep its repr."""
        try:
            for base, plain in _BASES.items():
                if issubclass(type(value), base):
                    self.lost += 1
                    return self.tag(plain(value))
        except Exception:
            self.lost -= 1
        return self._repr(value)

    def _repr(self, value: Value) -> dict[str, str]:
        self.lost += 1
        try:
            text = repr(value)
        except Exception as error:
            text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
        return {"$repr": clean_text(text)}


def _is_plain(texts: Iterable[Any]) -> bool:
    """Tell whether all of these are strings that every database takes."""
    return all(type(text) is str for text in texts) and is_clean("".join(texts))


def _elements(array: Any) -> Any:
    """Return few finite numbers as numbers, for people who read the database; all else as bytes."""
    if array.size > _MOST_READABLE or array.dtype.kind not in _READABLE or array.dtype.itemsize > _READABLE_BYTES:
        return _base64(array.tobytes())
    elements = array.ravel().tolist() if array.ndim else array.item()
    total = sum(map(abs, elements)) if array.ndim else abs(elements)
    return (
        elements if total < (math.inf if array.dtype.kind == "f" else _LARGEST_JSON_INT) else _base64(array.tobytes())
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


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
        return float(inner)
    return base64.b64decode(inner) if key == "$bytes" else {key: inner}


def _hashable(value: Value) -> Hashable:
    """Return a key or an element of a set; what stands for an inexact one may not be hashable, its text is."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value  # type: ignore[no-any-return]


def _scalar(dtype: str, data: Any) -> Any:
    flexible = _FLEXIBLE_SCALARS.get(np.dtype(dtype).kind)
    return flexible(_untag(data)) if flexible else _array(dtype, (1,), data)[0]


def _array(dtype: str, shape: Any, data: Any) -> np.ndarray[Any, Any]:
    if not isinstance(data, str):
        return np.array(data, dtype=dtype).reshape(shape)
    return np.ndarray(shape, dtype, base64.b64decode(data)).copy()
