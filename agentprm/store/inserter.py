"""Rows into tables, inside a transaction: nouns by their small integers, many rows the engine's quickest way."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentprm.store.copying import copy_rows
from agentprm.store.kept import Kept
from agentprm.store.nouns import resolve
from agentprm.store.rows import Noun, Rows
from agentprm.store.statements import Statements

__all__ = ["Inserter"]

_MANY = 10
"""Rows from which on copying is quicker than inserting."""
_MOST_KNOWN = 100_000
_NOUNS = {"trajectory": (1, 2, 3), "step": (5,), "tool_call": (3,), "score": (0, 3), "score_note": (0,)}
"""Where a row names a noun whose integer is only known inside the transaction."""
_NARROW = tuple(name for name in Rows.TABLES if name != "blob")


class Fresh(NamedTuple):
    """What a transaction met for the first time."""

    nouns: dict[Noun, int]
    blobs: dict[str, None]


class Inserter:
    """Inserts rows, and remembers the integers of nouns and the names of blobs once they are committed."""

    def __init__(self, sql: Statements) -> None:
        self.sql = sql
        self._known: dict[Noun, int] = {}
        self._kept = Kept(sql)

    @property
    def knows_any(self) -> bool:
        """Whether any noun is remembered."""
        return bool(self._known)

    def forget(self) -> None:
        """Forget every noun, and which blobs are there."""
        self._known.clear()
        self._kept.forget()

    def remember(self, fresh: Fresh) -> None:
        """Remember nouns and blobs that are committed now."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known |= fresh.nouns
        if fresh.blobs:
            self._kept.remember(fresh.blobs)

    def put(self, cursor: Any, rows: Rows) -> Fresh:
        """Insert rows; return what was not met before, to be remembered once it is committed."""
        fresh = resolve(cursor, self.sql, rows.nouns, self._known)
        ids = ChainMap(fresh, self._known)
        blobs = self._kept.put(cursor, rows.tables["blob"]) if rows.tables["blob"] else {}
        for name in _NARROW:
            if batch := rows.tables[name]:
                batch, copy = _with_ids(name, batch, ids), self.sql.copy.get(name)
                if copy is None or len(batch) < _MANY or not copy_rows(cursor, copy, batch):
                    _insert(cursor, self.sql.insert[name], batch)
        if rows.ended:
            cursor.executemany(self.sql.end, rows.ended)
        return Fresh(fresh, blobs)

    def put_afresh(self, cursor: Any, rows: Rows) -> None:
        """Insert rows, looking everything up anew: a noun or a blob may have been deleted meanwhile."""
        self.forget()
        self.put(cursor, rows)


def _insert(cursor: Any, statement: str, rows: list[tuple[Any, ...]]) -> None:
    if len(rows) == 1:
        cursor.execute(statement, rows[0])
    else:
        cursor.executemany(statement, rows)


def _with_ids(table: str, rows: list[tuple[Any, ...]], ids: Mapping[Noun, int]) -> list[tuple[Any, ...]]:
    columns = _NOUNS.get(table)
    if columns is None or (table == "step" and all(row[5] is None for row in rows)):
        return rows
    resolved = []
    for row in rows:
        new = list(row)
        for column in columns:
            if new[column] is not None:
                new[column] = ids[new[column]]
        resolved.append(tuple(new))
    return resolved
