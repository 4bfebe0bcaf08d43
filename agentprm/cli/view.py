"""`agentprm view`: the page of a store, live while it grows."""

from __future__ import annotations

import sys
import webbrowser
from typing import Any

import click

from agentprm.cli.output import as_json, say
from agentprm.cli.report import episodes

__all__ = ["view"]


@click.command()
@click.argument("url")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; elsewhere a token is asked."
)
@click.option("--port", default=8420, show_default=True, type=click.IntRange(0, 65535), help="0 is any that is free.")
@click.option("--allow-host", "names", multiple=True, help="A name this is reached by, as through a proxy.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@click.option("--scorer", help="Whose scores: name or name@version; by default the newest live one, else labels.")
@click.option("--limit", default=1_000, show_default=True, type=click.IntRange(1), help="Episodes in the list.")
@episodes
@as_json
def view(
    url: str, host: str, port: int, names: tuple[str, ...], no_browser: bool, scorer: str | None, limit: int,
    as_json: bool, **filters: tuple[str, ...],
) -> None:  # fmt: skip
    """Serve a page of the store at URL, for reading, until Ctrl-C; new episodes appear as they arrive.

    Example: agentprm view runs.db
    """
    from agentprm.credit.report.overview import whose
    from agentprm.spec import resolve
    from agentprm.store.store import Store

    where: Any = {name: list(given) for name, given in filters.items() if given}
    with Store(url, create=False, migrate=False) as store:
        whose(store, scorer)
        view_of = resolve("agentprm.serve.view:View")
        with view_of(store, host, port, scorer=scorer, limit=limit, names=names, **where) as served:
            say({"url": served.url, "store": url}, as_json, f"{url} → {served.url} (Ctrl-C ends)")
            sys.stdout.flush()
            if not no_browser:
                webbrowser.open(served.url)
            try:
                served.run()
            except KeyboardInterrupt:
                click.echo("", err=True)
