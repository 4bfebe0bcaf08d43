"""Rows waiting for one transaction."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Blob", "Noun", "Rows"]


class Noun(NamedTuple):
    """A row of a table of nouns, before its small integer is known."""

    table: str
    key: tuple[Any, ...]
    """The values of its unique columns."""


class Blob(NamedTuple):
    """A long text or a picture, which stands once in a database."""

    hash: str
    media_type: str
    data: bytes
    base: str | None = None
    """Another one that begins alike, where there is one at hand."""
    shared: int = 0
    """How many bytes the two begin alike."""


class Rows:
    """Rows waiting for one transaction, by table, and the nouns that they name."""

    __slots__ = ("ended", "n_steps", "nouns", "tables")

    TABLES = ("trajectory", "content", "step", "tool_call", "score", "score_note", "outcome", "label", "blob")

    def __init__(self) -> None:
        self.tables: dict[str, list[tuple[Any, ...]]] = {name: [] for name in self.TABLES}
        self.nouns: dict[Noun, tuple[Any, ...]] = {}
        self.ended: list[tuple[Any, ...]] = []
        self.n_steps = 0

    def __len__(self) -> int:
        return sum(self.sizes())

    def sizes(self) -> tuple[int, ...]:
        """Return how many rows wait in each table."""
        return (len(self.ended), *map(len, self.tables.values()))

    def shrink(self, sizes: tuple[int, ...]) -> None:
        """Take back every row that came after `sizes` were taken."""
        for rows, size in zip((self.ended, *self.tables.values()), sizes, strict=True):
            del rows[size:]

    def extend(self, other: Rows) -> None:
        """Add another batch behind this one."""
        for name, rows in other.tables.items():
            self.tables[name] += rows
        self.nouns |= other.nouns
        self.ended += other.ended
        self.n_steps += other.n_steps

    def by_trajectory(self) -> dict[Any, Rows]:
        """Return the same rows apart, one batch per trajectory; blobs go with every one of them."""
        parts: dict[Any, Rows] = {}
        columns = {"trajectory": 0, "content": 0, "step": 0, "tool_call": 0, "outcome": 0}
        columns |= {"score": 1, "score_note": 1, "label": 1}
        for name, column in columns.items():
            for row in self.tables[name]:
                parts.setdefault(row[column], Rows()).tables[name].append(row)
        for row in self.ended:
            parts.setdefault(row[-1], Rows()).ended.append(row)
        for part in parts.values():
            named = {cell for rows in part.tables.values() for row in rows for cell in row if isinstance(cell, Noun)}
            part.nouns = {noun: row for noun, row in self.nouns.items() if noun in named}
            part.tables["blob"] = self.tables["blob"]
            part.n_steps = len(part.tables["step"])
        return parts
