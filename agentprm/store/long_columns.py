"""The columns in which something long may stand, and how rows of one database become rows of another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from agentprm.store.blobs import Blobs, mentioned
from agentprm.store.fetch import Fetched
from agentprm.types import Image

__all__ = ["PICTURES", "TEXTS", "VALUES", "apart", "may_be_apart", "names_in"]

TEXTS = {
    "content": {"action_text": "action_hash", "plan": "plan_hash", "result_text": "result_hash"},
    "tool_call": {"output_text": "output_hash"},
    "score_note": {"text": "text_hash"},
}
"""Text columns, and which column beside each names its whole."""
VALUES = {
    "content": {"action_native": True, "info": False, "result_native": True, "odd": False},
    "tool_call": {"arguments": True, "output_native": True},
    "trajectory": {"meta": False, "fork": False},
}
"""JSON columns, and whether the whole of a value may stand apart, or only long members: SQL reads the others."""
PICTURES = {"content": "result_images"}
"""Columns of names with commas between."""


def names_in(table: str, rows: Iterable[Any]) -> Iterator[str]:
    """Yield the names of what stands apart from rows of a table."""
    named, values, pictures = TEXTS.get(table, {}).values(), VALUES.get(table, {}), PICTURES.get(table)
    for row in rows:
        yield from filter(None, (getattr(row, column) for column in named))
        for column in values:
            yield from mentioned(getattr(row, column))
        if pictures is not None and (names := getattr(row, pictures)):
            yield from names.split(",")


def apart(table: str, row: Mapping[str, Any], fetched: Fetched, blobs: Blobs, into: list[Any]) -> dict[str, Any]:
    """Return the cells of a row with every long text where `blobs` puts it, wherever it stood before."""
    cells, key = dict(row), row.get("trajectory_id", row.get("id"))
    for column, name in TEXTS.get(table, {}).items():
        whole = fetched.cell(row[column], row[name])
        cells[column], cells[name] = blobs.text(whole, (key, column), into)
    for column, whole_too in VALUES.get(table, {}).items():
        if row[column] is not None:
            cells[column] = blobs.json(fetched.json(row[column]), (key, column), into, whole=whole_too)
    pictures = PICTURES.get(table)
    if pictures is not None and row[pictures]:
        images = (Image(fetched.media_type(name), fetched.data(name)) for name in row[pictures].split(","))
        cells[pictures] = ",".join(blobs.picture(image, into)[0] for image in images)
    return cells


def may_be_apart(table: str, rows: sa.Table) -> sa.ColumnElement[bool]:
    """Return, as SQL, from which of the `rows` of a table something may stand apart."""
    columns = rows.c
    found: list[sa.ColumnElement[bool]] = [columns[name].is_not(None) for name in TEXTS.get(table, {}).values()]
    found += [columns[name].contains('{"$text":"', autoescape=True) for name in VALUES.get(table, {})]
    found += [columns[PICTURES[table]].is_not(None)] if table in PICTURES else []
    return sa.or_(*found)
