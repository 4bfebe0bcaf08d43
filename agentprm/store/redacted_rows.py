"""Rows of another store, redacted before they are taken over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agentprm import values
from agentprm.errors import StoreError
from agentprm.store.blobs import name_of
from agentprm.store.encode import SAME_AS_TEXT
from agentprm.store.fetch import Fetched
from agentprm.store.long_columns import TEXTS, VALUES
from agentprm.store.redact import Redactor
from agentprm.store.state import state_hash
from agentprm.types import Task

__all__ = ["redacted_noun", "redacted_rows"]

_NAMES = {
    "trajectory": ("external_id", "group_key", "fork_call"),
    "tool_call": ("call_id",),
    "label": ("annotator", "code", "comment"),
    "outcome": ("source",),
}
"""Further columns with words of people or agents."""
_NOUNS = ("env", "policy", "tool")


def redacted_rows(
    found: Mapping[str, list[dict[str, Any]]], fetched: Fetched, redactor: Redactor, tool: Callable[[int], str]
) -> dict[str, list[dict[str, Any]]]:
    """Return rows by table with every text redacted, and whole; `tool` tells the name of a tool.

    Raises StoreError when the function fails on one.
    """
    rows = {name: [_row(name, row, fetched, redactor) for row in given] for name, given in found.items()}
    if redactor.failed:
        raise StoreError(f"{redactor.failed} texts could not be redacted, so they were not merged: see the log")
    back: dict[Any, list[tuple[str, str]]] = {}
    for call in rows["tool_call"]:
        back.setdefault((call["trajectory_id"], call["idx"]), []).append((tool(call["tool_id"]), _back(call)))
    for row in rows["content"]:
        row["state_hash"] = _state(row, fetched, back.get((row["trajectory_id"], row["idx"]), []))
    _repeat(rows)
    return rows


def redacted_noun(table: str, key: list[Any], redactor: Redactor) -> list[Any]:
    """Return the key of a noun, redacted; recipes stay as they are."""
    if table == "task":
        task = redactor.task(Task(key[1], key[0]))
        return [task.key, task.text]
    return [redactor.text(name) for name in key] if table in _NOUNS else key


def _row(table: str, row: dict[str, Any], fetched: Fetched, redactor: Redactor) -> dict[str, Any]:
    cells = dict(row)
    for column, name in TEXTS.get(table, {}).items():
        text = fetched.cell(row[column], row[name])
        cells[column], cells[name] = None if text is None else redactor.text(text), None
    for column in VALUES.get(table, {}):
        if row[column] not in (None, SAME_AS_TEXT):
            cells[column] = _value(column, values.decode(fetched.json(row[column])), redactor)
    for column in _NAMES.get(table, ()):
        cells[column] = None if row[column] is None else redactor.text(row[column])
    return cells


def _value(column: str, value: Any, redactor: Redactor) -> str:
    if column == "odd":  # names of ours, exact texts of theirs
        return values.encode({key: redactor.value(exact) for key, exact in value.items()})[0]
    return values.encode(value, redactor.text)[0]


def _back(call: dict[str, Any]) -> str:
    if call["output_native"] is not None:
        return str(call["output_native"])
    return values.encode(call["output_text"])[0]


def _repeat(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Bring up to date what narrow rows repeat of their content."""
    contents = {(row["trajectory_id"], row["idx"]): row for row in rows["content"]}
    for row in rows["trajectory"]:
        first = contents.get((row["id"], -1))
        row["state_hash"] = None if first is None else first["state_hash"]
    for row in rows["step"]:
        content = contents[row["trajectory_id"], row["idx"]]
        said = content["plan"] if content["action_text"] is None else content["action_text"]
        row |= {"state_hash": content["state_hash"], "characters": None if said is None else len(said)}


def _state(row: dict[str, Any], fetched: Fetched, back: list[tuple[str, str]]) -> int | None:
    native, names = row["result_native"], row["result_images"]
    pictures = [name_of(b"", fetched.media_type(name), fetched.data(name)) for name in (names or "").split(",") if name]
    content = row["result_text"] if native in (None, SAME_AS_TEXT) else native
    return state_hash(content, ",".join(pictures) if names else None, back)
