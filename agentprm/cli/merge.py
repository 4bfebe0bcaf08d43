"""`agentprm merge`: several stores become one."""

from __future__ import annotations

import click

from agentprm.cli.output import as_json, say

__all__ = ["merge"]


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.argument("target")
@as_json
def merge(sources: tuple[str, ...], target: str, as_json: bool) -> None:
    """Add what SOURCES hold to TARGET, files or database URLs alike; TARGET is made if it is not there.

    Merging again adds nothing, and an interruption loses nothing: run it again and it goes on.
    """
    from agentprm.store import merge as stores

    new = stores.merge(sources, target)
    said = ", ".join(f"{n} {name}" for name, n in new._asdict().items())
    say({"sources": list(sources), "target": target, **new._asdict()}, as_json, f"new in {target}: {said}")
