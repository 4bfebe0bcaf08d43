"""Going back into the middle of a recorded episode, and playing it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from agentprm.errors import InvalidTrajectory, ReplayDiverged
from agentprm.record.outcome import OutcomeRule, outcome_of, outcome_rule
from agentprm.spec import resolve
from agentprm.text.describe import describe
from agentprm.types import Action, Ending, Fork, Observation, Policy, Status, Step, Trajectory, Value, new_id

__all__ = ["Replay"]

_TRANSPARENT = (OrderEnforcing, PassiveEnvChecker, TimeLimit)
"""Wrappers whose state is known: under any other, an episode is always replayed."""


class _Place(NamedTuple):
    """A moment of an episode: what was seen and said, and the way back if the environment can be copied."""

    observation: Value
    info: Mapping[str, Value]
    is_over: bool
    snapshot: Any = None
    elapsed: tuple[int | None, ...] = ()


class Replay:
    """Plays recorded episodes on from any step, with a policy, in an environment like the one they were recorded in.

    The episode is replayed from its seed by its native actions, and every observation compared with the recorded one.
    Where ``env.unwrapped`` has ``snapshot()`` and ``restore(snapshot)``, and no other wrapper than Gymnasium's own is
    in between, it is replayed once and then copied; elsewhere once per completion. Chance in the world is drawn anew
    for each completion (from `seed`), for a value is a mean over what may happen. An instance is a
    `agentprm.types.Continue`, as `agentprm.labels.monte_carlo.MonteCarlo` needs one.

    `outcome` and `render` are those of the recorder. A completion that takes `max_steps` is cut off as truncated.

    >>> from agentprm.record.policies import RandomPolicy
    >>> from agentprm.testing.corridor import Corridor
    >>> from agentprm.testing.trajectories import corridors
    >>> trajectory = next(t for t in corridors(9) if len(t) > 2)
    >>> replay = Replay(Corridor(), RandomPolicy())
    >>> completions = replay(trajectory, 0, 4)
    >>> all(c.steps[0] == trajectory.steps[0] and c.ending for c in completions)
    True
    >>> replay.env_steps == sum(len(c) - 1 for c in completions)
    True
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        policy: Policy,
        *,
        outcome: str | OutcomeRule | None = None,
        render: str | Callable[[Value], str] | None = None,
        seed: int = 0,
        max_steps: int = 1000,
    ) -> None:
        self.env, self.policy, self.seed, self.max_steps = env, policy, seed, max_steps
        self.env_steps = 0
        """Steps taken to play on: what the completions cost."""
        self.replayed_steps = 0
        """Steps taken to get back to where an episode was."""
        self._rule = outcome_rule(outcome)
        self._render: Callable[[Value], str] | None = resolve(render) if isinstance(render, str) else render
        self._limits = list(_limits(env))
        self._can_copy = _can_copy(env)
        self._walked: tuple[UUID, list[_Place]] | None = None
        self._completions = 0

    def __call__(self, trajectory: Trajectory, t: int, n: int, /) -> list[Trajectory]:
        """Return `n` completions of the first t + 1 steps, each ended.

        Raises InvalidTrajectory for a trajectory without a seed, ReplayDiverged where the world is another one now,
        IndexError for no such step.
        """
        if not 0 <= t < len(trajectory):
            raise IndexError(f"step {t} of a trajectory of {len(trajectory)} steps")
        return [self._complete(trajectory, t) for _ in range(n)]

    def instead(self, trajectory: Trajectory, t: int, actions: Sequence[Value], /) -> list[Trajectory]:
        """Return forks of an episode in which another action was taken at step t, and then no more: one step each.

        What these steps led to can be judged by a scorer that sees it (see `agentprm.labels.lookahead.Lookahead`). A
        fork that the action ended has an outcome, any other is ``incomplete``. Raises as calling it does.

        >>> from agentprm.record.policies import RandomPolicy
        >>> from agentprm.testing.corridor import Corridor
        >>> from agentprm.testing.trajectories import corridors
        >>> replay, trajectory = Replay(Corridor(), RandomPolicy()), corridors(9)[0]
        >>> [fork.steps[-1].action.text for fork in replay.instead(trajectory, 0, ["wait", "go left"])]
        ['wait', 'go left']
        >>> replay.env_steps
        2
        """
        if not 0 <= t < len(trajectory):
            raise IndexError(f"step {t} of a trajectory of {len(trajectory)} steps")
        return [self._instead(trajectory, t, native) for native in actions]

    def _instead(self, trajectory: Trajectory, t: int, native: Value) -> Trajectory:
        if t:
            self._go(trajectory, t - 1)
        else:
            _require_same(trajectory, 0, self.env.reset(seed=trajectory.seed)[0])
        fork = _prefix(trajectory, t - 1, Fork(trajectory.id, t, intervention={"action": native}))
        fork, info, terminated, truncated = self._step(fork, native, trajectory)
        if not (terminated or truncated):
            return fork.end(Ending("incomplete"))
        return fork.end(self._ending(info, fork.steps[-1].reward, terminated, truncated))

    def _complete(self, trajectory: Trajectory, t: int) -> Trajectory:
        place = self._go(trajectory, t)
        completion = _prefix(trajectory, t, Fork(trajectory.id, t))
        if place.is_over:
            return completion.end(trajectory.ending or Ending("truncated", truncated=True))
        self._completions += 1
        self.env.unwrapped.np_random = np.random.default_rng([self.seed, self._completions])
        info, terminated, truncated = place.info, False, False
        for _ in range(self.max_steps):
            native = self.policy(completion, info)
            completion, info, terminated, truncated = self._step(completion, native, trajectory)
            if terminated or truncated:
                break
        return completion.end(self._ending(info, completion.steps[-1].reward, terminated, truncated))

    def _step(self, so_far: Trajectory, native: Value, like: Trajectory) -> tuple[Trajectory, Any, bool, bool]:
        """Take an action; return the episode with it, the info, and whether it ended or was cut off."""
        seen, pay, terminated, truncated, info = self.env.step(native)
        self.env_steps += 1
        action = Action(native if type(native) is str else "", native=native)
        longer = so_far.append(Step(so_far.last, action, float(pay), info), self._observe(seen, like))
        return longer, info, bool(terminated), bool(truncated)

    def _ending(self, info: Any, reward: float, terminated: bool, truncated: bool) -> Ending:
        status: Status = "terminated" if terminated else "truncated"
        return Ending(status, terminated, truncated or not terminated, outcome_of(info, reward, self._rule))

    def _observe(self, native: Value, like: Trajectory) -> Observation:
        """Return what is seen now, in the form in which the episode was recorded."""
        kept = native.copy() if isinstance(native, np.ndarray) else native
        text = str(self._render(native)) if self._render else native if type(native) is str else ""
        return Observation(text, kept if like.observations[0].native is not None else None)

    def _go(self, trajectory: Trajectory, t: int) -> _Place:
        """Bring the environment to after step t."""
        if not self._can_copy:
            return list(self._walk(trajectory, t))[-1]
        if self._walked is None or self._walked[0] != trajectory.id:
            self._walked = (trajectory.id, list(self._walk(trajectory, len(trajectory) - 1)))
        place = self._walked[1][t]
        if not place.is_over:
            self.env.unwrapped.restore(place.snapshot)  # type: ignore[attr-defined]
            for limit, elapsed in zip(self._limits, place.elapsed, strict=True):
                limit._elapsed_steps = elapsed
        return place

    def _walk(self, trajectory: Trajectory, t: int) -> Iterator[_Place]:
        """Replay up to and with step t; yield where each step led."""
        if trajectory.seed is None:
            raise InvalidTrajectory(
                f"trajectory {trajectory.id} was recorded without a seed, and cannot be replayed: env.reset(seed=...)"
            )
        seen, info = self.env.reset(seed=trajectory.seed)
        _require_same(trajectory, 0, seen)
        for i, step in enumerate(trajectory.steps[: t + 1]):
            native = step.action.text if step.action.native is None else step.action.native
            seen, _, terminated, truncated, info = self.env.step(native)
            self.replayed_steps += 1
            _require_same(trajectory, i + 1, seen)
            is_over = bool(terminated or truncated)
            if is_over and i + 1 < len(trajectory):
                raise ReplayDiverged(
                    f"replaying {trajectory.id}, the episode ended after step {i}; recorded, it went on"
                )
            yield self._place(seen, info, is_over)

    def _place(self, seen: Value, info: Mapping[str, Value], is_over: bool) -> _Place:
        if not self._can_copy or is_over:
            return _Place(seen, info, is_over)
        snapshot = self.env.unwrapped.snapshot()  # type: ignore[attr-defined]
        return _Place(seen, info, is_over, snapshot, tuple(limit._elapsed_steps for limit in self._limits))


