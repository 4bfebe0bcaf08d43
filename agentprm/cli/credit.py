"""`agentprm credit`: who deserves the credit, and who the blame."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentprm.cli.output import as_json, print_table
from agentprm.credit.questions import OVERVIEW, QUESTIONS, Question, find
from agentprm.errors import AgentPRMError, UnknownName
from agentprm.suggest import did_you_mean

if TYPE_CHECKING:
    from agentprm.credit.table import Table
    from agentprm.store.store import Store

__all__ = ["credit"]

F = TypeVar("F", bound=Callable[..., Any])
_SQL = Question("sql", "sql", "statement", "What does a statement of your own say?", "")
_LIMIT = 10
_NAMES = ("task", "policy", "env", "group", "tool")
_SETTINGS: dict[str, tuple[Any, str]] = {
    "a": (str, "The first of two to compare: a policy, or a scorer."),
    "b": (str, "The second of two to compare."),
    "over": (float, "drops, recovery: how much a step must lose."),
    "below": (float, "sinking, subagents, first-errors: what counts as failed, or as an error."),
    "above": (float, "overrated: from which mean score on."),
    "bins": (click.IntRange(2), "calibration, drift: how many bins."),
    "weeks": (click.IntRange(1), "drift: how long a span is."),
    "visits": (click.IntRange(2), "anchors: how many episodes must have met a state."),
    "truth": (str, "first-errors: whose marks are the truth."),
    "tolerance": (float, "shaping: how far off still counts as kept."),
    "by": (click.Choice(["policy", "time"]), "hacking: what makes a version."),
    "windows": (click.IntRange(2), "hacking: how many spans of time."),
    "alpha": (float, "hacking: level of the test of the slope."),
    "least": (float, "hacking: how much the gap must grow."),
    "explained": (float, "hacking: how much of the score length may explain."),
}


def _settings(command: F) -> F:
    """Give the verb the options that single questions take."""
    for name, (kind, words) in reversed(_SETTINGS.items()):
        command = click.option(f"--{name}", type=kind, help=words)(command)
    return click.option("--by-depth", is_flag=True, default=None, help="calibration: also per third.")(command)


def _filters(command: F) -> F:
    """Give the verb the filters that every question takes."""
    command = click.option("--forks", is_flag=True, default=None, help="Also episodes played again from the middle.")(
        command
    )
    command = click.option("--tag", multiple=True, metavar="KEY=VALUE", help="Only episodes with this in their meta.")(
        command
    )
    for name in ("until", "since"):
        words = f"Only episodes begun {'then or later' if name == 'since' else 'before'} (ISO 8601, else UTC)."
        command = click.option(f"--{name}", metavar="TIME", help=words)(command)
    went = click.Choice(["success", "failure", "unknown"])
    command = click.option("--outcome", type=went, help="Only episodes that went so.")(command)
    for name in reversed(_NAMES):
        words = "Only episodes, and steps, that called it." if name == "tool" else f"Only this {name}; may be repeated."
        command = click.option(f"--{name}", multiple=True, help=words)(command)
    return command


@click.command()
@click.argument("words", nargs=-1, metavar="[QUESTION] URL [TRAJECTORY | STATEMENT]")
@click.option("--list", "show_list", is_flag=True, help="Name every question, with a line each.")
@click.option("--scorer", help="Whose scores: name or name@version; by default the newest live one.")
@_filters
@_settings
@click.option("--limit", default=_LIMIT, show_default=True, type=click.IntRange(1), help="Rows of a list.")
@click.option("--timeout", type=float, help="sql: seconds after which the statement is given up.")
@click.option("--sql", "show_sql", is_flag=True, help="Print the SQL statement instead of the answer.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--parquet", type=click.Path(dir_okay=False, path_type=Path), help="Write the answer to a Parquet file.")
@as_json
@click.pass_context
def credit(context: click.Context, /, words: tuple[str, ...], show_list: bool, **options: Any) -> None:
    """Answer a QUESTION from the store at URL; without one, five of them.

    `agentprm credit --list` names the questions. timeline URL TRAJECTORY shows one episode (its id, or the last
    digits), sql URL STATEMENT asks in SQL. hacking is an alarm: it exits with 1 when it fires, 0 when all is well, 2
    when it cannot tell.
    """
    if show_list:
        click.echo("\n".join(f"{q.name:13} {q.asks}" for q in (*QUESTIONS, _SQL)))
        return
    question, url, rest = _meant(words)
    output = {name: options.pop(name) for name in ("as_json", "show_sql", "markdown", "parquet")}
    try:
        tables = _answers(question, url, rest, options)
        _print(tables, alone=question is not None, **output)
    except (AgentPRMError, OSError) as error:
        if question is None or question.name != "hacking":
            raise
        raise click.ClickException(str(error)) from error
    if question is not None and question.name == "hacking":
        context.exit({True: 1, False: 0, None: 2}[tables[0].alarm])


def _meant(words: tuple[str, ...]) -> tuple[Question | None, str, tuple[str, ...]]:
    """Return question, URL and what follows; either order of the first two will do."""
    if not words:
        raise click.UsageError("say which store: agentprm credit [QUESTION] URL")
    known = [_question(word) for word in words[:2]]
    if known[0] is not None and len(words) > 1:
        return known[0], words[1], words[2:]
    if len(words) == 1:
        return None, words[0], ()
    if known[1] is None:
        names = [q.name for q in (*QUESTIONS, _SQL)]
        meant = did_you_mean(words[0], names) or did_you_mean(words[1], names)
        raise click.UsageError(
            f"neither {words[0]!r} nor {words[1]!r} is a credit question{meant}; there are {', '.join(names)}"
        )
    return known[1], words[0], words[2:]


def _question(word: str) -> Question | None:
    try:
        return _SQL if word == "sql" else find(word)
    except UnknownName:
        return None


def _answers(question: Question | None, url: str, rest: tuple[str, ...], options: dict[str, Any]) -> list[Table]:
    from agentprm.credit.hints import for_shell
    from agentprm.store.store import Store

    takes = {"timeline": "the id of one trajectory", "sql": "one statement"}.get(question.name if question else "")
    if (takes is not None) != (len(rest) == 1) or len(rest) > 1:
        raise click.UsageError(f"{question.name if question else 'the overview'} takes {takes or 'no further words'}")
    timeout, where = options.pop("timeout"), _where(options)
    with Store(url, create=False) as store, for_shell():
        if question is _SQL:
            return [_SQL.ask(store, rest[0], timeout_s=timeout)]
        asked = [question] if question else [find(name) for name in OVERVIEW]
        return [_ask(one, store, rest, options, where, alone=question is not None) for one in asked]


def _ask(
    question: Question,
    store: Store,
    rest: tuple[str, ...],
    options: Mapping[str, Any],
    where: dict[str, Any],
    alone: bool,
) -> Table:
    taken = inspect.signature(question.ask).parameters
    given = {name: value for name, value in options.items() if value is not None}
    strange = sorted(set(given) - set(taken) - {"limit"})
    if strange and alone:
        raise click.UsageError(f"{question.name} takes no --{strange[0].replace('_', '-')}")
    if "where" not in taken:
        where = {}
    table: Table = question.ask(
        store, *rest, **{name: value for name, value in given.items() if name in taken}, **where
    )
    return table


def _where(options: dict[str, Any]) -> dict[str, Any]:
    """Take the filters out of the options."""
    names = {name: list(options.pop(name)) or None for name in _NAMES}
    times = {name: _time(name, options.pop(name)) for name in ("since", "until")}
    tags = dict(_tag(text) for text in options.pop("tag"))
    rest = {name: options.pop(name) for name in ("outcome", "forks")}
    return {
        name: value for name, value in {**names, **times, "tags": tags or None, **rest}.items() if value is not None
    }


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"--tag is KEY=VALUE, not {text!r}")
    return key, value


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(
            f"--{name} is a time such as 2026-03-01 or 2026-03-01T12:00+01:00, not {text!r}"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print(
    tables: list[Table], alone: bool, as_json: bool, show_sql: bool, markdown: bool, parquet: Path | None
) -> None:
    if parquet is not None:
        if not alone:
            raise click.UsageError("--parquet takes one question at a time")
        tables[0].to_parquet(parquet)
    if as_json:
        objects = [json.loads(table.to_json()) for table in tables]
        click.echo(json.dumps(objects[0] if alone else objects))
    elif show_sql:
        click.echo("\n\n".join(f"-- {table.title}\n{table.sql};" for table in tables))
    elif markdown:
        click.echo(
            "\n\n".join(f"**{table.title}**\n\n{table.to_markdown()}\n\n{table.remarks}".strip() for table in tables)
        )
    else:
        for i, table in enumerate(tables):
            if i:
                click.echo()
            print_table(table)
