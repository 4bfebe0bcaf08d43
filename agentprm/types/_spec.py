"""The recipe of a scorer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentprm.errors import InvalidSpec
from agentprm.types._basics import Value

__all__ = ["Spec"]


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """The recipe of a scorer: a registered name and JSON parameters, which may hold further specs.

    >>> Spec("constant", {"value": 0.5}).digest == Spec("constant", {"value": 0.5}).digest
    True
    """

    name: str
    params: Mapping[str, Value] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the one canonical JSON text of this recipe; raises InvalidSpec for what is not JSON."""
        return _canonical(self.plain(), ascii_only=False)

    def plain(self) -> dict[str, Any]:
        """Return the recipe as dicts, lists and scalars: ``{"name": ..., "params": {...}}``."""
        return {"name": self.name, "params": {k: _plain(v) for k, v in self.params.items()}}

    @property
    def digest(self) -> str:
        """128 bits, in hex, that name this version of the scorer.

        A ``folder`` says where weights lie, not which they are: it is left out, at any depth.
        """
        text = _canonical(_without_folders(self.plain()), ascii_only=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Spec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)


def _canonical(plain: dict[str, Any], *, ascii_only: bool) -> str:
    try:
        return json.dumps(plain, sort_keys=True, allow_nan=False, separators=(",", ":"), ensure_ascii=ascii_only)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"the recipe of {plain['name']} is not JSON: {error}") from error


def _plain(value: Value) -> Value:
    if isinstance(value, Spec):
        return value.plain()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _without_folders(value: Value) -> Value:
    if isinstance(value, dict):
        return {k: _without_folders(v) for k, v in value.items() if k != "folder"}
    return [_without_folders(v) for v in value] if isinstance(value, list) else value
