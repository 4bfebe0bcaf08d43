"""A scorer's opinion as a dense reward."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from agentprm.errors import InvalidScores, MissingText
from agentprm.ops.shape import Shaping, default_shape
from agentprm.record.outcome import OutcomeRule
from agentprm.record.recorder import Recorder, StoreForm, TaskForm, live, plain
from agentprm.spec import as_live_scorer, resolve
from agentprm.types import Ending, LiveScorer, Observation, Scores, Shape, Spec, Step, Trajectory, Value

__all__ = ["PRMRewardWrapper", "chosen_shape", "last_score", "shaping_spec"]

_log = logging.getLogger("agentprm.feedback")


class PRMRewardWrapper(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """An environment that pays what a scorer thinks of each step, and records what world, scorer and learner said.

    `scorer` is a live scorer (one that sees no further than the step's result), a model's folder, ``"name:key=value"``
    or a dict; it is called exactly once per step. `shape` says how a score m_t becomes a payment: ``potential``
    r_t + w(γΦ_t − Φ_{t−1}) with Φ_t = m_t, and 0 once terminated; ``difference``, ``add``, ``replace``, ``record`` or
    a function (see `agentprm.ops.shape`). By default it follows from the scorer's unit: value → ``potential``, reward
    → ``add``; for correctness it must be named. `weight` is w, `gamma` γ (use the learner's own), `start` Φ_{−1}.
    Where the scorer says None, fails or gives no finite number, Φ stays what it was.

    Every step's ``info["prm"]`` holds, as floats, `score` (Φ before any terminal correction), `scored` (1.0 if the
    scorer had an opinion), `env_reward` and `given_reward`; the reset's holds the id of the `trajectory`. The other
    arguments are those of `TrajectoryRecorder`; without a `store` nothing is kept.

    Raises SightError for a scorer that sees the whole episode, UnitError for a unit that no shape fits, UnknownName for
    a scorer or shape that nobody registered, MissingText for an environment without words under a scorer that reads.

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
        gym.utils.RecordConstructorArgs.__init__(
            self,
            scorer=plain(scorer),
            store=plain(store),
            shape=plain(shape),
            weight=weight,
            gamma=gamma,
            start=start,
            task=plain(task),
            render=plain(render),
            outcome=plain(outcome),
            policy=policy,
            durability=durability,
        )
        gym.Wrapper.__init__(self, env)
        self.scorer = as_live_scorer(live(scorer))
        self._shape = chosen_shape(live(shape), self.scorer)
        self._terms = {"gamma": float(gamma), "weight": float(weight), "start": float(start)}
        self._named_shape = shape
        self._recipe = shaping_spec(shape, self._terms, self.scorer)
        words = {"task": live(task), "render": live(render), "outcome": live(outcome)}
        self.recorder = Recorder(live(store), **words, policy=policy, durability=durability)
        self.failed = 0
        """How often the scorer raised."""
        self._shaping = Shaping(self._shape, **self._terms)

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
        scores = self._score(step, result, terminated, truncated)
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

    def _score(self, step: Step, result: Observation, terminated: bool, truncated: bool) -> Scores | None:
        """Return the scorer's opinion of the step just taken; a scorer that fails has none, and is counted."""
        now = self.trajectory.append(step, result)
        if terminated or truncated:
            now = now.end(Ending("terminated" if terminated else "truncated", bool(terminated), bool(truncated)))
        index = len(now) - 1
        try:
            (scores,) = self.scorer([now.seen(index, self.scorer.sees)])
            return last_score(scores, now)
        except MissingText:
            raise
        except Exception as error:
            self.failed += 1
            if self.failed == 1:
                _log.warning("the scorer failed (further failures are only counted): %r", error)
            return None


def last_score(scores: Scores, trajectory: Trajectory) -> Scores:
    """Return the score of the last step alone; raises InvalidScores when these are not the scores of it."""
    index = len(trajectory) - 1
    if scores.trajectory_id != trajectory.id or not scores.start <= index < scores.start + len(scores):
        raise InvalidScores(
            f"{scores.source.name} was asked for step {index} of {trajectory.id}, and scored {len(scores)} steps "
            f"from {scores.start} on of {scores.trajectory_id}"
        )
    i = index - scores.start
    parts = {name: (series[i],) for name, series in scores.parts.items()}
    notes = scores.notes[i : i + 1]
    return Scores(trajectory.id, scores.source, scores.unit, (scores.values[i],), index, parts, notes, scores.sees)


def shaping_spec(shape: str | Shape | None, terms: Mapping[str, float], scorer: LiveScorer) -> Spec:
    """Return the recipe that turns this scorer's scores into payments, as every paid step names it.

    Raises InvalidSpec when it is not JSON: better here than at every step.
    """
    name = plain(shape) if shape is not None else default_shape(scorer.unit)
    recipe = Spec("shaping", {"shape": name, **terms, "scorer": scorer.spec})
    recipe.to_json()
    return recipe


def chosen_shape(shape: str | Shape | None, scorer: LiveScorer) -> str | Shape:
    """Return the shape asked for, else the one that fits the scorer's unit."""
    if shape is None:
        return default_shape(scorer.unit)
    if shape == "difference":
        warnings.warn(
            "shape='difference' also pays for the scorer's opinion of the last state, which a learner can exploit; "
            "'potential' does not",
            stacklevel=3,
        )
    return resolve(shape) if isinstance(shape, str) and ":" in shape else shape
