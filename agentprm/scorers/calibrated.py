"""A scorer whose numbers are made to mean what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from agentprm.errors import InvalidSpec, UnitError
from agentprm.ops.calibrate import interpolated, warmed
from agentprm.spec import make, register
from agentprm.types import Scorer, Scores, Spec, Trajectory, Unit

__all__ = ["Calibrated"]


@register("calibrated")
@dataclass(frozen=True)
class Calibrated:
    """Another scorer, seen through a rising map of [0, 1]: a `temperature`, or the `knots` of a curve.

    Order stays (knots may make neighbours equal); what 0.8 means changes. `agentprm.train.calibrate` finds either from
    outcomes. Parts and notes pass through as they are. Raises UnitError for a scorer of rewards, which are no chances;
    InvalidSpec for a temperature that is not above 0, or knots that do not rise.

    >>> Calibrated("constant:value=0.9", temperature=2.0).spec.params["temperature"]
    2.0
    """

    scorer: Any
    """A scorer, or its plain form."""
    temperature: float = 1.0
    """Above 1 draws towards a half; see `agentprm.ops.calibrate.warmed`."""
    knots: Sequence[Sequence[float]] = ()
    """Points (score, chance) of a rising curve, used instead of a temperature."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scorer", make(self.scorer))
        if self.scorer.unit == "reward":
            raise UnitError(f"{self.scorer.spec.name} gives rewards: only values and correctness can be calibrated")
        if not (isinstance(self.temperature, (int, float)) and 0 < self.temperature < math.inf):
            raise InvalidSpec(f"a temperature is a number above 0, not {self.temperature!r}")
        object.__setattr__(self, "knots", tuple(tuple(map(float, knot)) for knot in self.knots))
        if self.knots and self.temperature != 1.0:
            raise InvalidSpec("a scorer is calibrated by a temperature or by knots, not by both")
        _require_rising(self.knots)

    @property
    def unit(self) -> Unit:
        """That of the scorer."""
        return self._scorer.unit

    @property
    def sees(self) -> Any:
        """As far as the scorer."""
        return self._scorer.sees

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""
        how = {"knots": [list(k) for k in self.knots]} if self.knots else {"temperature": self.temperature}
        return Spec("calibrated", {"scorer": self._scorer.spec, **how})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the scorer's scores, calibrated."""
        return [self._calibrated(scores) for scores in self._scorer(trajectories)]

    @property
    def _scorer(self) -> Scorer:
        return cast(Scorer, self.scorer)

    def _calibrated(self, s: Scores) -> Scores:
        values = tuple(None if v is None else self._map(v) for v in s.values)
        return Scores(s.trajectory_id, self.spec, s.unit, values, s.start, s.parts, s.notes, s.sees)

    def _map(self, score: float) -> float:
        return interpolated(score, self.knots) if self.knots else warmed(score, self.temperature)


def _require_rising(knots: Sequence[Sequence[float]]) -> None:
    if any(len(knot) != 2 or not 0.0 <= knot[1] <= 1.0 for knot in knots):
        raise InvalidSpec("a knot is a pair (score, chance) with the chance in [0, 1]")
    for (x0, y0), (x1, y1) in pairwise(knots):
        if not (x0 < x1 and y0 <= y1):
            raise InvalidSpec(f"knots rise from left to right, and ({x1}, {y1}) follows ({x0}, {y0})")
