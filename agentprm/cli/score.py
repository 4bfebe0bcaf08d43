"""`agentprm score`: a scorer's opinion on what is stored."""

from __future__ import annotations

from itertools import islice

import click

from agentprm.cli.output import as_json, say

__all__ = ["score"]

_BATCH = 32


@click.command()
@click.argument("url")
@click.argument("scorer")
@click.option("--policy", help="Only this policy's episodes.")
@click.option("--env", help="Only episodes in this environment.")
@as_json
def score(url: str, scorer: str, policy: str | None, env: str | None, as_json: bool) -> None:
    """Score every trajectory of the store at URL that SCORER (a folder or name:key=value) has not scored yet.

    An interruption loses nothing: run it again and it goes on.
    """
    from agentprm.progress import progress_bar
    from agentprm.spec import make
    from agentprm.store.store import Store

    model = make(scorer)
    spec, n_trajectories, n_steps = model.spec, 0, 0
    with Store(url, create=False) as store, progress_bar("scoring", None) as advance:
        waiting = store.trajectories(without=spec, policy=policy, env=env)
        while batch := list(islice(waiting, _BATCH)):
            batch = [trajectory for trajectory in batch if len(trajectory)]
            store.add(model(batch))
            n_trajectories += len(batch)
            n_steps += sum(map(len, batch))
            advance(len(batch), f"{n_steps} steps")
    counts = {"trajectories": n_trajectories, "steps": n_steps}
    line = f"{spec.name} {spec.digest[:8]} scored {n_trajectories} trajectories, {n_steps} steps → {url}"
    say({"store": url, "scorer": spec.name, "digest": spec.digest, **counts}, as_json, line)
