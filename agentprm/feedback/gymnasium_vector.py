"""A scorer's opinion as a dense reward, for a vector of environments: one batched call per vector step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from agentprm.feedback.gymnasium import chosen_shape, shaping_spec
from agentprm.feedback.judge import Judge, stepped
from agentprm.ops.shape import Shaping, terms
from agentprm.record._vectors import reset_mask
from agentprm.record.gymnasium_vector import Moved, VectorRecorder, said
from agentprm.record.outcome import OutcomeRule
from agentprm.record.recorder import StoreForm, TaskForm
from agentprm.record.wiring import require_wiring
from agentprm.spec import as_live_scorer
from agentprm.types import LiveScorer, Scores, Shape, Spec, Value

__all__ = ["PRMVectorRewardWrapper"]
_SAID = ("score", "scored", "env_reward", "given_reward")


class PRMVectorRewardWrapper(gym.vector.VectorWrapper):
    """A vector of environments that pays what a scorer thinks of each step, and records it; see `PRMRewardWrapper`.

    The scorer is called once per vector step, with the episodes that moved. ``infos["prm"]`` holds `score`, `scored`,
    `env_reward` and `given_reward`, masked: True only where that environment really stepped, also on the ending call
    under SAME_STEP. A call that merely resets an environment (NEXT_STEP) pays 0 there.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
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
        super().__init__(env)
        self._judge = Judge(as_live_scorer(scorer))
        self._shape = chosen_shape(shape, self.scorer)
        self._terms = terms(gamma, weight, start)
        self._shapings = [self._fresh() for _ in range(env.num_envs)]
        self._named_shape = shape
        self._recipe = shaping_spec(shape, self._terms, self.scorer)
        require_wiring(env, store, durability)
        words = {"task": task, "render": render, "outcome": outcome}
        self.recorder = VectorRecorder(env, store, **words, policy=policy, durability=durability)

    @property
    def scorer(self) -> LiveScorer:
        """Who is asked about each step."""
        return self._judge.scorer

    @property
    def failed(self) -> int:
        """How often the scorer raised, or gave an answer that is none of the step."""
        return self._judge.failed

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the episodes of all environments, or of those in ``options["reset_mask"]``, with Φ at its start."""
        mask = reset_mask(options)
        observations, infos = self.env.reset(seed=seed, options=dict(options) if options else options)
        begun = self.recorder.reset(observations, infos, seed, mask)
        self._restart(begun)
        self._recipe = shaping_spec(self._named_shape, self._terms, self.scorer)  # it may have learnt meanwhile
        return observations, {**infos, **said(self.recorder, begun)}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step in every environment; score those that moved in one call, pay and record."""
        self.recorder.require_open()
        outcome = self.env.step(actions)
        observations, rewards, terminations, truncations, infos = outcome
        moved, begun = self.recorder.look(actions, outcome)
        self._restart(begun)
        scores = self._judge(
            [stepped(self.recorder.trajectory(m.i), m.step, m.result, m.terminated, m.truncated) for m in moved]
        )
        given = np.where(self._mask(moved), np.asarray(rewards, dtype=np.float64), 0.0)
        columns = {name: np.zeros(self.num_envs) for name in _SAID}
        for m, score in zip(moved, scores, strict=True):
            given[m.i] = self._pay(m, score, columns)
        begun_now = self.recorder.settle(moved, observations, infos)
        self._restart(begun_now)
        prm = self._infos(moved, columns, [*begun, *begun_now])
        return observations, given, terminations, truncations, {**infos, **prm}

    def close(self, **options: Any) -> None:
        """Leave the open episodes as incomplete, and the store if this wrapper opened it."""
        self.recorder.close()
        super().close(**options)

    def _fresh(self) -> Shaping:
        return Shaping(self._shape, **self._terms)

    def _restart(self, begun: Sequence[int]) -> None:
        for i in begun:
            self._shapings[i] = self._fresh()

    def _pay(self, m: Moved, scores: Scores | None, columns: dict[str, Any]) -> float:
        value = scores.values[0] if scores else None
        given = self._shapings[m.i].pay(m.step.reward, value, m.terminated)
        opinions = (scores,) if scores else ()
        self.recorder.recorders[m.i].take(
            m.step, m.result, m.terminated, m.truncated, given_reward=given, shaping=self._recipe, scores=opinions
        )
        row = (self._shapings[m.i].phi, float(value is not None), m.step.reward, given)
        for name, number in zip(_SAID, row, strict=True):
            columns[name][m.i] = number
        return given

    def _mask(self, moved: Sequence[Moved]) -> Any:
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[[m.i for m in moved]] = True
        return mask

    def _infos(self, moved: Sequence[Moved], columns: dict[str, Any], begun: Sequence[int]) -> dict[str, Any]:
        mask = self._mask(moved)
        prm = {key: array for name in _SAID for key, array in ((name, columns[name]), (f"_{name}", mask.copy()))}
        if not begun:
            return {"prm": prm, "_prm": mask}
        ids = said(self.recorder, begun)
        return {"prm": {**prm, **ids["prm"]}, "_prm": mask | ids["_prm"]}
