"""How a step-reward model is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from agentprm.errors import InvalidSpec

__all__ = ["Recipe", "Schedule"]

Schedule: TypeAlias = Literal["constant", "linear"]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    The same recipe gives every label method the same minimum of optimiser steps: a fixed number of passes would starve
    those with few labels, and make them look worse than they are. Raises InvalidSpec for values out of range.
    """

    min_steps: int = 400
    """Optimiser steps before anything is chosen or stopped."""
    max_steps: int = 2000
    patience: int = 4
    """Evaluations in a row after which it stops, none of them better by a thousandth of the first held-out loss."""
    evaluate_every: int = 25
    """Optimiser steps between evaluations, at least; they stand at the end of a pass."""
    batch_size: int = 256
    """Labelled steps per batch, about: trajectories stay whole."""
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    """The largest norm of a gradient."""
    held_out: float = 0.15
    """Share of trajectories, by whole tasks, on whose loss the weights are chosen; 0 keeps the last weights."""
    schedule: Schedule = "constant"
    """Of the learning rate: *linear* rises over the first twentieth of `max_steps`, and falls to a twentieth of it."""
    states: int | None = None
    """Steps of each episode, its forks included, that are learnt from at a pass, drawn anew; None takes all of them."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_steps", "patience", "evaluate_every", "batch_size", "learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise InvalidSpec(f"{name} is more than 0, not {getattr(self, name)}")
        if not 0 <= self.min_steps <= self.max_steps:
            raise InvalidSpec(f"min_steps lies between 0 and max_steps={self.max_steps}, not at {self.min_steps}")
        if not 0 <= self.held_out < 1 or self.weight_decay < 0:
            raise InvalidSpec(f"held_out={self.held_out} lies in [0, 1), weight_decay={self.weight_decay} from 0 up")
        if self.schedule not in get_args(Schedule) or not (self.states is None or self.states > 0):
            raise InvalidSpec(
                f"schedule={self.schedule!r} is one of {get_args(Schedule)}, states={self.states} is 1 or more, or None"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of an optimiser step, counted from 0.

        >>> recipe = Recipe(min_steps=0, max_steps=100, schedule="linear", learning_rate=1.0)
        >>> [round(recipe.rate(step), 2) for step in (0, 4, 52, 99)]
        [0.2, 1.0, 0.52, 0.05]
        """
        if self.schedule == "constant":
            return self.learning_rate
        rising, n = max(1, self.max_steps // 20), self.max_steps
        falling = 1 - 0.95 * max(0, step + 1 - rising) / max(1, n - rising)
        return self.learning_rate * min((step + 1) / rising, falling)
