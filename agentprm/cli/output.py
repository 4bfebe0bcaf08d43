"""How every verb speaks: one table or one JSON object on standard output, errors in one line, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
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
    """Print a table as wide as the terminal, or 80 columns."""
    click.echo(table.to_text(shutil.get_terminal_size((80, 24)).columns))
