"""What a batch of labelled trajectories teaches: which windows are read, and which numbers then have a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentprm.scorers._labels import Labels
from agentprm.text.windows import Window

__all__ = ["Lesson"]


@dataclass(slots=True)
class Lesson:
    """What one batch teaches: a model reads `windows`; of its numbers, in order, those at `picks` have `targets`."""

    windows: list[Window] = field(default_factory=list)
    picks: list[int] = field(default_factory=list)
    targets: list[float] = field(default_factory=list)
    follows: list[bool] = field(default_factory=list)
    """Whether a target is that of the step right after the target before it."""
    owners: list[int] = field(default_factory=list)
    """Which trajectory of the batch a target belongs to."""
    _n_added: int = 0
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
        self._n_added += 1

    def _add_label(self, pick: int, t: int, labels: Labels) -> None:
        if (label := labels[t]) is not None:
            self.picks.append(pick)
            self.targets.append(label)
            self.owners.append(self._n_added)
            self.follows.append(t > 0 and labels[t - 1] is not None)
