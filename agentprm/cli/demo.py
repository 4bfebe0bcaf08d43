"""`agentprm demo`: from a real environment to a better agent and a credit table, on two CPU cores, in minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agentprm.cli.output import as_json, print_table, say

__all__ = ["demo"]


F = TypeVar("F", bound=Callable[..., Any])


def _number(name: str, default: int, least: int, help: str) -> Callable[[F], F]:
    return click.option(name, default=default, show_default=True, type=click.IntRange(least), help=help)


@click.command()
@click.option("--folder", default="demo", show_default=True, type=click.Path(path_type=Path), help="Where it all goes.")
@_number("--seeds", 1, 1, "Label seeds to repeat with.")
@_number("--steps", 10_000, 200, "Environment steps to record.")
@_number("--episodes", 150, 1, "Unseen episodes to evaluate on.")
@_number("--candidates", 8, 2, "Actions to choose among.")
@as_json
def demo(folder: Path, seeds: int, steps: int, episodes: int, candidates: int, as_json: bool) -> None:
    """Run the whole river on BabyAI (UnlockPickup): record, label, train, choose, credit.

    A weak policy is recorded; step rewards are learnt from its episodes alone; at every turn the best-scored of a few
    candidates is executed. Compared with the policy alone, its majority vote, an outcome reward model and Monte-Carlo
    labels for as many environment steps. Every number is computed in this run.
    """
    from agentprm.cli import _river

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    river = _river.River(
        folder, (lambda _: None) if as_json else click.echo, env_steps=steps, episodes=episodes, candidates=candidates
    )
    results, tables = river.run(seeds)
    picture = river.plot(results)
    seconds = time.monotonic() - started
    if not as_json:
        for table in (_river.comparison(results, candidates), *tables):
            click.echo()
            print_table(table)
    files = {"database": str(river.database), "model": str(river.model), "plot": picture and str(picture)}
    lines = [
        "",
        f"Episodes, labels and scores: {river.database}    (ask more: agentprm credit {river.database})",
        f"The trained scorer: {river.model}",
        f"Plot: {picture}" if picture else "No plot: pip install 'agentprm[report]'",
        f"{seconds:.0f} s in all",
    ]
    say({"results": [row.plain() for row in results], **files, "seconds": round(seconds, 1)}, as_json, *lines)
