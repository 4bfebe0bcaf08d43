"""What a training did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Fit", "Point"]


class Point(NamedTuple):
    """One evaluation."""

    step: int
    loss: float
    """Mean training loss since the evaluation before."""
    held_out: float | None
    quality: float | None = None
    """What `quality` said, where it was given."""


@dataclass(frozen=True)
class Fit:
    """What a training did."""

    steps: int
    """Optimiser steps taken."""
    best_step: int
    """The one whose weights were kept."""
    loss: float | None
    """Held-out loss of the weights kept; None when nothing was held out."""
    curve: tuple[Point, ...]
    n_trajectories: int
    """With any label, held-out ones included."""
    n_labels: int
    n_held_out: int
    """Labelled steps held out."""
    seconds: float
    interrupted: bool = False

    def __str__(self) -> str:
        loss = "nothing held out" if self.n_held_out == 0 else "not evaluated yet"
        if self.loss is not None:
            loss = f"held-out loss {self.loss:.4f}"
        start = "interrupted: " if self.interrupted else ""
        figures = f"{self.n_labels} labels, {self.steps} steps, {loss} at step {self.best_step}"
        return f"{start}{figures}, {self.seconds:.1f} s"
