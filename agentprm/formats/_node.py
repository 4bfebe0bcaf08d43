"""A value out of a file that knows where it stands, so that who refuses it can say so."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agentprm.errors import InvalidFormat

__all__ = ["NO_TIME", "Node", "derived_id"]

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of what nobody dated: a file read twice gives the same trajectories."""
_NAMESPACE = UUID("6f9a2c1e-5d0b-5a57-9a64-0d3a4bb7f0c1")
_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "an object"}


def derived_id(*parts: Any) -> UUID:
    """Return the one id that these JSON values have, in every process (UUIDv5, RFC 9562).

    >>> derived_id("langsmith", "abc") == derived_id("langsmith", "abc") != derived_id("langsmith", "abd")
    True
    """
    return uuid.uuid5(_NAMESPACE, json.dumps(parts, sort_keys=True))


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value, and the file, line and field that it stands in."""

    value: Any
    file: str = "<memory>"
    line: int = 0
    field: str = ""

    def refused(self, expected: str) -> InvalidFormat:
        """Return the error that says what was expected here instead of what there is."""
        found = "nothing" if self.value is None else repr(self.value)
        found = found if len(found) <= 60 else f"{found[:57]}..."
        return InvalidFormat(f"expected {expected}, not {found}", self.file, self.line, self.field)

    def child(self, key: str | int, value: Any) -> Node:
        """Return a value that stands inside of this one."""
        place = f"{self.field}[{key}]" if isinstance(key, int) else f"{self.field}.{key}".lstrip(".")
        return Node(value, self.file, self.line, place)

    def __getitem__(self, key: str) -> Node:
        """Return what stands under a key; raises InvalidFormat where there is no such key."""
        inside = self.as_object()
        if key not in inside:
            raise self.child(key, None).refused("a value")
        return self.child(key, inside[key])

    def get(self, key: str) -> Node | None:
        """Return what stands under a key; None where that is nothing."""
        value = self.as_object().get(key)
        return None if value is None else self.child(key, value)

    def as_object(self) -> dict[str, Any]:
        """Return it as an object; raises InvalidFormat, as the others do, where it is something else."""
        inside: dict[str, Any] = self._of(dict)
        return inside

    def as_list(self) -> list[Node]:
        """Return it as a list, each element knowing its place."""
        return [self.child(i, value) for i, value in enumerate(self._of(list))]

    def as_text(self) -> str:
        """Return it as a text."""
        text: str = self._of(str)
        return text

    def as_flag(self) -> bool:
        """Return it as true or false."""
        flag: bool = self._of(bool)
        return flag

    def as_whole(self) -> int:
        """Return it as a whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.refused("a whole number")
        return self.value

    def as_number(self) -> float:
        """Return it as a number."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.refused("a number")
        return float(self.value)

    def one_of(self, *choices: Any) -> Any:
        """Return it if it is one of these."""
        if isinstance(self.value, (dict, list)) or self.value not in choices:
            raise self.refused(f"one of {', '.join(map(repr, choices))}")
        return self.value

    def as_moment(self) -> datetime:
        """Return it as a time (ISO 8601; UTC where it names no zone)."""
        try:
            moment = datetime.fromisoformat(self.as_text())
        except ValueError as error:
            raise self.refused("a time, such as 2026-03-01T12:00:00Z") from error
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def as_uuid(self) -> UUID:
        """Return it as an id."""
        try:
            return UUID(self.as_text())
        except ValueError as error:
            raise self.refused("an id of 32 hex digits") from error

    def _of(self, kind: type) -> Any:
        if not isinstance(self.value, kind):
            raise self.refused(_KINDS[kind])
        return self.value
