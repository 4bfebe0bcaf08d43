"""Values of steps from rollouts: play each on several times, and count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np

from agentprm.errors import InvalidSpec
from agentprm.labels._rollouts import estimate, named, required
from agentprm.spec import register
from agentprm.types import Continue, Scores, Spec, Trajectory

__all__ = ["MonteCarlo"]

Mode = Literal["soft", "hard"]


class _Label(NamedTuple):
    value: float | None
    rollouts: float | None = None
    env_steps: float | None = None


@register("monte_carlo")
@dataclass(frozen=True)
class MonteCarlo:
    """Labels a step with the outcomes of `rollouts` completions of the episode from after it.

    The estimate of Math-Shepherd (Wang et al. 2023): *soft* gives their mean, *hard* the best of them, which is 1 when
    any succeeded. It costs environment steps, which stand beside each label as the part ``env_steps``, as does the
    number of completions with an outcome as ``rollouts``. After the last step of an episode that the world ended,
    nothing is left to play: the label is the outcome, and costs nothing. Steps not chosen are None, as are those whose
    completions all lack an outcome.

    Raises InvalidSpec for fewer than one rollout or labelled step, or an unknown mode.

    >>> from agentprm.types import Action, Ending, Observation, Step, Task, new_id
    >>> step, won = Step(Observation("a door"), Action("open")), Ending("terminated", terminated=True, outcome=1.0)
    >>> trajectory = Trajectory(new_id(), Task("leave"), (step,) * 3, Observation("a garden"), won)
    >>> scores = MonteCarlo(lambda trajectory, t, n: [trajectory] * n, rollouts=2)([trajectory])[0]
    >>> scores.values, scores.parts["env_steps"]
    ((1.0, 1.0, 1.0), (4.0, 2.0, 0.0))
    """

    continue_: Continue
    """Plays on from the middle of an episode, for example `agentprm.record.replay.Replay`."""
    rollouts: int = 8
    mode: Mode = "soft"
    steps: int | None = None
    """How many steps of each trajectory are labelled, drawn at random; None labels all."""
    seed: int = 0
    """Of that draw, which is the same for the same trajectory in whatever company it comes."""
    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["value"]] = "value"

    def __post_init__(self) -> None:
        required(self.continue_, self.rollouts)
        if self.mode not in get_args(Mode):
            raise InvalidSpec(f"a mode is one of {get_args(Mode)}, not {self.mode!r}")
        if self.steps is not None and self.steps < 1:
            raise InvalidSpec(f"steps={self.steps}: label one step of each episode or more, or None for all")

    @property
    def spec(self) -> Spec:
        """The recipe; remaking it needs `continue_` anew, unless that has a spec of its own."""
        params = {"rollouts": self.rollouts, "mode": self.mode, "steps": self.steps, "seed": self.seed}
        return Spec("monte_carlo", {"continue_": named(self.continue_), **params})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the labels of each trajectory."""
        return [self._label(trajectory) for trajectory in trajectories]

    def _label(self, trajectory: Trajectory) -> Scores:
        chosen = self._chosen(trajectory)
        estimates = [self._estimate(trajectory, t) if t in chosen else _Label(None) for t in range(len(trajectory))]
        values, rollouts, env_steps = zip(*estimates, strict=True) if estimates else ((), (), ())
        parts = {"rollouts": rollouts, "env_steps": env_steps}
        return Scores(trajectory.id, self.spec, self.unit, values, parts=parts, sees=self.sees)

    def _chosen(self, trajectory: Trajectory) -> frozenset[int]:
        n = len(trajectory)
        if self.steps is None or self.steps >= n:
            return frozenset(range(n))
        chance = np.random.default_rng([self.seed, trajectory.id.int])
        return frozenset(chance.choice(n, self.steps, replace=False).tolist())

    def _estimate(self, trajectory: Trajectory, t: int) -> _Label:
        if t + 1 == len(trajectory) and _is_over(trajectory):
            return _Label(trajectory.outcome, 0, 0)
        found = estimate(self.continue_, trajectory, t, self.rollouts)
        value = max(found.outcomes, default=None) if self.mode == "hard" else found.mean
        return _Label(value, len(found.outcomes), found.env_steps)


def _is_over(trajectory: Trajectory) -> bool:
    ending = trajectory.ending
    return ending is not None and (ending.terminated or ending.truncated or ending.outcome is not None)
