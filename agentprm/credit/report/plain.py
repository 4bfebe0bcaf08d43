"""What was recorded, as JSON that any page can hold: finite numbers, texts of a bounded length, nothing else."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import UUID

from agentprm.credit.table import Table
from agentprm.values import encode

__all__ = ["brief", "cut", "embedded", "number", "plain_table", "written"]

Cut = str | list[Any]
"""A text, or its beginning and how many characters are left out."""


def number(value: Any, digits: int = 6) -> Any:
    """Return a number to so many significant digits; as a word where JSON has no such number, None as it is.

    >>> number(1 / 3), number(float("nan")), number(None)
    (0.333333, 'nan', None)
    """
    if not isinstance(value, float):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else str(value)


def cut(text: str, longest: int) -> Cut:
    """Return a text, or its beginning and how many characters that leaves out.

    >>> cut("abc", 3), cut("abcd", 3)
    ('abc', ['abc', 1])
    """
    return text if len(text) <= longest else [text[:longest], len(text) - longest]


def brief(text: str | None, longest: int = 160) -> str:
    """Return the beginning of a text, on one line.

    >>> brief("open the door now", 10)
    'open the …'
    """
    line = " ".join((text or "")[: longest * 4].split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def written(value: Any) -> str:
    """Return a recorded value of any kind as JSON text, over lines."""
    return json.dumps(json.loads(encode(value)[0]), ensure_ascii=False, indent=2)


def plain_table(table: Table) -> dict[str, Any]:
    """Return a credit table without its SQL."""
    rows = [[str(cell) if isinstance(cell, UUID) else number(cell) for cell in row] for row in table.rows]
    return {"title": table.title, "columns": list(table.columns), "rows": rows, "note": table.note, "n": table.n}


def embedded(data: Any) -> str:
    r"""Return JSON that says the same inside a page's script element, whatever it holds.

    ASCII alone, so that lone surrogates pass; without ``<``, ``>`` and ``&``, so that nothing ends the element.

    >>> embedded("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
