"""Making a scorer's numbers mean what they say, from episodes that went well or badly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from agentprm.errors import TrainingError
from agentprm.labels.outcome import Outcome
from agentprm.ops.calibrate import expected_calibration_error, isotonic, temperature
from agentprm.scorers.calibrated import Calibrated
from agentprm.train.batches import split
from agentprm.types import Scorer, Trajectory

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """A calibrated scorer, and what calibrating it gained on episodes of other tasks than those it was found on."""

    scorer: Calibrated
    ece_before: float | None
    """Expected calibration error on the held-out episodes; None when nothing was held out."""
    ece_after: float | None
    n_steps: int
    """Steps that the map was found on."""
    n_held_out: int
    """Steps that the errors were measured on."""


def calibrate(
    scorer: Scorer,
    trajectories: Iterable[Trajectory],
    *,
    label: Scorer | None = None,
    method: Literal["temperature", "isotonic"] = "temperature",
    held_out: float = 0.3,
    seed: int = 0,
) -> Calibration:
    """Return `scorer` calibrated against `label`, by default the outcome of each episode.

    A *value* says what outcome to expect, so the share of successes among steps scored 0.8 should be 0.8. `temperature`
    has one number and stands on few episodes; `isotonic` bends freely and wants a thousand steps or more. A share
    `held_out` of the episodes, by whole tasks, is kept for the errors before and after.

    Raises TrainingError when no step has both a score and a label.

    >>> from agentprm.scorers.constant import Constant
    >>> from agentprm.testing.trajectories import corridors
    >>> report = calibrate(Constant(0.9), corridors(40, seed=0), method="isotonic")
    >>> report.ece_after < report.ece_before
    True
    """
    played = list(trajectories)
    learn, held = split(played, held_out, seed)
    label = label if label is not None else Outcome()
    scores, outcomes = _points(scorer, label, [played[i] for i in learn])
    if not scores:
        raise TrainingError(f"no step has both a score of {scorer.spec.name} and a label of {label.spec.name}")
    if method == "isotonic":
        calibrated = Calibrated(scorer, knots=_capped(isotonic(scores, outcomes)))
    elif method == "temperature":
        calibrated = Calibrated(scorer, temperature=temperature(scores, outcomes))
    else:
        raise TrainingError(f"calibration is by 'temperature' or by 'isotonic', not {method!r}")
    rest = [played[i] for i in held]
    before, after = _points(scorer, label, rest), _points(cast(Scorer, calibrated), label, rest)
    return Calibration(
        calibrated, expected_calibration_error(*before), expected_calibration_error(*after), len(scores), len(before[0])
    )


def _points(scorer: Scorer, label: Scorer, played: Sequence[Trajectory]) -> tuple[list[float], list[float]]:
    scores: list[float] = []
    outcomes: list[float] = []
    for said, labelled in zip(scorer(played), label(played), strict=True):
        for score, outcome in zip(said.values, labelled.values, strict=True):
            if score is not None and outcome is not None:
                scores.append(score)
                outcomes.append(outcome)
    return scores, outcomes


def _capped(knots: list[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """Return at most so many of the knots, evenly spread: the recipe of a scorer stays short."""
    if len(knots) <= most:
        return knots
    return [knots[round(i * (len(knots) - 1) / (most - 1))] for i in range(most)]
