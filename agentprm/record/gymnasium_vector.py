"""Recording a vector of Gymnasium environments: one trajectory per episode of each of them, no phantom steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate

from agentprm.record.outcome import OutcomeRule
from agentprm.record.recorder import Recorder, StoreForm, TaskForm
from agentprm.spec import resolve
from agentprm.types import Observation, Step, Trajectory, Value

__all__ = ["Moved", "VectorRecorder", "VectorTrajectoryRecorder", "info_of"]


class Moved(NamedTuple):
    """One environment that really stepped in a vector step."""

    i: int
    step: Step
    result: Observation
    terminated: bool
    truncated: bool


def info_of(infos: Mapping[str, Any], i: int) -> dict[str, Any]:
    """Return what a vector's infos say of environment `i`, read through their masks.

    >>> info_of({"x": np.array([1, 0]), "_x": np.array([True, False])}, 0), info_of({"x": np.array([1, 0])}, 1)
    ({'x': 1}, {'x': 0})
    """
    own: dict[str, Any] = {}
    for key, value in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        mask = infos.get(f"_{key}")
        if mask is not None and not mask[i]:
            continue
        own[key] = info_of(value, i) if isinstance(value, Mapping) else _item(value[i])
    return own


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


class VectorRecorder:
    """One recorder per environment, all writing to one store, which is opened at the first reset."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], store: StoreForm, **settings: Any) -> None:
        self._env, self._form, self._settings = env, store, settings
        self._store: Any = None
        self._over = np.zeros(env.num_envs, dtype=bool)
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.recorders: list[Recorder] = []

    def reset(self, observations: Any, infos: Mapping[str, Any], seed: Any, mask: Any) -> list[int]:
        """Begin the episodes of the environments that were reset; return which."""
        self._open()
        seeds = self._seeds(seed)
        chosen = [i for i in range(self._env.num_envs) if mask is None or mask[i]]
        split = self._split(observations)
        for i in chosen:
            self.recorders[i].begin(self._env, split[i], info_of(infos, i), seeds[i])  # type: ignore[arg-type]
            self._over[i] = False
        return chosen

    def look(self, actions: Any, outcome: tuple[Any, Any, Any, Any, Any]) -> tuple[list[Moved], list[int]]:
        """Return the environments that stepped, and those that only began a new episode (NEXT_STEP) in this call.

        Episodes of the latter are begun here.
        """
        observations, rewards, terminations, truncations, infos = outcome
        moved, begun = [], []
        split, taken = self._split(observations), self._split_actions(actions)
        for i, recorder in enumerate(self.recorders):
            if self._over[i]:
                if self._mode is AutoresetMode.NEXT_STEP:
                    recorder.begin(self._env, split[i], info_of(infos, i), None)  # type: ignore[arg-type]
                    self._over[i] = False
                    begun.append(i)
                continue
            over = bool(terminations[i] or truncations[i])
            native, info = self._result(split[i], infos, i, over)
            step, result = recorder.look(taken[i], native, float(rewards[i]), info)
            moved.append(Moved(i, step, result, bool(terminations[i]), bool(truncations[i])))
        return moved, begun

    def settle(self, moved: Sequence[Moved], observations: Any, infos: Mapping[str, Any]) -> list[int]:
        """Note which episodes ended; begin the next ones where the call already reset (SAME_STEP), and return which."""
        begun, split = [], self._split(observations)
        for m in moved:
            self._over[m.i] = m.terminated or m.truncated
            if self._over[m.i] and self._mode is AutoresetMode.SAME_STEP:
                own = {k: v for k, v in info_of(infos, m.i).items() if k not in ("final_obs", "final_info")}
                self.recorders[m.i].begin(self._env, split[m.i], own, None)  # type: ignore[arg-type]
                self._over[m.i] = False
                begun.append(m.i)
        return begun

    def trajectory(self, i: int) -> Trajectory:
        """Return the current episode of environment `i` so far."""
        episode = self.recorders[i].episode if self.recorders else None
        if episode is None:
            raise gym.error.ResetNeeded("there is no trajectory before reset(): call reset() first")
        return episode.trajectory

    def close(self) -> None:
        """Leave the open episodes as incomplete, and the store if this recorder opened it."""
        for recorder in self.recorders:
            recorder.close()
        store, self._store = self._store, None
        if store is not None and store is not self._form:
            store.close()

    def _result(self, observation: Any, infos: Mapping[str, Any], i: int, over: bool) -> tuple[Any, dict[str, Any]]:
        if not over or self._mode is not AutoresetMode.SAME_STEP:
            return observation, info_of(infos, i)
        return infos["final_obs"][i], info_of(infos.get("final_info", {}), i)

    def _open(self) -> None:
        if self._store is None and self._form is not None:
            durability = self._settings.get("durability")
            is_url = isinstance(self._form, (str, Path))
            # By name: a recorder knows that there are stores, not how one is made.
            self._store = (
                resolve("agentprm.store.store:Store")(self._form, durability=durability) if is_url else self._form
            )
        if not self.recorders:
            self.recorders = [Recorder(self._store, **self._settings) for _ in range(self._env.num_envs)]

    def _split(self, observations: Any) -> list[Any]:
        return list(_iterate(self._env.observation_space, observations, self._env.num_envs))

    def _split_actions(self, actions: Any) -> list[Any]:
        return list(_iterate(self._env.action_space, actions, self._env.num_envs))

    def _seeds(self, seed: Any) -> list[int | None]:
        n = self._env.num_envs
        if seed is None:
            return [None] * n
        return [seed + i for i in range(n)] if isinstance(seed, int) else list(seed)


