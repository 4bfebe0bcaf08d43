"""What a model of values may learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from agentprm.errors import InvalidScores, TrainingError, UnitError
from agentprm.types import Scores, Trajectory, Unit

__all__ = ["Labels", "readable", "unit_labels", "value_labels"]

_PLURAL = {"value": "values", "correctness": "correctness", "reward": "rewards"}
_MEANING = {
    "value": "a value is an outcome to expect",
    "correctness": "correctness is a chance",
    "reward": "a reward that is learnt as a label is scaled",
}

Labels: TypeAlias = list[float | None]
"""The label of each step of a trajectory; None where there is none."""


def value_labels(trajectory: Trajectory, scores: Scores, learner: str) -> Labels:
    """Return the value of each step, None where there is none; raises what `unit_labels` does."""
    return unit_labels(trajectory, scores, learner, "value")


def unit_labels(trajectory: Trajectory, scores: Scores, learner: str, unit: Unit) -> Labels:
    """Return the label of each step, None where there is none.

    Raises InvalidScores for labels of another trajectory, UnitError for labels of another unit, TrainingError for
    labels outside [0, 1].
    """
    if scores.trajectory_id != trajectory.id or scores.start + len(scores) > len(trajectory):
        raise InvalidScores(
            f"labels of steps {scores.start} to {scores.start + len(scores) - 1} of {scores.trajectory_id} beside "
            f"trajectory {trajectory.id} of {len(trajectory)} steps"
        )
    if scores.unit != unit:
        raise UnitError(f"{learner} learns {_PLURAL[unit]}, and {scores.source.name} gives a {scores.unit}")
    if outside := [v for v in scores.values if v is not None and not 0 <= v <= 1]:
        raise TrainingError(f"{_MEANING[unit]}, in [0, 1], not {outside[0]}: scale the labels")
    labels: Labels = [None] * len(trajectory)
    labels[scores.start : scores.start + len(scores)] = scores.values
    return labels


def readable(trajectory: Trajectory, labels: Labels, notes: Sequence[str | None], *, skip: bool) -> list[str]:
    """Take the labels of steps away that cannot be read, and return why each was; raises TrainingError without `skip`.

    `notes` say of each step why it cannot be read, or None.
    """
    lost = [(t, note) for t, note in enumerate(notes) if note is not None and labels[t] is not None]
    if lost and not skip:
        t, note = lost[0]
        raise TrainingError(
            f"the label of step {t} of trajectory {trajectory.id} would be lost: {note}; make it None, or say "
            "unreadable='skip'"
        )
    for t, _ in lost:
        labels[t] = None
    return [note for _, note in lost]
