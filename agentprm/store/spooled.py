"""Rows as JSON, exactly: how a batch lies in a spool."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import orjson

from agentprm.store.encode import LARGEST, SMALLEST
from agentprm.store.rows import Blob, Noun, Rows
from agentprm.store.statements import COLUMNS

__all__ = ["rows_from_json", "rows_to_json"]

_ID_BYTES = 16
_GREW = ("trajectory", "step", "content", "tool_call", "score_note")


def rows_to_json(rows: Rows) -> str:
    """Return a batch as JSON.

    >>> rows = Rows()
    >>> rows.tables["score"].append((Noun("scorer", ("ab",)), b"key", 0, Noun("part", ("score",)), 0.5))
    >>> rows_from_json(rows_to_json(rows)).tables["score"] == rows.tables["score"]
    True
    """
    plain = {
        "tables": {name: _plain_rows(given) for name, given in rows.tables.items() if given},
        "nouns": [[noun.table, _plain_row(noun.key), _plain_row(row)] for noun, row in rows.nouns.items()],
        "ended": _plain_rows(rows.ended),
        "n_steps": rows.n_steps,
    }
    return orjson.dumps(plain).decode()


def rows_from_json(text: str) -> Rows:
    """Return the batch that `rows_to_json` was given."""
    plain, rows = orjson.loads(text), Rows()
    for name, given in plain["tables"].items():
        rows.tables[name] += (_grown(name, _row(cells)) for cells in given)
    rows.nouns = {Noun(table, _row(key)): _row(row) for table, key, row in plain["nouns"]}
    rows.ended = list(map(_row, plain["ended"]))
    rows.n_steps = plain["n_steps"]
    return rows


def _plain_rows(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [_plain_row(row) for row in rows]


def _plain_row(row: tuple[Any, ...]) -> list[Any]:
    return [cell if type(cell) is str or cell is None else _plain(cell) for cell in row]


def _plain(cell: Any) -> Any:
    """Return a cell as JSON; what JSON has no form for becomes an object with the name of its kind."""
    kind = type(cell)
    if kind is bool or (kind is int and SMALLEST <= cell <= LARGEST) or (kind is float and math.isfinite(cell)):
        return cell
    if isinstance(cell, bytes):
        return _plain_bytes(cell)
    if isinstance(cell, UUID):
        return {"uuid": cell.hex}
    if isinstance(cell, Noun):
        return {"noun": [cell.table, *_plain_row(cell.key)]}
    return {"float": repr(cell)} if kind is float else {"int": str(int(cell))}


def _plain_bytes(data: bytes) -> dict[str, str]:
    if len(data) > _ID_BYTES:
        with suppress(UnicodeDecodeError):
            return {"utf8": data.decode()}
    return {"bytes": base64.b64encode(data).decode()}


def _grown(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row as this version has it: one that knew fewer columns may have spooled it."""
    if table == "blob":
        return Blob(*row)
    return row + (None,) * (len(COLUMNS[table]) - len(row)) if table in _GREW else row


_KINDS: dict[str, Callable[[Any], Any]] = {
    "bytes": base64.b64decode,
    "utf8": str.encode,
    "uuid": lambda given: UUID(hex=given),
    "noun": lambda given: Noun(given[0], _row(given[1:])),
    "float": float,
    "int": int,
}


def _row(plain: list[Any]) -> tuple[Any, ...]:
    return tuple([_cell(cell) if type(cell) is dict else cell for cell in plain])


def _cell(plain: dict[str, Any]) -> Any:
    ((kind, given),) = plain.items()
    return _KINDS[kind](given)
