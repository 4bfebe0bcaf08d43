"""Several scorers as one, and how far they disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any, Literal, get_args

from agentprm.errors import InvalidSpec, UnitError
from agentprm.spec import make, register
from agentprm.types import Scorer, Scores, Sight, Spec, Trajectory, Unit

__all__ = ["Ensemble"]

_COMBINE: dict[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "min": min}


@register("ensemble")
@dataclass(frozen=True)
class Ensemble:
    """Gives each step the mean, or the least, of what several scorers of one unit say.

    The least is the cautious choice against a policy that learns to please one of them (Coste et al. 2023). Part
    ``spread`` is the standard deviation of those who have an opinion: 0 for one, None where nobody has. The ensemble
    sees as far as its farthest member. Raises InvalidSpec without members, UnitError for members of several units.

    >>> from agentprm.testing.trajectories import corridors
    >>> both = Ensemble(("constant:value=0.2", "constant:value=0.6"))
    >>> scores = both(corridors(1, seed=0))[0]
    >>> round(scores.values[0], 6), round(scores.parts["spread"][0], 6)
    (0.4, 0.2)
    """

    scorers: Sequence[Any]
    """Scorers, or their plain forms."""
    combine: Literal["mean", "min"] = "mean"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scorers", tuple(map(make, self.scorers)))
        if not self.scorers:
            raise InvalidSpec("an ensemble has at least one scorer: say Ensemble((first, second))")
        if self.combine not in _COMBINE:
            raise InvalidSpec(f"an ensemble combines by one of {tuple(_COMBINE)}, not {self.combine!r}")
        units = {scorer.spec.name: scorer.unit for scorer in self.scorers}
        if len(set(units.values())) > 1:
            raise UnitError(f"an ensemble's scorers share one unit, and these give {units}: average what is alike")

    @property
    def unit(self) -> Unit:
        """That of its members."""
        return self._members[0].unit

    @property
    def sees(self) -> Any:
        """As far as the farthest of them."""
        return max((scorer.sees for scorer in self._members), key=get_args(Sight).index)

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""
        return Spec("ensemble", {"scorers": [scorer.spec for scorer in self._members], "combine": self.combine})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the combined scores of each trajectory; every member is asked once."""
        asked = [scorer(trajectories) for scorer in self._members]
        return [self._combined(t, said) for t, said in zip(trajectories, zip(*asked, strict=True), strict=True)]

    @property
    def _members(self) -> Sequence[Scorer]:
        return self.scorers

    def _combined(self, trajectory: Trajectory, said: Sequence[Scores]) -> Scores:
        opinions = [[v for v in step if v is not None] for step in zip(*(s.values for s in said), strict=True)]
        values = tuple(float(_COMBINE[self.combine](given)) if given else None for given in opinions)
        spread = tuple(pstdev(given) if given else None for given in opinions)
        return Scores(trajectory.id, self.spec, self.unit, values, parts={"spread": spread}, sees=self.sees)
