"""What a batch of labelled trajectories teaches: which windows are read, and which numbers then have a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentprm.errors import InvalidScores, TrainingError, UnitError
from agentprm.text.windows import Window
from agentprm.types import Scores, Trajectory

__all__ = ["Lesson", "value_labels"]

Labels = list[float | None]


@dataclass(slots=True)
class Lesson:
    """What one batch teaches: a model reads `windows`; of its numbers, in order, those at `picks` have `targets`."""

    windows: list[Window] = field(default_factory=list)
    picks: list[int] = field(default_factory=list)
    targets: list[float] = field(default_factory=list)
    follows: list[bool] = field(default_factory=list)
    """Whether a target is that of the step right after the target before it."""
    _n_read: int = 0

    def add(self, windows: Sequence[Window], labels: Labels) -> None:
        """Take in a trajectory: windows without any label need not be read."""
        for window in windows:
            if all(labels[t] is None for t in window.steps):
                continue
            self.windows.append(window)
            for t in window.steps:
                self._add_label(self._n_read + t - window.first, t, labels)
            self._n_read += len(window.steps)

    def _add_label(self, pick: int, t: int, labels: Labels) -> None:
        if (label := labels[t]) is not None:
            self.picks.append(pick)
            self.targets.append(label)
            self.follows.append(t > 0 and labels[t - 1] is not None)


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
