"""What an agent at the desk can do: search and read letters, look things up in the database, calculate."""

from __future__ import annotations

import ast
import math
import operator
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentprm_envs.desk_world import DATABASE, LETTERS

__all__ = ["COLUMNS", "ToolError", "Tools", "evaluate"]

COLUMNS = {
    "customers": ("id", "name", "town", "since"),
    "orders": ("id", "customer_id", "product", "quantity", "price"),
    "products": ("id", "name", "price"),
}
_MOST_HITS = 12
_MOST_CHARACTERS = 4_000
_LONGEST_EXPRESSION = 200


class ToolError(ValueError):
    """What a tool says where it cannot do what is asked; meant for the agent, to try again."""


@dataclass(frozen=True)
class Tools:
    """Four tools over the files of one world. They only ever read, and nothing outside `folder`."""

    folder: Path

    def search_files(self, query: str) -> str:
        """Search the letters of customers: every line that contains the query, with the file it stands in."""
        if not query.strip():
            raise ToolError("an empty query finds everything: say a word or a phrase")
        hits = []
        for path in sorted((self.folder / LETTERS).glob("*.txt")):
            lines = path.read_text(encoding="utf-8").splitlines()
            found = (line for line in lines if query.lower() in line.lower())
            hits += [f"{LETTERS}/{path.name}: {line}" for line in found]
        more = [f"... and {len(hits) - _MOST_HITS} more"] if len(hits) > _MOST_HITS else []
        return "\n".join([*hits[:_MOST_HITS], *more]) or "nothing found"

    def read_file(self, path: str) -> str:
        """Read a letter, for example letters/001.txt."""
        root = (self.folder / LETTERS).resolve()
        try:
            file = (self.folder / path).resolve()
            if file.is_file() and file.is_relative_to(root):
                return file.read_text(encoding="utf-8")[:_MOST_CHARACTERS]
        except (OSError, ValueError, RuntimeError):  # names that no file can have, links in a circle
            pass
        raise ToolError(f"there is no letter {path[:80]!r}: paths look like letters/001.txt")

    def lookup(self, table: str, column: str, value: str) -> str:
        """Look up the rows of a table (customers, orders or products) where a column has this value."""
        columns = COLUMNS.get(table)
        if columns is None:
            raise ToolError(f"there is no table {table[:80]!r}: there are {', '.join(COLUMNS)}")
        if column not in columns:
            raise ToolError(f"{table} has no column {column[:80]!r}: it has {', '.join(columns)}")
        # Names come from COLUMNS, the value is bound: nothing an agent writes becomes SQL.
        query = f"SELECT * FROM {table} WHERE CAST({column} AS TEXT) = ? ORDER BY id LIMIT 20"
        with closing(sqlite3.connect(f"file:{self.folder / DATABASE}?mode=ro", uri=True)) as connection:
            try:
                rows = connection.execute(query, (value.strip(),)).fetchall()
            except (sqlite3.Error, UnicodeEncodeError) as error:
                raise ToolError(f"the database cannot look for that: {error}") from error
        written = [" | ".join(map(str, row)) for row in rows]
        return "\n".join([" | ".join(columns), *written]) if rows else "no rows"

    def calculate(self, expression: str) -> str:
        """Evaluate arithmetic: numbers, + - * / ( ), and min, max, round."""
        return f"{evaluate(expression):.10g}"


def evaluate(expression: str) -> float:
    """Return what an arithmetic expression comes to; it is read, never executed.

    Raises ToolError for anything else, and for what is too long or too large.

    >>> evaluate("2 * (3.5 + 1) - max(1, 2)")
    7.0
    """
    if len(expression) > _LONGEST_EXPRESSION:
        raise ToolError(f"the expression has more than {_LONGEST_EXPRESSION} characters: calculate it in parts")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ToolError):
            raise
        raise ToolError(f"this is not arithmetic: {expression!r}") from error
    except ZeroDivisionError as error:
        raise ToolError("a division by zero") from error
    except OverflowError as error:
        raise ToolError("the result is too large") from error
    if not isinstance(value, float) or not math.isfinite(value):
        raise ToolError("the result is no number")
    return value


def _value(node: ast.AST) -> Any:
    """Evaluate in floats alone: they overflow at once where integers would grow for hours."""
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return -_value(operand) if isinstance(sign, ast.USub) else _value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if name in _FUNCTIONS:
            return float(_FUNCTIONS[name](*map(_value, arguments)))
    raise ToolError("only numbers, + - * / ** ( ), min, max, round and abs are understood")


def _round(number: float, digits: float = 0) -> float:
    return round(number, int(digits))


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "round": _round,
    "abs": lambda number: abs(number),
}
