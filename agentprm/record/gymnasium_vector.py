"""Recording a vector of Gymnasium environments: one trajectory per episode of each of them, no phantom steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from agentprm.errors import InvalidTrajectory
from agentprm.record._vectors import info_of, one_of, reset_mask, seeds_of, split
from agentprm.record.outcome import OutcomeRule
from agentprm.record.recorder import Recorder, StoreForm, TaskForm
from agentprm.record.wiring import require_wiring
from agentprm.spec import resolve
from agentprm.types import Observation, Step, Trajectory, Value

__all__ = ["Moved", "VectorRecorder", "VectorTrajectoryRecorder", "said"]


class Moved(NamedTuple):
    """One environment that really stepped in a vector step."""

    i: int
    step: Step
    result: Observation
    terminated: bool
    truncated: bool


class VectorRecorder:
    """One recorder per environment, all writing to one store, which is opened at the first reset."""

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        store: StoreForm,
        *,
        durability: str | None = None,
        **settings: Any,
    ) -> None:
        self._env, self._form, self._durability, self._settings = env, store, durability, settings
        Recorder(**settings)  # what cannot work is refused now, not at the first reset
        self._store: Any = None
        self._over = np.zeros(env.num_envs, dtype=bool)
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._one: Any = None
        self.recorders: list[Recorder] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> VectorRecorder:
        """Copy the settings; the open episodes stay with the original, the store is shared."""
        new = memo[id(self)] = object.__new__(type(self))
        new.__dict__ = {**self.__getstate__(), "_env": copy.deepcopy(self._env, memo)}
        return new

    @property
    def store(self) -> StoreForm:
        """Where it records, as it was given: an open store, a URL, or None."""
        return self._form

    def __getstate__(self) -> dict[str, Any]:
        """Leave the connection and the open episodes behind."""
        return {**self.__dict__, "_store": None, "_one": None, "_over": np.zeros_like(self._over), "recorders": []}

    def require_open(self) -> None:
        """Return if a step may be taken.

        Raises ResetNeeded before a reset; InvalidTrajectory after the end of an environment that does not reset itself.
        """
        if not self.recorders:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        if self._mode is AutoresetMode.DISABLED and self._over.any():
            over = np.flatnonzero(self._over).tolist()
            raise InvalidTrajectory(
                f"a step after the episodes of the environments {over} ended: reset them first, "
                'with options={"reset_mask": ...}'
            )

    def reset(self, observations: Any, infos: Mapping[str, Any], seed: Any, mask: Any) -> list[int]:
        """Begin the episodes of the environments that were reset; return which."""
        self._open()
        self._one = self._one or one_of(self._env)
        seeds = seeds_of(self._env, seed)
        chosen = [i for i in range(self._env.num_envs) if mask is None or mask[i]]
        seen = split(self._env.observation_space, observations)
        for i in chosen:
            self._begin(i, seen[i], info_of(infos, i), seeds[i])
        return chosen

    def look(self, actions: Any, outcome: tuple[Any, Any, Any, Any, Any]) -> tuple[list[Moved], list[int]]:
        """Return the environments that stepped, and those that only began a new episode (NEXT_STEP) in this call.

        Episodes of the latter are begun here.
        """
        observations, rewards, terminations, truncations, infos = outcome
        moved, begun = [], []
        seen = split(self._env.observation_space, observations)
        taken = split(self._env.action_space, actions)
        for i, recorder in enumerate(self.recorders):
            if self._over[i]:
                if self._mode is AutoresetMode.NEXT_STEP:
                    self._begin(i, seen[i], info_of(infos, i))
                    begun.append(i)
                continue
            over = bool(terminations[i] or truncations[i])
            native, info = self._result(seen[i], infos, i, over)
            step, result = recorder.look(taken[i], native, float(rewards[i]), info)
            moved.append(Moved(i, step, result, bool(terminations[i]), bool(truncations[i])))
        return moved, begun

    def settle(self, moved: Sequence[Moved], observations: Any, infos: Mapping[str, Any]) -> list[int]:
        """Note which episodes ended; begin the next ones where the call already reset (SAME_STEP), and return which."""
        for m in moved:
            self._over[m.i] = m.terminated or m.truncated
        if self._mode is not AutoresetMode.SAME_STEP or not self._over.any():
            return []
        seen = split(self._env.observation_space, observations)
        begun: list[int] = np.flatnonzero(self._over).tolist()
        for i in begun:
            own = {k: v for k, v in info_of(infos, i).items() if k not in ("final_obs", "final_info")}
            self._begin(i, seen[i], own)
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
        self.recorders = []
        store, self._store = self._store, None
        if store is not None and store is not self._form:
            store.close()

    def _begin(self, i: int, observation: Any, info: dict[str, Any], seed: int | None = None) -> None:
        self.recorders[i].begin(self._one, observation, info, seed)
        self._over[i] = False

    def _result(self, observation: Any, infos: Mapping[str, Any], i: int, over: bool) -> tuple[Any, dict[str, Any]]:
        if not over or self._mode is not AutoresetMode.SAME_STEP:
            return observation, info_of(infos, i)
        return infos["final_obs"][i], info_of(infos.get("final_info", {}), i)

    def _open(self) -> None:
        if self._store is None and self._form is not None:
            is_url = isinstance(self._form, (str, Path))
            # By name: a recorder knows that there are stores, not how one is made.
            self._store = (
                resolve("agentprm.store.store:Store")(self._form, durability=self._durability) if is_url else self._form
            )
        if not self.recorders:
            self.recorders = [Recorder(self._store, **self._settings) for _ in range(self._env.num_envs)]


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
        require_wiring(env, store, durability)
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
        self.recorder.require_open()
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


def said(recorder: VectorRecorder, begun: Sequence[int]) -> dict[str, Any]:
    """Return the infos of episodes that began: their trajectories' ids, masked."""
    n = len(recorder.recorders)
    ids, mask = np.full(n, None, dtype=object), np.zeros(n, dtype=bool)
    for i in begun:
        ids[i], mask[i] = str(recorder.trajectory(i).id), True
    return {"prm": {"trajectory": ids, "_trajectory": mask}, "_prm": mask.copy()}
