"""The small integers of tasks, policies, tools and scorers, found or made inside a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from agentprm.store.encode import microseconds
from agentprm.store.rows import Noun
from agentprm.store.statements import Statements
from agentprm.types import utc_now

__all__ = ["resolve"]


def resolve(
    cursor: Any, sql: Statements, nouns: Mapping[Noun, tuple[Any, ...]], known: Collection[Noun]
) -> dict[Noun, int]:
    """Return the integers of the nouns that are not `known` yet, making the rows that do not exist."""
    fresh: dict[Noun, int] = {}
    for noun, row in nouns.items():
        if noun in known:
            continue
        key, values = _noun_row(noun, row)
        cursor.execute(sql.find[noun.table], key)
        found = cursor.fetchone()
        if found is None:
            cursor.execute(sql.insert[noun.table], values)
            cursor.execute(sql.find[noun.table], key)
            found = cursor.fetchone()
        fresh[noun] = found[0]
    return fresh


def _noun_row(noun: Noun, row: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what finds a noun's row, and the row to make when there is none."""
    if noun.table == "task":
        key = (row[0], _hash(row[1]))
        return key, (*key, row[1])
    if noun.table == "scorer":
        return row[:1], (*row, microseconds(utc_now()))
    return row[:1], row


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
