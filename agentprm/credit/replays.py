"""Playing a recorded episode again from one of its steps, with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import gymnasium as gym
import numpy as np

from agentprm.errors import InvalidTrajectory, NoSuchTrajectory
from agentprm.progress import progress_bar
from agentprm.record.gymnasium import TrajectoryRecorder
from agentprm.record.outcome import OutcomeRule
from agentprm.record.replay import Replay
from agentprm.record.rollout import play
from agentprm.store.store import Store
from agentprm.types import Ending, Fork, Policy, Trajectory, Value

__all__ = ["counterfactual"]

_ABSENT: Any = object()


def counterfactual(
    store: Store,
    env: gym.Env[Any, Any],
    trajectory: Trajectory | UUID,
    step: int,
    *,
    continue_: Policy,
    action: Value = _ABSENT,
    without_tool: str | None = None,
    drop: bool = False,
    n: int = 8,
    seed: int = 0,
    outcome: str | OutcomeRule | None = None,
    render: str | Callable[[Value], str] | None = None,
    max_steps: int = 1000,
    progress: bool | None = None,
) -> list[Trajectory]:
    """Return `n` new episodes that part from a recorded one at `step`, stored with it as their parent.

    At that step `action` is taken instead of the recorded one, or the step is left out (`drop`), and then the policy
    `continue_` plays on to the end; or it plays on from there `without_tool`: what starts with that word is no longer
    among ``info["actions"]``, and an agent left without any action has failed (outcome 0). With none of the three the
    recorded action is kept: that is the baseline that `effects` compares with. `env`, `outcome` and `render` are those
    of the recording; chance in the world is drawn anew (`seed`).

    Raises InvalidTrajectory for several interventions, a trajectory without a seed, and a policy that goes on calling
    the tool; ReplayDiverged where the world is another one now; NoSuchTrajectory; IndexError for no such step.
    """
    recorded = _recorded(store, trajectory)
    if not 0 <= step < len(recorded):
        raise IndexError(f"step {step} of a trajectory of {len(recorded)} steps")
    if recorded.seed is None:
        raise InvalidTrajectory(f"trajectory {recorded.id} was recorded without a seed, and cannot be replayed")
    given = {"action": action, "without_tool": without_tool, "drop": drop}
    chosen = {name: value for name, value in given.items() if value is not _ABSENT and value not in (None, False)}
    if len(chosen) > 1:
        raise InvalidTrajectory(f"one intervention at a time: give {' or '.join(chosen)}")
    policy: Policy = _Changed(continue_, step, chosen) if chosen else continue_
    replay = Replay(env, policy, outcome=outcome, render=render, seed=seed, max_steps=max_steps)
    fork = Fork(recorded.id, step, None, chosen)
    last_kept = step - 1 if chosen else step
    made = []
    with progress_bar("playing again", n, progress) as advance:
        for i in range(n):
            again = _again(replay, recorded, last_kept, i)
            made.append(replace(again, parent=fork, policy=recorded.policy, group=recorded.group))
            advance(1, "")
    store.add(made)
    return made


def _recorded(store: Store, trajectory: Trajectory | UUID) -> Trajectory:
    key = trajectory.id if isinstance(trajectory, Trajectory) else trajectory
    found = next(store.trajectories(id=key), None)
    if found is None:
        raise NoSuchTrajectory(f"the store holds no trajectory {key}: add it first")
    return found


def _again(replay: Replay, recorded: Trajectory, last_kept: int, i: int) -> Trajectory:
    """Return one more episode that keeps the recorded steps up to `last_kept`."""
    try:
        return _opened(replay, recorded, i) if last_kept < 0 else replay(recorded, last_kept, 1)[0]
    except _Stuck as stuck:
        ended = stuck.trajectory.end(Ending("failed", outcome=0.0))
        return replace(ended, task=recorded.task, env=recorded.env, seed=recorded.seed, meta=recorded.meta)


class _Stuck(Exception):
    """An agent left without any action."""

    def __init__(self, trajectory: Trajectory) -> None:
        super().__init__("no action is left")
        self.trajectory = trajectory


def _opened(replay: Replay, recorded: Trajectory, i: int) -> Trajectory:
    """Return an episode from the recorded reset on."""
    redrawn = _Redrawn(replay.env, [replay.seed, i])
    env = TrajectoryRecorder(redrawn, task=recorded.task.text, render=replay._render, outcome=replay._rule)
    played = play(replay.policy, env, recorded.seed)
    return replace(played, task=recorded.task, env=recorded.env, seed=recorded.seed, meta=recorded.meta)


class _Redrawn(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that draws its chance anew once it is reset."""

    def __init__(self, env: gym.Env[Any, Any], seed: list[int]) -> None:
        super().__init__(env)
        self._seed = seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, then draw anew."""
        first = self.env.reset(seed=seed, options=options)
        self.env.unwrapped.np_random = np.random.default_rng(self._seed)
        return first


@dataclass(frozen=True)
class _Changed:
    """A policy with one intervention from a step on."""

    policy: Policy
    step: int
    intervention: Mapping[str, Value]

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], /) -> Value:
        """Return what is done instead, at the step; else what the policy does."""
        if "action" in self.intervention and len(trajectory) == self.step:
            return self.intervention["action"]
        tool = self.intervention.get("without_tool")
        if tool is None:
            return self.policy(trajectory, info)
        left = [action for action in info.get("actions", ()) if _word(action) != tool]
        if info.get("actions") and not left:
            raise _Stuck(trajectory)
        chosen = self.policy(trajectory, {**info, "actions": left})
        if _word(chosen) == tool:
            raise InvalidTrajectory(
                f"the policy chose {chosen!r} though {tool!r} was taken away: let it choose among info['actions']"
            )
        return chosen


def _word(action: Value) -> str:
    return str(action).partition(" ")[0]
