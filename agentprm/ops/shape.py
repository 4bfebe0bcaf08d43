"""What a learner is paid for a step, from what the world paid and what the model said.

Φ_t is the score of step t, carried on where the scorer had no opinion; Φ_{−1} is ``start``. Potential-based shaping
leaves the best policy what it was (Ng, Harada and Russell 1999), and only because Φ is 0 once the episode has really
ended (Grzes 2017): then Σ γ^t F_t = −start whatever the scorer said. A time limit is no such ending.
"""

from __future__ import annotations

import math
from typing import SupportsFloat

from agentprm.errors import InvalidSpec, UnitError, UnknownName
from agentprm.suggest import did_you_mean
from agentprm.types import Shape, Unit

__all__ = [
    "SHAPES",
    "Shaping",
    "add",
    "default_shape",
    "difference",
    "potential",
    "record",
    "replace",
    "require_fit",
    "terms",
]


def potential(
    reward: float, potential: float | None, previous: float, *, gamma: float, weight: float, terminated: bool
) -> float:
    """Return r_t + w (γ Φ_t − Φ_{t−1}), with Φ_t = 0 on termination.

    >>> potential(1.0, 0.9, 0.6, gamma=1.0, weight=1.0, terminated=True)
    0.4
    """
    now = 0.0 if terminated else previous if potential is None else potential
    return reward + weight * (gamma * now - previous)


def difference(
    reward: float, potential: float | None, previous: float, *, gamma: float, weight: float, terminated: bool
) -> float:
    """Return r_t + w (Φ_t − Φ_{t−1}), also at the end: it pays w Φ_T for the model's opinion of the last state.

    >>> round(difference(1.0, 0.9, 0.6, gamma=1.0, weight=1.0, terminated=True), 6)
    1.3
    """
    now = previous if potential is None else potential
    return reward + weight * (now - previous)


def add(
    reward: float, potential: float | None, previous: float, *, gamma: float, weight: float, terminated: bool
) -> float:
    """Return r_t + w m_t; an unscored step pays r_t."""
    return reward if potential is None else reward + weight * potential


def replace(
    reward: float, potential: float | None, previous: float, *, gamma: float, weight: float, terminated: bool
) -> float:
    """Return w m_t; an unscored step pays r_t."""
    return reward if potential is None else weight * potential


def record(
    reward: float, potential: float | None, previous: float, *, gamma: float, weight: float, terminated: bool
) -> float:
    """Return r_t itself: the scores are stored, the learner notices nothing."""
    return reward


SHAPES: dict[str, Shape] = {
    "potential": potential,
    "difference": difference,
    "add": add,
    "replace": replace,
    "record": record,
}
"""By the names that ``shape=`` takes."""

_BY_UNIT: dict[Unit, str] = {"value": "potential", "reward": "add"}


def default_shape(unit: Unit) -> str:
    """Return the shape that fits a unit: potential for values, add for rewards.

    Raises UnitError for correctness, where every choice is a decision that somebody has to make.
    """
    if unit not in _BY_UNIT:
        raise UnitError(
            f"{unit} is neither a value to take differences of nor a reward to add up: name the shape, one of "
            f"{', '.join(SHAPES)}"
        )
    return _BY_UNIT[unit]


def require_fit(shape: str, unit: Unit) -> None:
    """Return if a shape may pay for scores of this unit; raises UnitError.

    A reward is what a step added already: its differences mean nothing. Adding up values or chances is a choice that
    one may make by name; it pays long episodes more.

    >>> require_fit("add", "reward")
    """
    if unit == "reward" and shape in ("potential", "difference"):
        raise UnitError(
            f"shape={shape!r} takes differences of what is to be expected, and this scorer's numbers are rewards, "
            "each of which is what its step added: say shape='add', or give a scorer of values"
        )


def terms(gamma: SupportsFloat, weight: SupportsFloat, start: SupportsFloat) -> dict[str, float]:
    """Return the terms of a shaping as floats.

    Raises InvalidSpec for a `gamma` outside [0, 1] and for what is no finite number.

    >>> terms(gamma=1, weight=2, start=0)
    {'gamma': 1.0, 'weight': 2.0, 'start': 0.0}
    """
    found = {name: _finite(name, term) for name, term in (("gamma", gamma), ("weight", weight), ("start", start))}
    if not 0.0 <= found["gamma"] <= 1.0:
        raise InvalidSpec(f"gamma is a discount in [0, 1], not {gamma!r}: give the learner's own")
    return found


def _finite(name: str, term: SupportsFloat) -> float:
    try:
        number = math.nan if isinstance(term, (str, bool)) else float(term)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidSpec(f"{name} is a finite number, not {term!r}: every payment would be lost in it")
    return number


class Shaping:
    """One episode's shaping: remembers Φ_{t−1}, which starts anew at every reset.

    >>> shaping = Shaping("potential", gamma=0.5)
    >>> [shaping.pay(0.0, 0.5, False), shaping.pay(0.0, None, False), shaping.pay(1.0, 0.3, True)]
    [0.25, -0.25, 0.5]
    """

    __slots__ = ("_gamma", "_shape", "_weight", "phi")

    def __init__(self, shape: str | Shape, *, gamma: float = 1.0, weight: float = 1.0, start: float = 0.0) -> None:
        if isinstance(shape, str) and shape not in SHAPES:
            raise UnknownName(
                f"no shape is called {shape!r}{did_you_mean(shape, SHAPES)}; there are {', '.join(SHAPES)}"
            )
        self._shape = SHAPES[shape] if isinstance(shape, str) else shape
        self._gamma, self._weight, self.phi = terms(gamma, weight, start).values()
        """Φ of the last step, before any terminal correction."""

    def pay(self, reward: float, score: float | None, terminated: bool) -> float:
        """Return what the learner is paid for a step, and move Φ on. A score that is not finite counts as None."""
        if score is not None and not math.isfinite(score):
            score = None
        paid = self._shape(reward, score, self.phi, gamma=self._gamma, weight=self._weight, terminated=terminated)
        if score is not None:
            self.phi = score
        return paid
