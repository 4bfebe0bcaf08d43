"""Values as they are now, whatever their owner does with them later."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np

from agentprm.types import Value

__all__ = ["copied", "said"]

_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})


def copied(value: Value) -> Value:
    """Return a value that nobody else can change; what can be copied by no means is shared."""
    try:
        return _copy(value, _deep)
    except RecursionError:  # it holds itself, or is nested thousands deep
        return value


def said(info: Mapping[str, Value]) -> dict[str, Value]:
    """Return what the world said, apart from what another wrapper of ours did; objects of no known kind are shared."""
    try:
        return {key: v if type(v) in _IMMUTABLE else _copy(v) for key, v in info.items() if key != "prm"}
    except RecursionError:
        return {key: v for key, v in info.items() if key != "prm"}


def _copy(value: Value, unknown: Callable[[Value], Value] | None = None) -> Value:
    kind = type(value)
    if kind in _IMMUTABLE or isinstance(value, np.generic):
        return value
    if isinstance(value, np.ndarray):
        return value.copy()
    if kind is dict:
        return {key: v if type(v) in _IMMUTABLE else _copy(v, unknown) for key, v in value.items()}
    if kind is list or kind is tuple:
        if _IMMUTABLE.issuperset(map(type, value)):
            return kind(value)
        return kind(_copy(v, unknown) for v in value)
    return value if unknown is None else unknown(value)


def _deep(value: Value) -> Value:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value
