"""`agentprm db`: the schema of a store, and what waits beside it."""

from __future__ import annotations

import click

from agentprm.cli.output import as_json, say

__all__ = ["db"]


@click.group()
def db() -> None:
    """Make, upgrade or check the schema of a store; drain its spool."""


@db.command()
@click.argument("url")
@as_json
def upgrade(url: str, as_json: bool) -> None:
    """Bring the store at URL to the schema of this version; make it if there is none."""
    from agentprm.store import migrate
    from agentprm.store.database import close_database, open_database

    database = open_database(url)
    before = migrate.current(database)
    migrate.ensure(database)
    after = migrate.current(database)
    close_database(database)
    say({"url": url, "before": before, "after": after}, as_json, f"{url}: {before or 'empty'} → {after}")


@db.command()
@click.argument("url")
@as_json
def current(url: str, as_json: bool) -> None:
    """Print the revision that the store at URL is at."""
    from agentprm.store import migrate

    revision = migrate.current(url)
    is_head = "this version's" if revision == migrate.HEAD else f"this version's is {migrate.HEAD}"
    say({"url": url, "revision": revision, "head": migrate.HEAD}, as_json, f"{url}: {revision or 'empty'} ({is_head})")


@db.command()
@click.argument("url")
@as_json
@click.pass_context
def check(ctx: click.Context, url: str, as_json: bool) -> None:
    """Compare the tables at URL with what this version expects; exits with 1 when they differ."""
    from agentprm.store import migrate

    revision = migrate.current(url)
    if revision is None:
        words = f"{url} is empty: make its schema with `agentprm db upgrade {url}`"
        say({"url": url, "revision": None, "differences": ["empty"]}, as_json, words)
        ctx.exit(1)
    differences = migrate.check(url)
    is_fine = revision == migrate.HEAD and not differences
    lines = [*differences, f"{url}: {'as expected' if is_fine else f'differs (revision {revision})'}"]
    say({"url": url, "revision": revision, "differences": differences}, as_json, *lines)
    ctx.exit(0 if is_fine else 1)


@db.command()
@click.argument("url")
@as_json
def drain(url: str, as_json: bool) -> None:
    """Put the steps that were spooled while the database at URL was away into it, each exactly once."""
    from agentprm.store.spool import Spool
    from agentprm.store.store import Store
    from agentprm.store.url import read_url

    before = Spool(read_url(url)).n_steps()
    with Store(url, create=before > 0) as store:  # a file that was deleted is made anew for what waits
        store.flush()
        after, dropped = store.spooled, store.dropped
    counts = {"drained": before - after - dropped, "dropped": dropped, "left": after}
    lost = f"; {dropped} belonged to trajectories that were deleted" if dropped else ""
    say({"url": url, **counts}, as_json, f"{url}: drained {counts['drained']} steps{lost}")