def _wrappers(env: gym.Env[Any, Any]) -> Iterator[gym.Wrapper[Any, Any, Any, Any]]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env


def _limits(env: gym.Env[Any, Any]) -> Iterator[Any]:
    return (wrapper for wrapper in _wrappers(env) if isinstance(wrapper, TimeLimit))


def _can_copy(env: gym.Env[Any, Any]) -> bool:
    can = callable(getattr(env.unwrapped, "snapshot", None)) and callable(getattr(env.unwrapped, "restore", None))
    return can and all(type(wrapper) in _TRANSPARENT for wrapper in _wrappers(env))


def _prefix(trajectory: Trajectory, t: int, parent: Fork) -> Trajectory:
    """Return a new trajectory that begins with the first t + 1 steps."""
    return Trajectory(
        new_id(),
        trajectory.task,
        trajectory.steps[: t + 1],
        trajectory.observations[t + 1],
        env=trajectory.env,
        seed=trajectory.seed,
        parent=parent,
        meta=trajectory.meta,
    )


def _require_same(trajectory: Trajectory, i: int, seen: Value) -> None:
    recorded = trajectory.observations[i]
    now = Observation(recorded.text, _bare(seen)) if recorded.native is not None else Observation(describe(seen))
    if now != Observation(recorded.text, _bare(recorded.native), recorded.images):
        was = recorded.text if recorded.native is None else describe(recorded.native)
        raise ReplayDiverged(
            f"replaying {trajectory.id}, observation {i} is {describe(seen)[:200]!r}; recorded was {was[:200]!r}: the "
            "environment, its settings or its version differ, or it draws chance that its seed does not fix"
        )


def _bare(value: Value) -> Value:
    """Return a value with Python's own numbers: a vector of environments made NumPy's of them."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
        return value.item()
    if type(value) is dict:
        return {key: _bare(v) for key, v in value.items()}
    return type(value)(map(_bare, value)) if type(value) in (list, tuple) else value
