"""What the engines spell differently: readable values, paths into JSON, weeks."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = [
    "before",
    "first_line",
    "first_word",
    "id_text",
    "json_at",
    "json_number",
    "json_text",
    "readable",
    "week",
    "whole",
    "whole_json",
]

_WEEK = 7 * 24 * 3600 * 1_000_000
_MONDAY = 4 * 24 * 3600 * 1_000_000
"""1970-01-05, in microseconds."""


class _JsonAt(FunctionElement[Any]):
    """A value inside a JSON text, as JSON (`as_json`) or as text; NULL where there is none."""

    inherit_cache = False

    def __init__(self, document: sa.ColumnElement[Any], path: tuple[str | int, ...], as_json: bool) -> None:
        super().__init__(document)
        self.path, self.as_json = path, as_json
        self.type = sa.Text()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@compiles(_JsonAt)
def _json_elsewhere(element: _JsonAt, compiler: Any, **options: Any) -> str:
    steps = (f"[{key}]" if isinstance(key, int) else f'."{key}"' for key in element.path)
    document = compiler.process(element.clauses, **options)
    path = _quoted("$" + "".join(steps))
    return f"({document} -> {path})" if element.as_json else f"json_extract({document}, {path})"


@compiles(_JsonAt, "postgresql")
def _json_postgres(element: _JsonAt, compiler: Any, **options: Any) -> str:
    path = "ARRAY[" + ", ".join(_quoted(str(key)) for key in element.path) + "]::text[]"
    document = compiler.process(element.clauses, **options)
    # Not jsonb, which puts spaces of its own between elements.
    found = f"CAST({document} AS json) {'#>' if element.as_json else '#>>'} {path}"
    return f"CAST({found} AS text)" if element.as_json else f"({found})"


def json_at(document: sa.ColumnElement[Any], *path: str | int) -> sa.ColumnElement[str]:
    """Return the value at a path of a JSON text, as text."""
    return _JsonAt(document, path, as_json=False)


def json_text(document: sa.ColumnElement[Any], *path: str | int) -> sa.ColumnElement[str]:
    """Return the value at a path of a JSON text, as JSON: words in quotes, true as true."""
    return _JsonAt(document, path, as_json=True)


class _JsonNumber(_JsonAt):
    """The number inside a JSON text; NULL where something else stands there, or nothing."""

    inherit_cache = False

    def __init__(self, document: sa.ColumnElement[Any], path: tuple[str | int, ...]) -> None:
        super().__init__(document, path, as_json=False)
        self.type = sa.Double()


@compiles(_JsonNumber)
def _number_elsewhere(element: _JsonNumber, compiler: Any, **options: Any) -> str:
    path = _quoted("$" + "".join(f'."{key}"' for key in element.path))
    document = compiler.process(element.clauses, **options)
    is_number = f"json_type({document}, {path}) IN ('integer', 'real')"
    return f"CASE WHEN {is_number} THEN json_extract({document}, {path}) * 1.0 END"


@compiles(_JsonNumber, "postgresql")
def _number_postgres(element: _JsonNumber, compiler: Any, **options: Any) -> str:
    path = "$" + "".join(f'."{key}"' for key in element.path) + ' ? (@.type() == "number")'
    document = compiler.process(element.clauses, **options)
    found = f"jsonb_path_query_first(CAST({document} AS jsonb), {_quoted(path)})"
    return f"CAST({found} AS double precision)"


def json_number(document: sa.ColumnElement[Any], *path: str) -> sa.ColumnElement[float]:
    """Return the number at a path of a JSON text; NULL where something else stands there, or nothing."""
    return _JsonNumber(document, path)


class _Whole(FunctionElement[str]):
    """A text by its name, or a JSON text with its long parts; in a statement to paste, what any SQLite can show."""

    inherit_cache = True
    type = sa.Text()


@compiles(_Whole)
def _whole_elsewhere(element: _Whole, compiler: Any, **options: Any) -> str:
    shown, *name = (compiler.process(clause, **options) for clause in element.clauses)
    if options.get("literal_binds"):  # to be pasted where our functions are not known
        return str(shown)
    return f"agentprm_text({name[0]})" if name else f"agentprm_json({shown})"


@compiles(_Whole, "postgresql")
def _whole_postgres(element: _Whole, compiler: Any, **options: Any) -> str:
    shown, *name = (compiler.process(clause, **options) for clause in element.clauses)
    return f"agentprm_text({name[0]})" if name else f"agentprm_json({shown})"


def whole(head: sa.ColumnElement[str], name: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return the text of a column, whose whole stands apart under a name if it is long.

    Its first 100 characters always stand in the column itself: whoever needs no more reads that, and is quicker.
    """
    return sa.case((name.is_(None), head), else_=_Whole(head, name))


def whole_json(value: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return the JSON text of a column, with what stands apart put in again."""
    return sa.case((value.contains('{"$text":"', autoescape=True), _Whole(value)), else_=value)


def readable(native: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return a native value for people: a NumPy number or array without its type, a word without its quotes."""
    return sa.case(
        (native.like('{"$text":"%'), _Whole(native)),
        (native.like('{"$scalar":%'), json_text(native, "$scalar", 1)),
        (native.like('{"$array":%'), json_text(native, "$array", 2)),
        (native.like('"%'), json_at(native)),
        else_=native,
    )


class _Before(FunctionElement[str]):
    inherit_cache = True
    type = sa.Text()


@compiles(_Before)
def _before_elsewhere(element: _Before, compiler: Any, **options: Any) -> str:
    text, mark = (compiler.process(clause, **options) for clause in element.clauses)
    return f"substr({text}, 1, instr({text} || {mark}, {mark}) - 1)"


@compiles(_Before, "postgresql")
def _before_postgres(element: _Before, compiler: Any, **options: Any) -> str:
    text, mark = (compiler.process(clause, **options) for clause in element.clauses)
    return f"split_part({text}, {mark}, 1)"


def before(text: sa.ColumnElement[str], mark: str) -> sa.ColumnElement[str]:
    """Return a text up to the first `mark` in it."""
    return _Before(text, sa.literal_column(_quoted(mark)))


def first_word(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return a text up to its first space."""
    return before(text, " ")


class _FirstLine(FunctionElement[str]):
    inherit_cache = True
    type = sa.Text()


@compiles(_FirstLine)
def _line_elsewhere(element: _FirstLine, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"substr({text}, 1, instr({text} || char(10), char(10)) - 1)"


@compiles(_FirstLine, "postgresql")
def _line_postgres(element: _FirstLine, compiler: Any, **options: Any) -> str:
    return f"split_part({compiler.process(element.clauses, **options)}, chr(10), 1)"


def first_line(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return a text up to its first line break."""
    return _FirstLine(text)


class _IdText(FunctionElement[str]):
    inherit_cache = True
    type = sa.Text()


@compiles(_IdText)
def _id_elsewhere(element: _IdText, compiler: Any, **options: Any) -> str:
    return f"lower(hex({compiler.process(element.clauses, **options)}))"


@compiles(_IdText, "postgresql")
def _id_postgres(element: _IdText, compiler: Any, **options: Any) -> str:
    return f"replace(CAST({compiler.process(element.clauses, **options)} AS text), '-', '')"


def id_text(key: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Return an id as 32 hex digits."""
    return _IdText(key)


def week(moment: sa.ColumnElement[int], weeks: int = 1) -> sa.ColumnElement[int]:
    """Return the first microsecond of the span of `weeks` weeks, from a Monday on, in which a moment lies."""
    span = weeks * _WEEK
    since = moment - _MONDAY
    return since - since % span + _MONDAY
