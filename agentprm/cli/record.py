"""`agentprm record`: episodes of an environment into a store."""

from __future__ import annotations

from typing import Any

import click

from agentprm.cli.output import as_json, say

__all__ = ["record"]


@click.command()
@click.argument("env")
@click.option("-o", "--store", "url", required=True, help="Where to: a file or database URL.")
@click.option("--episodes", type=click.IntRange(1), help="How many episodes.")
@click.option("--steps", type=click.IntRange(1), help="Until so many steps were taken.")
@click.option(
    "--policy", default="random", show_default=True, help="'random', a cloned policy's folder, or module:function."
)
@click.option("--scorer", help="Also score live: a model's folder or name:key=value.")
@click.option("--outcome", help="'reward', or module:function of the final info and reward.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first episode; the others count up.")
@as_json
def record(
    env: str,
    url: str,
    episodes: int | None,
    steps: int | None,
    policy: str,
    scorer: str | None,
    outcome: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Play ENV (a Gymnasium id, module:id) and record every step.

    Example: agentprm record agentprm_envs:BabyAIText/UnlockPickup-v0 -o runs.db --episodes 100
    """
    import gymnasium as gym

    from agentprm.cli._policy import made, named_policy
    from agentprm.feedback.gymnasium import PRMRewardWrapper
    from agentprm.record.gymnasium import TrajectoryRecorder
    from agentprm.record.rollout import rollout
    from agentprm.store.store import Store

    if (episodes is None) == (steps is None):
        raise click.UsageError("say how long to play: give either --episodes or --steps")
    bare = made(env)
    plays = named_policy(policy, bare, seed)
    with Store(url) as store:
        if scorer is None:
            wrapped: gym.Env[Any, Any] = TrajectoryRecorder(bare, store, outcome=outcome, policy=policy)
        else:
            wrapped = PRMRewardWrapper(bare, scorer, store, outcome=outcome, policy=policy)
        played = rollout(plays, wrapped, episodes=episodes, steps=steps, seeds=seed)
        wrapped.close()
    n_steps, known = sum(map(len, played)), [t.outcome for t in played if t.outcome is not None]
    success = sum(known) / len(known) if known else None
    result = {"store": url, "episodes": len(played), "steps": n_steps, "success": success}
    rate = "no outcome known" if success is None else f"success {success:.1%}"
    say(result, as_json, f"{len(played)} episodes, {n_steps} steps, {rate} → {url}")
