"""Episodes by a policy in an environment, in several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

import cloudpickle
import gymnasium as gym

from agentprm.errors import InvalidSpec
from agentprm.record.recorder import StoreForm, plain
from agentprm.types import Policy, Trajectory

__all__ = ["play_in_processes"]

_worker: Any = None
"""What a worker process plays: policy and environment, made once."""


def play_in_processes(
    policy: Policy, env: gym.Env[Any, Any], seeds: Sequence[int], store: StoreForm, workers: int
) -> Iterator[Trajectory]:
    """Yield an episode per seed, in the order of the seeds, played by so many processes.

    Each worker remakes the environment from its spec and opens the store by its URL. A policy that can be ``seeded``
    is, by each episode's own seed: the same episodes come out whatever the number of workers. Raises InvalidSpec for an
    environment or a store that cannot be remade.
    """
    spec = env.spec
    if spec is None:
        raise InvalidSpec(
            f"{env} has no spec to remake it from in another process: make it with gym.make, or workers=1"
        )
    url = plain(store)
    if isinstance(url, dict):
        raise InvalidSpec(f"{url['live']} cannot be opened in another process: give the URL of a file or server")
    made = cloudpickle.dumps((policy, spec, url))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(made,)) as pool:
        yield from _in_order(pool, seeds, 2 * workers)


def _in_order(pool: ProcessPoolExecutor, seeds: Sequence[int], ahead: int) -> Iterator[Trajectory]:
    """Yield results in the order of the seeds, with a bounded number of episodes under way."""
    going: dict[int, Future[Trajectory]] = {}
    try:
        for i in range(len(seeds)):
            for j in range(i, min(i + ahead, len(seeds))):
                if j not in going:
                    going[j] = pool.submit(_play, seeds[j])
            wait([going[i]], return_when=FIRST_COMPLETED)
            yield going.pop(i).result()
    finally:
        for future in going.values():
            future.cancel()


def _begin(made: bytes) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from agentprm.record.rollout import recorded

    policy, spec, url = cloudpickle.loads(made)
    _worker = policy, recorded(gym.make(spec), url)


def _play(seed: int) -> Trajectory:
    from agentprm.record.rollout import play

    policy, env = _worker
    return play(policy.seeded(seed) if hasattr(policy, "seeded") else policy, env, seed)
