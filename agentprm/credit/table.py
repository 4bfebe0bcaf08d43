"""The answer to a credit question: rows, what they are, and the SQL that found them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentprm.errors import MissingExtra

if TYPE_CHECKING:
    import pandas

__all__ = ["Table", "shown"]

_WIDTH = 80
_MOST_ROWS = 20
_NARROWEST = 8
"""How far a column of words is shortened to let a table fit."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under names, with the one SQL statement behind them.

    >>> table = Table("Successes", ("policy", "n", "success"), (("ppo", 4, 0.75),), "SELECT ...")
    >>> table
    Successes
    policy  n  success
    ppo     4    0.750
    >>> table.to_dicts(), table.n
    ([{'policy': 'ppo', 'n': 4, 'success': 0.75}], 4)
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    sql: str
    """As one can paste it into a database shell."""
    note: str = ""
    """How to read it; of an empty table, why it is empty and what to do."""
    scorer: str = ""
    """Whose scores it rests on, ``name@version`` (the version is the beginning of the recipe's digest)."""
    n: int = -1
    """Observations behind the rows: by default the sum of the column `n`, else how many rows there are."""
    alarm: bool | None = None
    """Of a question that is an alarm: whether it fires."""

    def __post_init__(self) -> None:
        if self.n < 0:
            at = self.columns.index("n") if "n" in self.columns else None
            object.__setattr__(self, "n", len(self.rows) if at is None else sum(row[at] for row in self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_dicts())

    def __repr__(self) -> str:
        return self.to_text(most=_MOST_ROWS)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_json(self) -> str:
        """Return title, scorer, n, rows, SQL and note as one JSON object."""
        answer = {"title": self.title, "scorer": self.scorer or None, "n": self.n, "rows": self.to_dicts()}
        alarm = {} if self.alarm is None else {"alarm": self.alarm}
        return json.dumps({**answer, **alarm, "sql": self.sql, "note": self.note}, default=str)

    def to_markdown(self) -> str:
        """Return a Markdown table, numbers to three digits."""
        lines = [self.columns, ["---"] * len(self.columns), *(map(shown, row) for row in self.rows)]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def to_text(self, width: int = _WIDTH, most: int | None = None) -> str:
        """Return the table in columns, no wider than `width` where words can be shortened; `most` rows at most.

        Of an id, its last twelve digits are shown: the first ones are a time, and alike.
        """
        lines = [self.title, *_aligned(self, self.rows[:most], width)] if self.rows else [f"{self.title}: no rows"]
        if most is not None and len(self.rows) > most:
            lines.append(f"... {len(self.rows) - most} more rows")
        return "\n".join([*lines, *([self.remarks] if self.remarks else [])])

    @property
    def remarks(self) -> str:
        """Whose scores these are, and the note, in a line each."""
        words = [f"scores by {self.scorer}" if self.scorer else "", self.note]
        return "\n".join(word for word in words if word)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame; raises MissingExtra without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("report", "pandas") from error
        return pandas.DataFrame(self.to_dicts(), columns=list(self.columns))

    def to_arrow(self) -> Any:
        """Return a pyarrow.Table, title, scorer, SQL and note in its metadata; raises MissingExtra without pyarrow."""
        try:
            import pyarrow
        except ImportError as error:
            raise MissingExtra("report", "pyarrow") from error
        columns = [[_plain(row[i]) for row in self.rows] for i in range(len(self.columns))]
        about = {"title": self.title, "scorer": self.scorer, "sql": self.sql, "note": self.note}
        return pyarrow.table(columns, names=list(self.columns)).replace_schema_metadata(about)

    def to_parquet(self, path: str | Path) -> None:
        """Write the table to a Parquet file; raises MissingExtra without pyarrow."""
        table = self.to_arrow()
        from pyarrow import parquet

        parquet.write_table(table, path)


def shown(cell: Any) -> str:
    """Return a cell for people: numbers to three digits, nothing for None, one line."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return " ".join(str(cell).split())


def _plain(cell: Any) -> Any:
    return str(cell) if isinstance(cell, UUID) else cell


def _brief(cell: Any) -> str:
    return str(cell)[-12:] if isinstance(cell, UUID) else shown(cell)


def _aligned(table: Table, rows: tuple[tuple[Any, ...], ...], width: int) -> list[str]:
    cells = [list(table.columns), *([_brief(cell) for cell in row] for row in rows)]
    is_number = [all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(table.columns))]
    is_word = [
        not is_number[i] and all(isinstance(row[i], (str, type(None))) for row in rows)
        for i in range(len(table.columns))
    ]
    widths = _fitted([max(map(len, column)) for column in zip(*cells, strict=True)], is_word, width)
    return [_line(line, widths, is_number) for line in cells]


def _fitted(widths: list[int], is_word: list[bool], width: int) -> list[int]:
    """Shorten the widest columns of words until the table fits, or all are narrow."""
    widths = list(widths)
    while sum(widths) + 2 * (len(widths) - 1) > width:
        i = max(range(len(widths)), key=lambda i: widths[i] if is_word[i] else 0)
        if not is_word[i] or widths[i] <= _NARROWEST:
            break
        widths[i] -= 1
    return widths


def _line(cells: list[str], widths: list[int], is_number: list[bool]) -> str:
    fitted = [
        cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, widths, strict=True)
    ]
    placed = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(fitted, widths, is_number, strict=True)
    ]
    return "  ".join(placed).rstrip()
