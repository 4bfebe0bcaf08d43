"""`agentprm db`: the schema of a store, whether it is whole, and what waits beside it."""

from __future__ import annotations

import click

from agentprm.cli.output import as_json, say

__all__ = ["db"]


@click.group()
def db() -> None:
    """Make, upgrade or check a store; drain its spool; delete its garbage; salvage what is damaged."""


@db.command()
@click.argument("url")
@as_json
def upgrade(url: str, as_json: bool) -> None:
    """Bring the store at URL to the schema of this version; make it if there is none.

    Long texts that an earlier version stored in every row are then stored once. Others may go on recording meanwhile;
    after an interruption run it again and it goes on. `db gc --vacuum` gives the room back to the disk.
    """
    from agentprm.store import migrate
    from agentprm.store.backfill import backfill

    with migrate.opened(url, create=True) as database:
        before = migrate.current(database)
        migrate.ensure(database)
        after = migrate.current(database)
        moved = backfill(url)
    lines = [f"{url}: {before or 'empty'} → {after}", *([f"{moved} rows are smaller now"] if moved else [])]
    say({"url": url, "before": before, "after": after, "moved": moved}, as_json, *lines)


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
    """Check that the store at URL is whole and its tables are what this version expects; exits with 1 when not.

    Of a SQLite file every page is read.
    """
    from agentprm.store import migrate
    from agentprm.store.integrity import damages
    from agentprm.store.url import is_file, plain_url, read_url

    revision = migrate.current(url)
    if revision is None:
        words = f"{url} is empty: make its schema with `agentprm db upgrade {url}`"
        say({"url": url, "revision": None, "differences": ["empty"], "damages": []}, as_json, words)
        ctx.exit(1)
    differences, wrong = migrate.check(url), damages(url)
    lines = [*differences, *wrong]
    salvage = f"`agentprm db salvage {url} NEW` puts what can be read into a new store"
    way_out = salvage if is_file(url) else "restore a backup, or delete what is named"
    state = f"damaged: {way_out}" if wrong else f"differs (revision {revision})" if differences else "as expected"
    if not lines and revision != migrate.HEAD:
        state = f"at revision {revision}, this version's is {migrate.HEAD}: run `agentprm db upgrade {url}`"
    result = {"url": plain_url(read_url(url)), "revision": revision, "differences": differences, "damages": wrong}
    say(result, as_json, *lines, f"{url}: {state}")
    ctx.exit(0 if revision == migrate.HEAD and not lines else 1)


@db.command()
@click.argument("broken")
@click.argument("new")
@as_json
def salvage(broken: str, new: str, as_json: bool) -> None:
    """Put what can be read of the damaged file BROKEN, and what waits in its spool, into the store NEW.

    BROKEN is left as it is. An episode of which a step is lost ends before it.
    """
    from agentprm.store import salvage as damaged

    found = damaged.salvage(broken, new)
    counts = found._asdict()
    said = f"{new}: {found.whole} trajectories whole, {len(found.cut)} cut short, {len(found.lost)} lost"
    waiting = f"{found.spooled} steps came from the spool, {found.dropped} of it fitted no trajectory"
    gaps = [f"{table}: {n} stretches could not be read" for table, n in found.gaps.items()]
    nouns = [f"{table}: {n} that something named are lost" for table, n in found.nouns.items()]
    say({"broken": broken, "new": new, **counts}, as_json, said, waiting, *gaps, *nouns)


@db.command()
@click.argument("url", required=False)
@click.option("--apply", is_flag=True, help="Make them at URL, or bring them up to date, as its owner.")
@click.option("--schema", default="public", show_default=True, help="Where the tables are, for printing.")
@click.option("--prefix", default="agentprm", show_default=True, help="What their names begin with.")
@as_json
def roles(url: str | None, apply: bool, schema: str, prefix: str, as_json: bool) -> None:
    """Print the SQL of the roles of a PostgreSQL: reader, writer, scorer; with --apply, run it at URL.

    Run it again after an upgrade: new tables need new grants. Then give them to logins: GRANT agentprm_writer TO robot;
    """
    from agentprm.store import roles as of
    from agentprm.store.opened import close_database, open_database

    if apply and url is None:
        raise click.UsageError("say where: agentprm db roles postgresql://owner@host/runs --apply")
    said = list(of.statements(schema, prefix))
    if url is not None:
        database = open_database(url, create=False)
        try:
            of.require_server(database)
            said = of.grant(database, prefix) if apply else said
        finally:
            close_database(database)
    about = {f"{prefix}_{name}": role.what for name, role in of.ROLES.items()}
    lines = [f"{name}: {what}" for name, what in about.items()]
    lines = lines if apply else [*(f"-- {line}" for line in lines), *said]
    say({"url": url, "applied": apply, "roles": about, "statements": said}, as_json, *lines)


@db.command()
@click.argument("url")
@click.option("--steps", default=50_000_000, show_default=True, type=click.IntRange(1), help="Steps in a part, about.")
@click.option("--ahead", default=3, show_default=True, type=click.IntRange(1), help="Parts made for what is to come.")
@click.option("--detach", help="Take this part out of the store instead, episodes and all, into tables of its own.")
@as_json
def partition(url: str, steps: int, ahead: int, detach: str | None, as_json: bool) -> None:
    """Put a large store at a PostgreSQL URL into parts by time; run it again to make parts for what is to come.

    Worth while from 10^8 steps on. The first time everything is copied and others wait: recorders spool meanwhile.
    """
    from agentprm.store import partition as of
    from agentprm.store.migrate import ensure
    from agentprm.store.opened import close_database, open_database

    database = open_database(url, create=False)
    try:
        if detach is not None:
            tables = of.detach(database, detach)
            line = f"{detach} lies in {', '.join(tables)} now: dump what you keep, then DROP TABLE them"
            say({"url": url, "detached": detach, "tables": tables}, as_json, line)
            return
        of.require_server(database)
        ensure(database, create=False)
        found = of.partition(database, steps=steps, ahead=ahead)
    finally:
        close_database(database)
    rows = [{"name": part.name, "first": part.begins, "after": part.ends, "steps": part.steps} for part in found]
    lines = [f"{row['name']}  from {row['first'] or 'the beginning'} to {row['after']}: {row['steps']}" for row in rows]
    say({"url": url, "parts": rows}, as_json, *lines)


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


@db.command()
@click.argument("url")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--vacuum", is_flag=True, help="Give the room back to the disk, too; nobody else may write meanwhile.")
@as_json
def gc(url: str, dry_run: bool, vacuum: bool, as_json: bool) -> None:
    """Delete the long texts and pictures at URL that belonged to trajectories which were deleted.

    Others may go on recording. An interruption loses nothing: run it again.
    """
    from agentprm.store.gc import collect

    found = collect(url, dry_run=dry_run, vacuum=vacuum)
    counts = {"blobs": found.blobs, "garbage": found.garbage, "bytes": found.n_bytes, "dry_run": dry_run}
    would = "would go" if dry_run else "went"
    line = f"{found.garbage} of {found.blobs} texts and pictures {would}, {found.n_bytes:,} bytes"
    say({"url": url, **counts}, as_json, f"{url}: {line if found.garbage else 'nothing to delete'}")
