"""`agentprm report`: a store as one page, or as pictures, for people to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agentprm.cli.output import as_json, say

__all__ = ["episodes", "report"]

F = TypeVar("F", bound=Callable[..., Any])
_NAMES = ("task", "policy", "env", "group")


def episodes(command: F) -> F:
    """Give a verb the options that say which episodes."""
    for name in reversed(_NAMES):
        command = click.option(f"--{name}", multiple=True, help=f"Only this {name}; may be repeated.")(command)
    return command


@click.command()
@click.argument("url")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The page; default report.html.")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Also plots, as PNG and SVG, in here.")
@click.option("--scorer", help="Whose scores: name or name@version; by default the newest live one, else labels.")
@click.option("--limit", default=1_000, show_default=True, type=click.IntRange(1), help="Episodes in the page.")
@click.option("--longest", default=20_000, show_default=True, type=click.IntRange(1), help="Characters of one text.")
@click.option("--pictures", default=32, show_default=True, type=click.IntRange(0), help="Megabytes of pictures.")
@episodes
@as_json
def report(
    url: str, output: Path | None, plots: Path | None, scorer: str | None, limit: int, longest: int, pictures: int,
    as_json: bool, **names: tuple[str, ...],
) -> None:  # fmt: skip
    """Write a page of the store at URL: an overview, its failures by blame, every episode turn by turn.

    One file that needs no network. With --plots alone, the plots are all that is written (they need matplotlib).

    Example: agentprm report runs.db -o report.html
    """
    from agentprm.credit.report.write import write_report
    from agentprm.progress import progress_bar
    from agentprm.store.store import Store

    where: Any = {name: list(given) for name, given in names.items() if given}
    done: dict[str, Any] = {"store": url}
    lines: list[str] = []
    with Store(url, create=False) as store:
        if plots is not None:
            done["plots"] = [str(path) for path in _plots(store, plots, scorer, where)]
            lines.append(f"{len(done['plots'])} plots → {plots}")
        if output is not None or plots is None:
            page = output or Path("report.html")
            with progress_bar("writing episodes", limit) as advance:
                made = write_report(
                    store, page, scorer, limit=limit, longest=longest, pictures=pictures << 20,
                    on_episode=lambda n: advance(n, ""), **where,
                )  # fmt: skip
            done |= {name: getattr(made, name) for name in made.__slots__}
            rest = f", {made.left_out} left out" if made.left_out else ""
            lines.append(f"{made.episodes} episodes{rest}, {made.bytes / 1e6:.1f} MB → {page}")
    say(done, as_json, *lines)


def _plots(store: Any, folder: Path, scorer: str | None, where: Any) -> list[Path]:
    from agentprm.credit.plots import save

    return save(store, folder, scorer, **where)
