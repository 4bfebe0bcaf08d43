"""`agentprm credit`: who deserves the credit, and who the blame."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import click

from agentprm.cli.output import as_json, print_table
from agentprm.errors import NoSuchTrajectory, UnknownName

__all__ = ["credit"]

_QUESTIONS = {
    "success": "success",
    "sinking": "sinking_steps",
    "actions": "value_by_action",
    "agreement": "agreement",
    "calibration": "calibration",
}


@click.command()
@click.argument("url")
@click.argument("question", required=False, type=click.Choice([*_QUESTIONS, "timeline"]))
@click.argument("trajectory", required=False)
@click.option("--scorer", help="Name of the scorer to ask about; by default the newest live one.")
@click.option("--policy", help="Only this policy's episodes.")
@click.option("--env", help="Only episodes in this environment.")
@click.option("--task", help="Only episodes of the task with this key.")
@click.option(
    "--limit", default=10, show_default=True, type=click.IntRange(1), help="Rows of the list of failed episodes."
)
@click.option("--sql", is_flag=True, help="Print the SQL statements instead of running them for you.")
@as_json
def credit(
    url: str,
    question: str | None,
    trajectory: str | None,
    scorer: str | None,
    limit: int,
    sql: bool,
    as_json: bool,
    **filters: str | None,
) -> None:
    """Answer a QUESTION from the store at URL; without one, all of them.

    success: how often each policy succeeded. sinking: the step that sank each failed episode. actions: value gained or
    lost per tool or action verb. agreement, calibration: how far to trust the scores. timeline TRAJECTORY: one episode,
    step by step.
    """
    from agentprm.credit import queries
    from agentprm.store.store import Store

    if (question == "timeline") != (trajectory is not None):
        raise click.UsageError("timeline takes the id of one trajectory, the other questions none")
    with Store(url, create=False) as store:
        _require_scorer(store, scorer)
        if trajectory is not None:
            tables = [queries.timeline(store, _id(trajectory), scorer)]
        else:
            tables = [
                _ask(queries, name, store, scorer, limit, filters) for name in ([question] if question else _QUESTIONS)
            ]
    if as_json:
        click.echo(json.dumps([json.loads(table.to_json()) for table in tables]))
    elif sql:
        click.echo("\n\n".join(f"-- {table.title}\n{table.sql};" for table in tables))
    else:
        for table in tables:
            print_table(table)


def _ask(queries: Any, name: str, store: Any, scorer: str | None, limit: int, filters: dict[str, str | None]) -> Any:
    ask = getattr(queries, _QUESTIONS[name])
    if name == "success":
        return ask(store, **filters)
    return ask(store, scorer, **({"limit": limit} if name == "sinking" else {}), **filters)


def _require_scorer(store: Any, name: str | None) -> None:
    """Return if the store holds scores of that name; raises UnknownName with those there are."""
    if name is None:
        return
    with store.connection() as connection:
        known = sorted({row[0] for row in connection.exec_driver_sql("SELECT name FROM scorer")})
    if name not in known:
        raise UnknownName(f"the store holds no scores by {name!r}; there are {', '.join(known) or 'none'}")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NoSuchTrajectory(
            f"{text!r} is no trajectory's id: expected 32 hex digits, as `credit URL` prints them"
        ) from error
