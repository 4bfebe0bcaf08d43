"""`agentprm label`: step labels for what is stored."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from agentprm.cli.output import as_json, say

__all__ = ["label"]

_PLAYING_ON = ("monte_carlo", "omega")
_ASKING = ("temporal", "lookahead")
_BATCH = 16


@click.command()
@click.argument("url")
@click.argument("method")
@click.option("--critic", help="For temporal and lookahead: the critic, a model's folder or name:key=value.")
@click.option("--env", "env_id", help="For monte_carlo and omega: the Gymnasium id of the environment to play on in.")
@click.option("--policy", default="random", show_default=True, help="Who plays on there (module:function).")
@click.option("--limit", type=click.IntRange(1), help="At most so many episodes.")
@as_json
def label(
    url: str, method: str, critic: str | None, env_id: str | None, policy: str, limit: int | None, as_json: bool
) -> None:
    """Label every ended trajectory of the store at URL that METHOD (name:key=value) has not labelled yet.

    outcome; outcome:last_only=true; temporal:lambda_=0.95 or lookahead with --critic; monte_carlo:rollouts=8 or
    omega with --env; pooled:episodes=runs.db.
    """
    from agentprm.progress import progress_bar
    from agentprm.store.store import Store

    labels = _method(method, critic, env_id, policy)
    spec, n_trajectories, n_labels, n_env_steps = labels.spec, 0, 0, 0
    with Store(url, create=False) as store, progress_bar("labelling", limit) as advance:
        waiting = store.trajectories(without=spec, ended=True, limit=limit)
        while batch := list(islice(waiting, _BATCH)):
            made = [s for s in labels([t for t in batch if len(t)]) if any(v is not None for v in s.values)]
            store.add(made)
            n_trajectories += len(made)
            n_labels += sum(v is not None for s in made for v in s.values)
            n_env_steps += int(sum(v or 0 for s in made for v in s.parts.get("env_steps", ())))
            advance(len(batch), f"{n_labels} labels")
    counts = {"trajectories": n_trajectories, "labels": n_labels, "env_steps": n_env_steps}
    line = f"{spec.name} labelled {n_labels} steps of {n_trajectories} trajectories, {n_env_steps} env steps → {url}"
    say({"store": url, "method": spec.name, "digest": spec.digest, **counts}, as_json, line)


def _method(text: str, critic: str | None, env_id: str | None, policy: str) -> Any:
    from agentprm.spec import find, make, parse

    spec = parse(text)
    if spec.name in _ASKING:
        if critic is None:
            raise click.UsageError(f"{spec.name} needs a critic: give --critic, a model's folder or constant:value=0.5")
        return find(spec.name)(make(critic), **spec.params)
    if spec.name in _PLAYING_ON:
        from agentprm.cli._policy import made, named_policy
        from agentprm.record.replay import Replay

        if env_id is None:
            raise click.UsageError(f"{spec.name} plays on from the middle of episodes: give --env, a Gymnasium id")
        env = made(env_id)
        return find(spec.name)(Replay(env, named_policy(policy, env)), **spec.params)
    scorer = make(spec)
    if scorer.sees != "episode":
        raise click.UsageError(f"{spec.name} is no label method but a scorer: use `agentprm score`")
    return scorer
