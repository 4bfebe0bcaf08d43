"""The walk through a value that lets a function change every text in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agentprm.types import Value
from agentprm.values._tagged import Tagger, has_plain_keys

__all__ = ["RedactingTagger"]


class RedactingTagger(Tagger):
    """A walk that applies `redact` to texts, keys, bytes that are UTF-8, arrays of either, and reprs."""

    __slots__ = ("_redact",)

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def tag(self, value: Value) -> Any:
        kind = type(value)
        if kind is str:
            value = self._redact(value)
        elif kind is bytes:
            value = self._bytes(value)
        return super().tag(value)

    def _bytes(self, data: bytes) -> bytes:
        try:
            return self._redact(data.decode()).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data

    def _numpy(self, value: Any) -> Any:
        if type(value) is not np.ndarray and value.dtype.kind in "US":
            plain = self._redact(str(value)) if value.dtype.kind == "U" else self._bytes(bytes(value))
            return {"$scalar": [np.array(plain).dtype.str, super().tag(plain)]}
        if type(value) is np.ndarray and value.dtype.kind in "US":
            one: Callable[[Any], Any] = self._redact if value.dtype.kind == "U" else self._bytes
            elements = [one(element) for element in value.ravel().tolist()]
            value = np.array(elements, value.dtype.kind).reshape(value.shape)
        return super()._numpy(value)

    def _is_taken(self, texts: list[Any]) -> bool:
        return False

    def _dict(self, value: dict[Any, Any]) -> Any:
        renamed = self._renamed(value)
        if has_plain_keys(renamed):
            return {k: self.tag(v) for k, v in renamed.items()}
        return {
            "$dict": [
                [super(RedactingTagger, self).tag(k) if type(k) is str else self.tag(k), self.tag(v)]
                for k, v in renamed.items()
            ]
        }

    def _renamed(self, value: dict[Any, Any]) -> dict[Any, Any]:
        """Return a dictionary under redacted keys; those that become the same are numbered."""
        renamed: dict[Any, Any] = {}
        for key, inner in value.items():
            name = self._redact(key) if type(key) is str else key
            n = 1
            while name in renamed:
                n += 1
                name = f"{self._redact(key)} ({n})"
            renamed[name] = inner
        return renamed

    def _text_of(self, value: Value) -> str:
        return self._redact(super()._text_of(value))
