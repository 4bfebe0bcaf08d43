"""A scorer's opinion as a dense reward."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from agentprm.errors import InvalidSpec
from agentprm.feedback.judge import Judge, stepped
from agentprm.ops.shape import Shaping, default_shape, require_fit, terms
from agentprm.record.outcome import OutcomeRule
from agentprm.record.recorder import Recorder, StoreForm, TaskForm, live, plain
from agentprm.record.wiring import require_wiring
from agentprm.spec import as_live_scorer, resolve
from agentprm.types import LiveScorer, Shape, Spec, Trajectory, Value

__all__ = ["PRMRewardWrapper", "chosen_shape", "shaping_spec"]


class PRMRewardWrapper(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """An environment that pays what a scorer thinks of each step, and records what world, scorer and learner said.

    `scorer` is a live scorer (one that sees no further than the step's result), a model's folder, ``"name:key=value"``
    or a dict; it is called exactly once per step. `shape` says how a score m_t becomes a payment: ``potential``
    r_t + w(γΦ_t − Φ_{t−1}) with Φ_t = m_t, and 0 once terminated; ``difference``, ``add``, ``replace``, ``record`` or
    a function (see `agentprm.ops.shape`). By default it follows from the scorer's unit: value → ``potential``, reward
    → ``add``; for correctness it must be named. `weight` is w, `gamma` γ (use the learner's own), `start` Φ_{−1}.
    Where the scorer says None, fails, or gives no finite number or a value outside [0, 1], Φ stays what it was.

    Every step's ``info["prm"]`` holds, as floats, `score` (Φ before any terminal correction), `scored` (1.0 if the
    scorer had an opinion), `env_reward` and `given_reward`; the reset's holds the id of the `trajectory`. The other
    arguments are those of `TrajectoryRecorder`; without a `store` nothing is kept.

    Raises SightError for a scorer that sees the whole episode, UnitError for a unit that the shape does not fit,
    UnknownName for a scorer or shape that nobody registered, InvalidSpec for a `gamma` outside [0, 1] and for a second
    recorder of the same database, MissingText for an environment without words under a scorer that reads.

    >>> import gymnasium as gym
    >>> env = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant:value=0.5")
    >>> _ = env.reset(seed=0)
    >>> env.step(0)[1], env.step(0)[1]
    (0.5, 0.0)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        scorer: LiveScorer | Spec | Mapping[str, Any] | str | Path,
        store: StoreForm = None,
        *,
        shape: str | Shape | None = None,
        weight: float = 1.0,
        gamma: float = 1.0,
        start: float = 0.0,
        task: TaskForm = None,
        render: str | Callable[[Value], str] | None = None,
        outcome: str | OutcomeRule | None = None,
        policy: str | None = None,
        durability: str | None = None,
    ) -> None:
        self._terms = terms(gamma, weight, start)
        gym.utils.RecordConstructorArgs.__init__(
            self,
            scorer=plain(scorer),
            store=plain(store),
            shape=plain(shape),
            weight=self._terms["weight"],
            gamma=self._terms["gamma"],
            start=self._terms["start"],
            task=plain(task),
            render=plain(render),
            outcome=plain(outcome),
            policy=policy,
            durability=durability,
        )
        gym.Wrapper.__init__(self, env)
        self._judge = Judge(as_live_scorer(live(scorer)))
        self._shape = chosen_shape(live(shape), self.scorer)
        self._shaping = Shaping(self._shape, **self._terms)
        self._named_shape = shape
        self._recipe = shaping_spec(shape, self._terms, self.scorer)
        require_wiring(env, live(store), durability)
        words = {"task": live(task), "render": live(render), "outcome": live(outcome)}
        self.recorder = Recorder(live(store), **words, policy=policy, durability=durability)

    @property
    def scorer(self) -> LiveScorer:
        """Who is asked about each step."""
        return self._judge.scorer

    @property
    def failed(self) -> int:
        """How often the scorer raised, or gave an answer that is none of the step."""
        return self._judge.failed

    @property
    def trajectory(self) -> Trajectory:
        """The current episode so far; raises ResetNeeded before the first reset."""
        if self.recorder.episode is None:
            raise gym.error.ResetNeeded("there is no trajectory before reset(): call reset() first")
        return self.recorder.episode.trajectory

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, with Φ at its start."""
        observation, info = self.env.reset(seed=seed, options=options)
        trajectory = self.recorder.begin(self.env, observation, info, seed)
        self._shaping = Shaping(self._shape, **self._terms)
        self._recipe = shaping_spec(self._named_shape, self._terms, self.scorer)  # it may have learnt meanwhile
        return observation, {**info, "prm": {"trajectory": str(trajectory.id)}}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step, score it once, pay for it and record it."""
        self.recorder.require_open()
        observation, reward, terminated, truncated, info = self.env.step(action)
        step, result = self.recorder.look(action, observation, reward, info)
        (scores,) = self._judge([stepped(self.trajectory, step, result, terminated, truncated)])
        value = scores.values[0] if scores else None
        given = self._shaping.pay(step.reward, value, terminated)
        opinions = (scores,) if scores else ()
        self.recorder.take(
            step, result, terminated, truncated, given_reward=given, shaping=self._recipe, scores=opinions
        )
        said = {
            "score": float(self._shaping.phi),
            "scored": float(value is not None),
            "env_reward": step.reward,
            "given_reward": float(given),
        }
        return observation, float(given), terminated, truncated, {**info, "prm": said}

    def close(self) -> None:
        """Leave the open episode as incomplete, and the store if this wrapper opened it."""
        self.recorder.close()
        super().close()


def shaping_spec(shape: str | Shape | None, terms: Mapping[str, float], scorer: LiveScorer) -> Spec:
    """Return the recipe that turns this scorer's scores into payments, as every paid step names it.

    Raises InvalidSpec when it is not JSON, better here than at every step, or for a `start` that no value can have.
    """
    if scorer.unit != "reward" and not 0.0 <= terms["start"] <= 1.0:
        raise InvalidSpec(f"start={terms['start']} is what a {scorer.unit} says before the first step: in [0, 1]")
    name = plain(shape) if shape is not None else default_shape(scorer.unit)
    recipe = Spec("shaping", {"shape": name, **terms, "scorer": scorer.spec})
    recipe.to_json()
    return recipe


def chosen_shape(shape: str | Shape | None, scorer: LiveScorer) -> str | Shape:
    """Return the shape asked for, else the one that fits the scorer's unit; raises UnitError for one that does not."""
    if shape is None:
        return default_shape(scorer.unit)
    if isinstance(shape, str):
        require_fit(shape, scorer.unit)
    if shape == "difference":
        warnings.warn(
            "shape='difference' also pays for the scorer's opinion of the last state, which a learner can exploit; "
            "'potential' does not",
            stacklevel=3,
        )
    return resolve(shape) if isinstance(shape, str) and ":" in shape else shape
