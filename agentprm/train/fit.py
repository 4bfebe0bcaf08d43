"""Training a step-reward model on labelled trajectories."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from agentprm.errors import MissingExtra, TrainingError
from agentprm.progress import progress_bar
from agentprm.train.batches import Pair, batches, is_labelled, n_labels, split, taken, thinned
from agentprm.train.processes import Processes
from agentprm.train.recipe import Recipe
from agentprm.train.report import Fit, Point
from agentprm.types import Step, StepRewardModel

if TYPE_CHECKING:
    from torch.nn import Parameter

__all__ = ["Fit", "Point", "Recipe", "fit"]

M = TypeVar("M", bound=StepRewardModel)


def fit(
    model: M,
    pairs: Iterable[Pair],
    recipe: Recipe | None = None,
    *,
    quality: Callable[[M], float] | None = None,
    progress: bool | None = None,
    alone: bool = False,
) -> Fit:
    """Train `model`, in place, and return a report; the weights kept are those of the least held-out loss.

    `pairs` is a list of trajectories with their scores, or `Labelled`, whose labels are made anew at every pass, from
    the model as it then is; an iterator is taken into a list. Where labels follow the model, so does the held-out
    loss. `quality` says how good a model is, the more the better, and then chooses the weights instead of the loss: for
    one that ranks actions, the `agentprm.train.order.Order` of actions in one state. An interruption (Ctrl-C) keeps the
    best weights so far and returns. `progress` draws a bar, by default on a terminal. Nothing touches torch's global
    random state. Started in several processes (``accelerate launch``, ``torchrun``), each reads its share of every
    batch, and the weights are those of one process; `alone` does without.

    Raises TrainingError when no step has a label or the loss stops being a number, MissingExtra without torch.

    >>> from agentprm.labels.outcome import Outcome
    >>> from agentprm.scorers.hashed import Hashed
    >>> from agentprm.testing.trajectories import corridors
    >>> played, model = corridors(40, seed=0), Hashed()
    >>> report = fit(model, zip(played, Outcome()(played)), Recipe(min_steps=50, max_steps=50))
    >>> report.steps, report.interrupted
    (50, False)
    """
    torch = _torch()
    processes = Processes() if alone else Processes.here()
    training = _Training(model, pairs, recipe or Recipe(), quality, processes)
    with torch.random.fork_rng(devices=_devices(training.parameters)), torch.enable_grad():
        torch.manual_seed(training.recipe.seed)
        show = progress if processes.is_first else False
        with progress_bar("training", training.recipe.max_steps, show) as advance:
            try:
                for point in training.run(advance):
                    if training.is_done(point):
                        break
            except KeyboardInterrupt:
                training.interrupted = True
    return training.report()


class _Training:
    """One run: the model's optimiser, the split, the best weights so far."""

    def __init__(
        self,
        model: Any,
        pairs: Iterable[Pair],
        recipe: Recipe,
        quality: Callable[[Any], float] | None,
        processes: Processes,
    ) -> None:
        self.started = time.perf_counter()
        self.model, self.recipe, self.quality, self.processes = model, recipe, quality, processes
        if processes.device is not None and hasattr(model, "to"):
            model.to(processes.device)
        self.pairs: Iterable[Pair] = list(pairs) if iter(pairs) is pairs else pairs
        self.parameters: list[Parameter] = list(model.parameters())
        if not self.parameters:
            raise TrainingError(f"{model.spec.name} has no parameters: there is nothing to train")
        processes.copy_first(self.parameters)
        self.first = taken(self.pairs)
        processes.require_same(repr([(*map(_said, t.steps), scores.values) for t, scores in self.first]))
        _require_labels(self.first)
        labelled = [i for i, pair in enumerate(self.first) if is_labelled(pair)]
        learn, held = split([self.first[i][0] for i in labelled], recipe.held_out, recipe.seed)
        self.learn, self.held = [labelled[i] for i in learn], [labelled[i] for i in held]
        self.step = self.best_step = self.stale = 0
        self.best: float | None = None
        self.loss: float | None = None
        self.weights: list[Any] | None = None
        self.curve: list[Point] = []
        self.interrupted = False
        self._chance = np.random.default_rng(recipe.seed)

    def run(self, advance: Any) -> Iterator[Point]:
        """Train on and on; yield every evaluation."""
        recipe, torch = self.recipe, _torch()
        optimiser = torch.optim.AdamW(self.parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        losses: list[float] = []
        for held, batch, ends in self._passes():
            losses.append(self._learn(batch, optimiser))
            advance(1, f"loss {losses[-1]:.4f}")
            if self.step >= recipe.max_steps or (ends and len(losses) >= recipe.evaluate_every):
                quality = None if self.quality is None else float(self.quality(self.model))
                yield Point(self.step, sum(losses) / len(losses), self._held_out(held), quality)
                losses.clear()

    def _passes(self) -> Iterator[tuple[list[Pair], list[Pair], bool]]:
        """Yield batches without end, each with what is held out and whether its pass ends; relabel at every pass."""
        found: list[Pair] = self.first
        while True:
            learn = [pair for i in self.learn if is_labelled(pair := found[i])]
            held = [pair for i in self.held if is_labelled(pair := found[i])]
            learn = learn if self.recipe.states is None else thinned(learn, self.recipe.states, self._chance)
            made = list(batches(learn, self.recipe.batch_size, self._chance))
            yield from ((held, batch, i + 1 == len(made)) for i, batch in enumerate(made))
            found = taken(self.pairs)
            if [t.id for t, _ in found] != [t.id for t, _ in self.first]:
                raise TrainingError("a later pass gave other trajectories than the first: give a list, or Labelled")

    def _learn(self, batch: Sequence[Pair], optimiser: Any) -> float:
        optimiser.zero_grad()
        with self.processes.reading(self.parameters):
            loss = self.model.loss(batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingError(f"the loss is {value} after {self.step} steps: lower the learning rate")
            loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        _torch().nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        optimiser.step()
        self.step += 1
        return value

    def _held_out(self, held: Sequence[Pair]) -> float | None:
        """Return the loss per labelled step."""
        if not held:
            return None
        total = 0.0
        with _torch().no_grad(), self.processes.reading():
            for batch in batches(held, self.recipe.batch_size, np.random.default_rng(0)):
                total += float(self.model.loss(batch)) * sum(map(n_labels, batch))
        return total / sum(map(n_labels, held))

    def is_done(self, point: Point) -> bool:
        """Take in an evaluation, keep the weights if they are the best, and return whether training ends."""
        self.curve.append(point)
        if self.step < self.recipe.min_steps:
            return False
        if (badness := _badness(point)) is None:
            return True
        least = 1e-3 * abs(_badness(self.curve[0]) or 0.0)
        if self.best is None or badness < self.best - least:
            self.best, self.best_step, self.stale = badness, self.step, 0
            self.loss = point.held_out
            self.weights = [p.detach().clone() for p in self.parameters]
        else:
            self.stale += 1
        return self.stale >= self.recipe.patience or self.step >= self.recipe.max_steps

    def report(self) -> Fit:
        """Put the best weights back, and say what was done."""
        if self.weights is not None:
            with _torch().no_grad():
                for parameter, best in zip(self.parameters, self.weights, strict=True):
                    parameter.copy_(best)
        if not self.interrupted:
            self.processes.copy_first(self.parameters)
        labels = {i: n_labels(self.first[i]) for i in (*self.learn, *self.held)}
        return Fit(
            steps=self.step,
            best_step=self.best_step if self.weights is not None else self.step,
            loss=self.loss,
            curve=tuple(self.curve),
            n_trajectories=len(labels),
            n_labels=sum(labels.values()),
            n_held_out=sum(labels[i] for i in self.held),
            seconds=time.perf_counter() - self.started,
            interrupted=self.interrupted,
        )


def _badness(point: Point) -> float | None:
    """Return what is to be made small."""
    return point.held_out if point.quality is None else -point.quality


def _said(step: Step) -> tuple[str, str]:
    return step.observation.text, step.action.text


def _require_labels(pairs: Sequence[Pair]) -> None:
    values = {value for _, scores in pairs for value in scores.values if value is not None}
    if not values:
        raise TrainingError(
            f"none of {len(pairs)} trajectories has a label: an episode without an outcome has none; tell the recorder "
            "where it stands, as outcome="
        )
    if len(values) == 1 and sum(map(n_labels, pairs)) > 1:
        warnings.warn(f"every label is {values.pop()}: there is nothing to tell apart", stacklevel=4)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("models", "torch") from error
    return torch


def _devices(parameters: Sequence[Parameter]) -> list[int]:
    return sorted({p.device.index or 0 for p in parameters if p.device.type == "cuda"})
