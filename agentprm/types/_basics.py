"""Units, sights, statuses; ids and times; when two values are the same."""

from __future__ import annotations

import math
import os
import threading
import time
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from agentprm.errors import InvalidTrajectory

__all__ = [
    "CallStatus",
    "Sight",
    "Status",
    "Unit",
    "Value",
    "new_id",
    "require_utc",
    "same",
    "same_fields",
    "utc_now",
    "utf8",
]

Unit: TypeAlias = Literal["value", "correctness", "reward"]
"""*value*: the outcome to expect after the step. *correctness*: chance that it is right. *reward*: what it adds."""

Sight: TypeAlias = Literal["action", "result", "episode"]
"""How far a scorer sees: up to the action, up to the step's own result, or the whole episode."""

Status: TypeAlias = Literal["terminated", "truncated", "completed", "failed", "interrupted", "aborted", "incomplete"]
CallStatus: TypeAlias = Literal["ok", "error", "pending", "rejected"]
Value: TypeAlias = Any
"""Whatever an environment or a tool hands over: JSON values, bytes, NumPy arrays and scalars, nested."""


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


_clock_lock = threading.Lock()
_last_stamp = 0


def new_id() -> UUID:
    """Return a fresh UUIDv7 (RFC 9562): 48 bits of milliseconds, then 12 bits that count on within one, then chance.

    Ids of one process sort by creation, also while the clock stands still or goes backwards.
    """
    global _last_stamp
    with _clock_lock:
        _last_stamp = stamp = max((time.time_ns() // 1_000_000) << 12, _last_stamp + 1)
    chance = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=(stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | chance)


def same(a: Value, b: Value) -> bool:
    """Equality that also works for arrays (dtype, shape and bytes) and for NaN, which equals itself here."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "dtype") and hasattr(a, "tobytes"):
        alike = a.dtype == b.dtype and a.shape == b.shape
        return alike and bool(same(a.tolist(), b.tolist()) if a.dtype.hasobject else a.tobytes() == b.tobytes())
    try:
        return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
    except Exception:  # a tensor's own == gives no single answer
        return False


def same_fields(a: Any, b: Any) -> bool:
    """Tell whether two of the same dataclass agree in every field."""
    return all(same(getattr(a, name), getattr(b, name)) for name in a.__slots__)


def utf8(text: str) -> bytes:
    """Return a text as bytes, lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def require_utc(name: str, moment: datetime) -> None:
    """Return if a moment has a time zone; raises InvalidTrajectory."""
    if moment.utcoffset() is None:
        raise InvalidTrajectory(f"{name} has no time zone: {moment!r}; say datetime.now(UTC)")
