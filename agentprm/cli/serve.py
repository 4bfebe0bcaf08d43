"""`agentprm serve`: a scorer for others, over HTTP."""

from __future__ import annotations

import signal
import sys

import click

from agentprm.cli.output import as_json, say

__all__ = ["serve"]


@click.command()
@click.argument("scorer")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; elsewhere a token is asked."
)
@click.option("--port", default=8421, show_default=True, type=click.IntRange(0, 65535), help="0 is any that is free.")
@click.option("--token", default="", envvar="AGENTPRM_API_KEY", help="What is asked for; else AGENTPRM_API_KEY.")
@click.option("--allow-host", "names", multiple=True, help="A name this is reached by, as through a proxy.")
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1), help="Trajectories in one call.")
@click.option("--max-mb", default=64, show_default=True, type=click.IntRange(1), help="Megabytes in one request.")
@as_json
def serve(
    scorer: str, host: str, port: int, token: str, names: tuple[str, ...], batch_size: int, max_mb: int, as_json: bool
) -> None:
    """Serve SCORER (a folder or name:key=value) until Ctrl-C; "remote:url=http://HOST:PORT" then stands for it.

    Requests that are on their way are answered first. Example: agentprm serve model
    """
    from agentprm.spec import make, resolve

    server_of = resolve("agentprm.serve.scores:ScoreServer")
    served = make(scorer)
    spec, options = served.spec, {"names": names, "batch_size": batch_size, "most_bytes": max_mb * 2**20}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server_of(served, host, port, token=token, **options) as server:
        what = {"scorer": spec.name, "digest": spec.digest, "unit": served.unit, "sees": served.sees}
        lines = [f"{spec.name} {spec.digest[:8]} → {server.url} (Ctrl-C ends)"]
        if server.token and not token:
            lines.append(f"AGENTPRM_API_KEY={server.token}")
        say({"url": server.url, "token": server.token or None, **what}, as_json, *lines)
        sys.stdout.flush()
        try:
            server.run()
        except KeyboardInterrupt:
            click.echo("", err=True)
