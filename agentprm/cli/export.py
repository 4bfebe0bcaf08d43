"""`agentprm export`: trajectories and scores of a store into a file that other tools read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from agentprm.cli.output import as_json, say
from agentprm.types import Scores, Trajectory

if TYPE_CHECKING:
    from agentprm.progress import Advance
    from agentprm.store.store import Store

__all__ = ["export"]

_BATCH = 64


@click.command()
@click.argument("url")
@click.option("-o", "--output", required=True, help="The file, gzipped if it ends in .gz; - is standard output.")
@click.option("--format", "form", default="jsonl", show_default=True, help="Name, or name:key=value.")
@click.option("--task", help="Only episodes of this task: its text, or its key.")
@click.option("--policy", help="Only this policy's episodes.")
@click.option("--env", help="Only episodes in this environment.")
@click.option("--group", help="Only episodes of this group.")
@click.option("--status", help="Only episodes that ended so: terminated, completed, failed, …")
@click.option("--outcome", type=(float, float), metavar="LOW HIGH", help="Only outcomes from LOW to HIGH.")
@click.option("--since", type=click.DateTime(), help="Only episodes begun at this time or later (UTC).")
@click.option("--until", type=click.DateTime(), help="Only episodes begun before this time (UTC).")
@click.option("--limit", type=click.IntRange(1), help="At most so many episodes.")
@click.option("--scorer", help="Only scores by this name.")
@click.option("--no-scores", is_flag=True, help="No scores at all.")
@as_json
def export(
    url: str, output: str, form: str, scorer: str | None, no_scores: bool, as_json: bool, **filters: Any
) -> None:
    """Write the trajectories of the store at URL, and their scores, to a file.

    The file appears when it is complete. Example: agentprm export runs.db --format openai_messages -o runs.jsonl.gz
    """
    from agentprm.formats import check, write
    from agentprm.progress import progress_bar
    from agentprm.store.store import Store

    check(form, "write")
    with Store(url, create=False) as store, progress_bar("exporting", filters["limit"]) as advance:
        chosen = store.trajectories(**_filters(store, **filters))
        items = _items(store, chosen, scorer, no_scores, advance)
        n = write(sys.stdout.buffer if output == "-" else output, items, form)
    line = f"{n} trajectories → {output} ({form})"
    if output == "-":
        click.echo(line, err=True)
    else:
        say({"store": url, "file": output, "format": form, "trajectories": n}, as_json, line)


def _filters(
    store: Store, *, task: str | None, since: datetime | None, until: datetime | None, **same: Any
) -> dict[str, Any]:
    keys = None if task is None else [task, *_keys(store, task)]
    moments = {"since": since and since.replace(tzinfo=UTC), "until": until and until.replace(tzinfo=UTC)}
    return {"task": keys, **moments, **same}


def _keys(store: Store, text: str) -> list[str]:
    """Return the keys of the tasks that are worded so."""
    from sqlalchemy import select

    from agentprm.store import tables

    with store.connection() as connection:
        return list(connection.execute(select(tables.task.c.key).where(tables.task.c.text == text)).scalars())


def _items(
    store: Store, chosen: Iterator[Trajectory], scorer: str | None, no_scores: bool, advance: Advance
) -> Iterator[Trajectory | Scores]:
    """Yield each trajectory, then its scores."""
    while batch := list(islice(chosen, _BATCH)):
        scores: dict[Any, list[Scores]] = {trajectory.id: [] for trajectory in batch}
        for item in () if no_scores else store.scores(scores.keys(), source=scorer):
            scores[item.trajectory_id].append(item)
        for trajectory in batch:
            yield trajectory
            yield from scores[trajectory.id]
        advance(len(batch), "")
