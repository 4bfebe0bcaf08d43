"""The walk through a value that tags what JSON does not hold as it is."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import orjson

from agentprm.types import Value
from agentprm.values._text import clean_text, is_clean

__all__ = ["LARGEST_JSON_INT", "MOST_READABLE", "Tagger", "dump", "has_plain_keys"]

LARGEST_JSON_INT = 2**53
_DEEPEST = 100
MOST_READABLE, _READABLE, _READABLE_BYTES = 32, "biuf", 8
"""Arrays of so many elements, of these kinds and sizes, are kept as numbers."""
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
_FLOAT = struct.Struct(">d")
_NAN = _FLOAT.pack(math.nan)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)


def dump(tagged: Any) -> str:
    """Return the JSON of what was tagged; orjson is several times as fast, and refuses what is nested very deep."""
    try:
        return orjson.dumps(tagged).decode()
    except orjson.JSONEncodeError:
        return _encoder.encode(tagged)


class Tagger:
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
            return value if -LARGEST_JSON_INT < value < LARGEST_JSON_INT else {"$int": hex(value)}
        if kind is float:
            return value if value - value == 0 else {"$float": _beyond(value)}
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
            if kind is list and self._is_taken(value):
                return value
            items = [self.tag(v) for v in value]
            if kind is list:
                return items
            return {f"${kind.__name__}": items if kind is tuple else sorted(items, key=_encoder.encode)}
        finally:
            self._inside.discard(id(value))

    def _is_taken(self, texts: list[Any]) -> bool:
        """Tell whether a list of texts may stand as it is."""
        return _is_plain(texts)

    def _dict(self, value: dict[Any, Any]) -> Any:
        if has_plain_keys(value):
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
        return {"$repr": clean_text(self._text_of(value))}

    def _text_of(self, value: Value) -> str:
        try:
            return repr(value)
        except Exception as error:
            return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def has_plain_keys(value: dict[Any, Any]) -> bool:
    """Tell whether a dictionary may stand as a JSON object."""
    return _is_plain(value) and not any(k.startswith("$") for k in value)


def _is_plain(texts: Iterable[Any]) -> bool:
    """Tell whether all of these are strings that every database takes."""
    return all(type(text) is str for text in texts) and is_clean("".join(texts))


def _elements(array: Any) -> Any:
    """Return few finite numbers as numbers, for people who read the database; all else as bytes."""
    if array.size > MOST_READABLE or array.dtype.kind not in _READABLE or array.dtype.itemsize > _READABLE_BYTES:
        return _base64(array.tobytes())
    elements = array.ravel().tolist() if array.ndim else array.item()
    total = sum(map(abs, elements)) if array.ndim else abs(elements)
    return elements if total < (math.inf if array.dtype.kind == "f" else LARGEST_JSON_INT) else _base64(array.tobytes())


def _beyond(number: float) -> str:
    """Return infinity or NaN as a word; a NaN of other bits than the usual one as those bits."""
    bits = _FLOAT.pack(number)
    return repr(number) if number == number or bits == _NAN else f"0x{bits.hex()}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
