"""A progress bar for work that takes seconds: on a terminal, on standard error, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Advance", "progress_bar"]

Advance = Callable[[float, str], None]
"""Moves a bar on by so many units, and says something beside it."""


@contextmanager
def progress_bar(title: str, total: float | None, show: bool | None = None) -> Iterator[Advance]:
    """Give a function that moves a bar on; it draws only if `show`, by default only on a terminal.

    >>> with progress_bar("counting", 3, show=False) as advance:
    ...     for _ in range(3):
    ...         advance(1, "")
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda _step, _remark: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    remarks = (TimeRemainingColumn(), TextColumn("{task.fields[remark]}"))
    with Progress(*columns, *remarks, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, remark="")
        yield lambda step, remark: bar.update(task, advance=step, remark=remark)