def _iterate(space: gym.Space[Any], batch: Any, n: int) -> Iterator[Any]:
    if isinstance(batch, (tuple, list)) and len(batch) == n:
        return iter(batch)
    return iterate(space, batch)


class VectorTrajectoryRecorder(gym.vector.VectorWrapper):
    """A vector of environments whose episodes are recorded; otherwise it is the same vector.

    Works for every autoreset mode: the call that merely resets an environment (NEXT_STEP) is no step, the final
    observation (SAME_STEP) is the one that the last action led to. Arguments as for `TrajectoryRecorder`. Ids of
    trajectories that began are in ``infos["prm"]["trajectory"]``, masked.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        store: StoreForm = None,
        *,
        task: TaskForm = None,
        render: str | Callable[[Value], str] | None = None,
        outcome: str | OutcomeRule | None = None,
        policy: str | None = None,
        durability: str | None = None,
    ) -> None:
        super().__init__(env)
        words = {"task": task, "render": render, "outcome": outcome}
        self.recorder = VectorRecorder(env, store, **words, policy=policy, durability=durability)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the episodes of all environments, or of those in ``options["reset_mask"]``."""
        mask = reset_mask(options)
        observations, infos = self.env.reset(seed=seed, options=dict(options) if options else options)
        begun = self.recorder.reset(observations, infos, seed, mask)
        return observations, {**infos, **said(self.recorder, begun)}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step in every environment and record it; everything is passed on as it came."""
        outcome = self.env.step(actions)
        observations, *rest, infos = outcome
        moved, begun = self.recorder.look(actions, outcome)
        for m in moved:
            self.recorder.recorders[m.i].take(m.step, m.result, m.terminated, m.truncated)
        begun += self.recorder.settle(moved, observations, infos)
        return observations, *rest, {**infos, **said(self.recorder, begun)} if begun else infos

    def close(self, **options: Any) -> None:
        """Leave the open episodes as incomplete, and the store if this wrapper opened it."""
        self.recorder.close()
        super().close(**options)


def reset_mask(options: Mapping[str, Any] | None) -> Any:
    """Return a copy of the mask of environments to reset: gymnasium takes it out of the caller's dict."""
    mask = (options or {}).get("reset_mask")
    return None if mask is None else np.array(mask, dtype=bool)


def said(recorder: VectorRecorder, begun: Sequence[int]) -> dict[str, Any]:
    """Return the infos of episodes that began: their trajectories' ids, masked."""
    n = len(recorder.recorders)
    ids, mask = np.full(n, None, dtype=object), np.zeros(n, dtype=bool)
    for i in begun:
        ids[i], mask[i] = str(recorder.trajectory(i).id), True
    return {"prm": {"trajectory": ids, "_trajectory": mask}, "_prm": mask.copy()}
