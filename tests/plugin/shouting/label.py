"""Labels every step by how short its episode was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from agentprm import Scores, Spec, Trajectory, register


@register("brevity")
@dataclass(frozen=True)
class Brevity:
    """One over the number of steps, for an episode that succeeded, else 0."""

    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["value"]] = "value"

    @property
    def spec(self) -> Spec:
        return Spec("brevity")

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        return [
            Scores(t.id, self.spec, self.unit, ((t.outcome or 0.0) / max(len(t), 1),) * len(t)) for t in trajectories
        ]
