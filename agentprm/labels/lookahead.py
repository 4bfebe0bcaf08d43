"""Values of steps from where they led: a critic that sees the result says what an action was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from agentprm.errors import UnitError
from agentprm.spec import make, register
from agentprm.types import Scorer, Scores, Spec, Trajectory

__all__ = ["Lookahead"]


@register("lookahead")
@dataclass(frozen=True)
class Lookahead:
    """Labels each step with what a critic expects once it has seen what the step led to: Q(s, a) = V(s′).

    The one-step target (Sutton 1988), for a model that must choose before it sees. Where an action led is judged more
    easily than the action itself, and one environment step is enough to label another action in the same state
    (`agentprm.record.replay.Replay.instead`). The last step of an episode with an outcome has the outcome; a step on
    which the critic has no opinion has no label. Of a fork, steps before the one at which it parted have no labels:
    they are its parent's.

    Give it a critic with ``sees="result"``; of one that stops at the action it makes an imitation. Raises UnitError for
    a critic that gives no values.

    >>> from agentprm.testing.trajectories import episode
    >>> Lookahead("constant:value=0.25")([episode(("a door", "knock"), ("a door", "open it"), outcome=1.0)])[0].values
    (0.25, 1.0)
    """

    critic: Scorer
    """What is to be expected after a step and its result; a scorer or its plain form."""
    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["value"]] = "value"

    def __post_init__(self) -> None:
        object.__setattr__(self, "critic", make(cast(Scorer | Spec | Mapping[str, Any] | str | Path, self.critic)))
        if self.critic.unit != "value":
            raise UnitError(f"a critic gives values, and {self.critic.spec.name} gives a {self.critic.unit}")

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it, with the critic as it is now."""
        return Spec("lookahead", {"critic": self.critic.spec})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the labels of each trajectory."""
        spec, opinions = self.spec, self.critic(trajectories)
        return [
            Scores(trajectory.id, spec, self.unit, _labels(trajectory, opinion), sees=self.sees)
            for trajectory, opinion in zip(trajectories, opinions, strict=True)
        ]


def _labels(trajectory: Trajectory, opinion: Scores) -> tuple[float | None, ...]:
    labels: list[float | None] = [None] * len(trajectory)
    labels[opinion.start : opinion.start + len(opinion)] = opinion.values
    if labels and trajectory.outcome is not None:
        labels[-1] = trajectory.outcome
    parent = trajectory.parent
    if parent is not None and parent.call is None:
        first = min(parent.index, len(labels))
        labels[:first] = [None] * first
    return tuple(labels)
