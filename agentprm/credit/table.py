"""The answer to a credit question: rows, what they are, and the SQL that found them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentprm.errors import MissingExtra

if TYPE_CHECKING:
    import pandas

__all__ = ["Table", "shown"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under names, with the one SQL statement behind them.

    >>> table = Table("successes", ("policy", "n"), (("ppo", 3),), "SELECT ...")
    >>> table.to_dicts()
    [{'policy': 'ppo', 'n': 3}]
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    sql: str
    """As one can paste it into a database shell."""
    note: str = ""
    """How to read it."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_dicts())

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_json(self) -> str:
        """Return title, rows and SQL as one JSON object."""
        answer = {"title": self.title, "rows": self.to_dicts(), "sql": self.sql, "note": self.note}
        return json.dumps(answer, default=str)

    def to_markdown(self) -> str:
        """Return a Markdown table, numbers to three digits."""
        lines = [self.columns, ["---"] * len(self.columns), *(map(shown, row) for row in self.rows)]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame; raises MissingExtra without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("report", "pandas") from error
        return pandas.DataFrame(self.to_dicts(), columns=list(self.columns))


def shown(cell: Any) -> str:
    """Return a cell for people: numbers to three digits, nothing for None, one line."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return " ".join(str(cell).split())
