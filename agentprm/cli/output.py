"""How every verb speaks: one table or one JSON object on standard output, errors in one line, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentprm.errors import AgentPRMError

if TYPE_CHECKING:
    from agentprm.credit.table import Table

__all__ = ["as_json", "print_table", "run", "say"]

F = TypeVar("F", bound=Callable[..., Any])


def as_json(command: F) -> F:
    """Give a verb its ``--json`` flag."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")(command)


def run(command: click.Command, arguments: list[str] | None = None) -> None:
    """Run a command and exit; a user's mistake is one line, never a traceback."""
    try:
        code = command.main(args=arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; what was recorded is kept")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (AgentPRMError, OSError) as error:
        _fail(str(error))
    except Exception as error:
        if not _is_users(error) or os.environ.get("AGENTPRM_DEBUG"):
            raise
        _fail(str(error))


def _is_users(error: Exception) -> bool:
    """Tell a mistake that gymnasium names from a defect of ours."""
    return type(error).__module__.startswith("gymnasium.error")


def _fail(message: str) -> None:
    click.echo(f"agentprm: {' '.join(message.split())}", err=True)
    sys.exit(1)


def say(result: dict[str, Any], as_json: bool, *lines: str) -> None:
    """Print what a verb did: a JSON object, or lines for people."""
    click.echo(json.dumps(result, default=str) if as_json else "\n".join(lines))


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal allows."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    from agentprm.credit.table import shown

    console = Console(width=None if sys.stdout.isatty() else 140)
    grid = Grid(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
    for column, is_number in zip(table.columns, _numeric(table.rows, len(table.columns)), strict=True):
        side: Any = "right" if is_number else "left"
        grid.add_column(column, justify=side, overflow="fold", no_wrap=is_number)
    for row in table.rows:
        grid.add_row(*(Text(shown(cell)[:200]) for cell in row))
    console.print(grid if table.rows else f"{table.title}: nothing to show", highlight=False)


def _numeric(rows: Iterable[tuple[Any, ...]], n: int) -> list[bool]:
    rows = list(rows)
    return [bool(rows) and all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(n)]
