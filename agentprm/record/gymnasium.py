"""Recording a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym

from agentprm.record.outcome import OutcomeRule
from agentprm.record.recorder import Recorder, StoreForm, TaskForm, live, plain
from agentprm.record.wiring import require_wiring
from agentprm.types import Trajectory, Value

__all__ = ["TrajectoryRecorder"]


class TrajectoryRecorder(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """An environment whose episodes are recorded as trajectories; otherwise it is the same environment.

    `store` is a Store or its URL. Words come from the environment where it has them: the task from `task` (text, a
    function of the first observation and info, or ``"module:function"``), else ``info["task"]``, the observation's
    ``mission``, ``goal`` or ``instruction``, or the environment's id; an observation's text from `render`, else from
    itself; the outcome from `outcome` (``"reward"``, a function of the final info and reward, or its reference), else
    the final ``info["outcome"]``, ``["success"]`` or ``["is_success"]``. `policy` names who acts. Recorded are the
    rewards that reach this wrapper. The trajectory's id is in the reset info, as ``info["prm"]["trajectory"]``.

    A copy (deepcopy, pickle) carries no open episode: reset it before its first step. Raises InvalidTrajectory for a
    step after the end, InvalidSpec for a second recorder of the same database, StoreError at the first reset for a
    store that cannot be opened.

    >>> import gymnasium as gym
    >>> from agentprm import Store
    >>> with Store(":memory:") as store:
    ...     env = TrajectoryRecorder(gym.make("FrozenLake-v1"), store, outcome="reward")
    ...     _ = env.reset(seed=0)
    ...     _ = env.step(0)
    ...     len(env.trajectory), len(list(store.trajectories()))
    (1, 1)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        store: StoreForm = None,
        *,
        task: TaskForm = None,
        render: str | Callable[[Value], str] | None = None,
        outcome: str | OutcomeRule | None = None,
        policy: str | None = None,
        durability: str | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self,
            store=plain(store),
            task=plain(task),
            render=plain(render),
            outcome=plain(outcome),
            policy=policy,
            durability=durability,
        )
        gym.Wrapper.__init__(self, env)
        require_wiring(env, live(store), durability)
        self.recorder = Recorder(
            live(store),
            task=live(task),
            render=live(render),
            outcome=live(outcome),
            policy=policy,
            durability=durability,
        )

    @property
    def trajectory(self) -> Trajectory:
        """The current episode so far; raises ResetNeeded before the first reset."""
        if self.recorder.episode is None:
            raise gym.error.ResetNeeded("there is no trajectory before reset(): call reset() first")
        return self.recorder.episode.trajectory

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; one that is still open ends as incomplete."""
        observation, info = self.env.reset(seed=seed, options=options)
        trajectory = self.recorder.begin(self.env, observation, info, seed)
        return observation, {**info, "prm": {"trajectory": str(trajectory.id)}}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step and record it; everything is passed on as it came."""
        self.recorder.require_open()
        observation, reward, terminated, truncated, info = self.env.step(action)
        step, result = self.recorder.look(action, observation, reward, info)
        self.recorder.take(step, result, terminated, truncated)
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Leave the open episode as incomplete, and the store if this wrapper opened it."""
        self.recorder.close()
        super().close()
