"""Episodes by a policy in an environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import gymnasium as gym

from agentprm.errors import InvalidSpec, InvalidTrajectory
from agentprm.progress import progress_bar
from agentprm.record.gymnasium import TrajectoryRecorder
from agentprm.record.parallel import play_in_processes
from agentprm.record.recorder import StoreForm
from agentprm.record.wiring import store_of
from agentprm.types import Policy, Trajectory

__all__ = ["play", "rollout"]


def rollout(
    policy: Policy,
    env: gym.Env[Any, Any],
    *,
    episodes: int | None = None,
    steps: int | None = None,
    seeds: int | Iterable[int] = 0,
    store: StoreForm = None,
    workers: int = 1,
    progress: bool | None = None,
) -> list[Trajectory]:
    """Return the episodes that `policy` plays in `env`: so many `episodes`, or until so many `steps` were taken.

    `seeds` are one per episode, or a first one to count up from. Episodes go to `store` as they are played, unless
    `env` holds a recorder already; an interruption loses none of them. A last episode that passes `steps` is played to
    its end. With several `workers` (processes; only with `episodes`), each remakes `env` from its spec and opens the
    store by its URL. `progress` draws a bar, by default on a terminal. Raises InvalidTrajectory when neither limit is
    given or the seeds run out, InvalidSpec for a `store` beside a wrapper in `env` that records without one.

    >>> import gymnasium as gym
    >>> env = gym.make("FrozenLake-v1")
    >>> len(rollout(lambda trajectory, info: 2, env, episodes=3))
    3
    """
    if (episodes is None) == (steps is None):
        raise InvalidTrajectory("say how long to play: give either episodes= or steps=")
    _require_kept(env, store)
    chosen = iter(count(seeds) if isinstance(seeds, int) else seeds)
    if workers > 1 and episodes is not None:
        return _spread(policy, env, [_next(chosen, i) for i in range(episodes)], store, workers, progress)
    recording = recorded(env, store)
    played: list[Trajectory] = []
    n_steps = 0
    try:
        with progress_bar("playing", episodes or steps, progress) as advance:
            while (len(played) < episodes) if episodes is not None else (n_steps < (steps or 0)):
                played.append(play(policy, recording, _next(chosen, len(played))))
                n_steps += len(played[-1])
                advance(1 if episodes else len(played[-1]), _share(played))
    finally:
        if recording is not env:
            recording.recorder.close()
    return played


def _spread(
    policy: Policy, env: gym.Env[Any, Any], seeds: list[int], store: StoreForm, workers: int, progress: bool | None
) -> list[Trajectory]:
    played: list[Trajectory] = []
    with progress_bar("playing", len(seeds), progress) as advance:
        for trajectory in play_in_processes(policy, env, seeds, store, workers):
            played.append(trajectory)
            advance(1, _share(played))
    return played


def play(policy: Policy, env: gym.Env[Any, Any], seed: int | None = None) -> Trajectory:
    """Return one episode of `policy` in an environment, played to its end."""
    recording = recorded(env)
    recorder = _recorder(recording)
    _, info = recording.reset(seed=seed)
    over = False
    while not over:
        action = policy(recorder.trajectory, info)
        _, _, terminated, truncated, info = recording.step(action)
        over = terminated or truncated
    trajectory: Trajectory = recorder.trajectory
    return trajectory


def _next(seeds: Iterator[int], n_played: int) -> int:
    for seed in seeds:
        return seed
    raise InvalidTrajectory(f"every episode needs a seed, and there were only {n_played}: give more, or a first one")


def _wrappers(env: gym.Env[Any, Any]) -> Iterator[Any]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env


def _recorder(env: gym.Env[Any, Any]) -> Any:
    return next((wrapper for wrapper in _wrappers(env) if hasattr(type(wrapper), "trajectory")), None)


def _require_kept(env: gym.Env[Any, Any], store: StoreForm) -> None:
    wrapper = _recorder(env)
    if store is not None and wrapper is not None and store_of(wrapper) is None:
        name = type(wrapper).__name__
        raise InvalidSpec(f"{name} in this environment records without a store: give it to {name}, not to rollout")


def recorded(env: gym.Env[Any, Any], store: StoreForm = None) -> Any:
    """Return an environment that records: as it is where a wrapper in it does, else in a `TrajectoryRecorder`."""
    return TrajectoryRecorder(env, store) if _recorder(env) is None else env


def _share(played: list[Trajectory]) -> str:
    outcomes = [t.outcome for t in played if t.outcome is not None]
    return f"success {sum(outcomes) / len(outcomes):.0%}" if outcomes else ""
