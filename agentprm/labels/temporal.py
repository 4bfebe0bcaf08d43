"""Values of steps from single episodes: temporal differences and generalised advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from agentprm.errors import InvalidSpec, UnitError
from agentprm.ops.returns import lambda_targets
from agentprm.spec import make, register
from agentprm.types import Scorer, Scores, Spec, Trajectory

__all__ = ["Temporal"]


@register("temporal")
@dataclass(frozen=True)
class Temporal:
    """Labels each step with its TD(λ) target: what the critic expects after it, corrected by what came of it.

    The TD + GAE labels of AgentPRM (Xi et al. 2025, eq. 12-14; see `agentprm.ops.returns.lambda_targets`). They need
    no rollouts: one recorded episode labels all of its steps. The critic is usually the model in training: given to
    ``fit`` as ``Labelled(trajectories, Temporal(model))``, targets are computed anew at every pass.

    Where the critic has no opinion its place is taken by the target of the next step, so that a critic without any
    opinion gives the outcome everywhere. A time limit with a known outcome is an ending like any other. An episode
    that is unfinished, or whose outcome nobody knows, has no labels.

    Raises UnitError for a critic that gives no values, InvalidSpec for λ outside [0, 1].

    >>> from agentprm.scorers.constant import Constant
    >>> from agentprm.types import Action, Ending, Observation, Step, Task, new_id
    >>> step, won = Step(Observation("a door"), Action("open")), Ending("terminated", terminated=True, outcome=1.0)
    >>> trajectory = Trajectory(new_id(), Task("leave"), (step,) * 3, Observation("a garden"), won)
    >>> Temporal(Constant(0.0), lambda_=0.5)([trajectory])[0].values
    (0.25, 0.5, 1.0)
    """

    critic: Scorer
    """What each step is worth by now; a scorer or its plain form."""
    lambda_: float = 0.95
    """The weight of what came of a step against what the critic expects: 1 gives the outcome, 0 the critic itself."""
    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["value"]] = "value"

    def __post_init__(self) -> None:
        form = cast(Scorer | Spec | Mapping[str, Any] | str | Path, self.critic)
        object.__setattr__(self, "critic", make(form))
        if self.critic.unit != "value":
            raise UnitError(f"a critic gives values, and {self.critic.spec.name} gives a {self.critic.unit}")
        if not 0.0 <= self.lambda_ <= 1.0:
            raise InvalidSpec(f"lambda_ lies in [0, 1], not at {self.lambda_}")

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it, with the critic as it is now."""
        return Spec("temporal", {"critic": self.critic.spec, "lambda_": self.lambda_})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the labels of each trajectory."""
        spec, opinions = self.spec, self.critic(trajectories)
        return [
            Scores(trajectory.id, spec, self.unit, self._labels(trajectory, opinion), sees=self.sees)
            for trajectory, opinion in zip(trajectories, opinions, strict=True)
        ]

    def _labels(self, trajectory: Trajectory, opinion: Scores) -> tuple[float | None, ...]:
        if trajectory.outcome is None or not trajectory.steps:
            return (None,) * len(trajectory)
        last = len(trajectory) - 1
        known = {opinion.start + i: v for i, v in enumerate(opinion.values) if v is not None} | {last: 0.0}
        targets = lambda_targets([known[t] for t in sorted(known)], trajectory.outcome, self.lambda_)
        at = dict(zip(sorted(known), targets, strict=True))
        labels = [trajectory.outcome] * len(trajectory)
        for t in range(last, -1, -1):
            labels[t] = at.get(t, labels[min(t + 1, last)])
        return tuple(labels)
