"""What a model of values may learn from."""

from __future__ import annotations

from typing import TypeAlias

from agentprm.errors import InvalidScores, TrainingError, UnitError
from agentprm.types import Scores, Trajectory

__all__ = ["Labels", "value_labels"]

Labels: TypeAlias = list[float | None]
"""The label of each step of a trajectory; None where there is none."""


def value_labels(trajectory: Trajectory, scores: Scores, learner: str) -> Labels:
    """Return the label of each step, None where there is none.

    Raises InvalidScores for labels of another trajectory, UnitError for labels that are no values, TrainingError for
    labels outside [0, 1].
    """
    if scores.trajectory_id != trajectory.id or scores.start + len(scores) > len(trajectory):
        raise InvalidScores(
            f"labels of steps {scores.start} to {scores.start + len(scores) - 1} of {scores.trajectory_id} beside "
            f"trajectory {trajectory.id} of {len(trajectory)} steps"
        )
    if scores.unit != "value":
        raise UnitError(f"{learner} learns values, and {scores.source.name} gives a {scores.unit}")
    if outside := [v for v in scores.values if v is not None and not 0 <= v <= 1]:
        raise TrainingError(f"a value is an outcome to expect, in [0, 1], not {outside[0]}: scale the outcomes")
    labels: Labels = [None] * len(trajectory)
    labels[scores.start : scores.start + len(scores)] = scores.values
    return labels
