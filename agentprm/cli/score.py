"""`agentprm score`: a scorer's opinion on what is stored."""

from __future__ import annotations

from typing import Any

import click

from agentprm.cli.output import as_json, say

__all__ = ["score"]


@click.command()
@click.argument("url")
@click.argument("scorer")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that share the work.")
@click.option("--follow", is_flag=True, help="Go on with what ends later, until Ctrl-C.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1), help="Trajectories scored at once.")
@click.option("--tries", default=3, show_default=True, type=click.IntRange(1), help="Attempts, then it has failed.")
@click.option("--policy", help="Only this policy's episodes.")
@click.option("--env", help="Only episodes in this environment.")
@as_json
def score(url: str, scorer: str, as_json: bool, **how: Any) -> None:
    """Score every trajectory of the store at URL that SCORER (a folder or name:key=value) has not scored yet.

    Run it on any number of machines against one PostgreSQL, and they share the work. An interruption loses nothing:
    run it again and it goes on. Exits with 1 when some trajectories could not be scored.
    """
    from agentprm.spec import resolve

    scored = resolve("agentprm.serve.scoring:score_store")(url, scorer, say=_remark, **how)
    done, tally = scored.done, scored.tally
    n_trajectories = done.scored + done.none
    whose = f"{scored.name} {scored.digest[:8]}" if scored.job else scorer  # stopped before it was loaded
    lines = [f"{whose} scored {n_trajectories} trajectories, {done.steps} steps → {url}"]
    if done.none:
        lines.append(f"it had no opinion on any step of {done.none} of them")
    if tally.failed:
        lines.append(f"{tally.failed} failed; run the same command to try them again:")
        lines += [f"  {failure.trajectory_id}: {failure.error}" for failure in scored.failures]
    if scored.is_stopped and not how["follow"]:
        where = f"with {tally.left} in the queue" if scored.job else "before it began"
        lines.append(f"stopped {where}; run the same command to go on")
    result = {
        "store": url, "scorer": scored.name, "digest": scored.digest, "job": scored.job,
        "trajectories": n_trajectories, "steps": done.steps, "n_scored": done.scored, "n_none": done.none,
        "n_failed": tally.failed, "n_left": tally.left, "stopped": scored.is_stopped,
        "failures": [{"trajectory": failure.trajectory_id, "error": failure.error} for failure in scored.failures],
    }  # fmt: skip
    say(result, as_json, *lines)
    click.get_current_context().exit(1 if tally.failed or (scored.is_stopped and not how["follow"]) else 0)


def _remark(text: str) -> None:
    click.echo(f"agentprm: {text}", err=True)
