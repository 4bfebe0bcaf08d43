"""Labelled trajectories to learn from: where they come from, which are held out, which go together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from agentprm.errors import InvalidScores, TrainingError
from agentprm.types import Scores, Trajectory

__all__ = ["Labelled", "Pair", "batches", "is_labelled", "n_labels", "split", "taken", "thinned"]

Pair: TypeAlias = tuple[Trajectory, Scores]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Trajectories with their labels, made anew at every pass: how targets follow the model that is being trained.

    >>> from agentprm.labels.outcome import Outcome
    >>> from agentprm.types import Action, Observation, Step, Task, new_id
    >>> trajectory = Trajectory(new_id(), Task("leave"), (Step(Observation(), Action("open")),), Observation())
    >>> [scores.values for _, scores in Labelled([trajectory], Outcome())]
    [(None,)]
    """

    trajectories: Sequence[Trajectory]
    label: Callable[[Sequence[Trajectory]], Sequence[Scores]]
    """A label method, or any scorer to imitate."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "trajectories", list(self.trajectories))

    def __len__(self) -> int:
        return len(self.trajectories)

    def __iter__(self) -> Iterator[Pair]:
        """Label all trajectories, and yield each with its labels."""
        yield from zip(self.trajectories, self.label(self.trajectories), strict=True)


def taken(pairs: Iterable[Pair]) -> list[Pair]:
    """Return one pass of pairs, checked: raises TrainingError for what is no pair, InvalidScores for a mismatch."""
    found = list(pairs)
    for pair in found:
        if not isinstance(pair, tuple) or [type(item) for item in pair] != [Trajectory, Scores]:
            raise TrainingError(
                f"expected pairs of a Trajectory and its Scores, met {type(pair).__name__}: say "
                "Labelled(trajectories, label), or zip(trajectories, label(trajectories))"
            )
        trajectory, scores = pair
        if scores.trajectory_id != trajectory.id or scores.start + len(scores) > len(trajectory):
            raise InvalidScores(
                f"labels of {scores.trajectory_id} beside trajectory {trajectory.id}: zip them in order"
            )
    return found


def n_labels(pair: Pair) -> int:
    """Return how many steps of a pair have a label."""
    return sum(value is not None for value in pair[1].values)


def is_labelled(pair: Pair) -> bool:
    """Return whether any step has a label."""
    return n_labels(pair) > 0


def split(trajectories: Sequence[Trajectory], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return which trajectories to learn from and which to hold out, whole tasks each.

    About `share` of them are held out. Trajectories of a single task are split one by one, with a warning: what is
    held out is then not new. A single trajectory cannot be split, and neither is anything for a share of 0.

    >>> from agentprm.types import Observation, Task, new_id
    >>> both = [Trajectory(new_id(), Task(text), (), Observation()) for text in ("a", "b", "a", "b")]
    >>> sorted(split(both, share=0.5, seed=0))
    [[0, 2], [1, 3]]
    """
    keys = [trajectory.task.key for trajectory in trajectories]
    wanted = share * len(keys)
    if not wanted or len(keys) < 2:
        return list(range(len(keys))), []
    if len(set(keys)) == 1:
        warnings.warn("all trajectories are of one task: what is held out of it is not new", stacklevel=3)
        keys = [str(i) for i in range(len(keys))]
    groups = sorted(set(keys))
    chosen: set[str] = set()
    for i in np.random.default_rng(seed).permutation(len(groups))[1:]:
        if sum(key in chosen for key in keys) >= wanted:
            break
        chosen.add(groups[i])
    held = [i for i, key in enumerate(keys) if key in chosen]
    return [i for i, key in enumerate(keys) if key not in chosen], held


def batches(pairs: Sequence[Pair], n_steps: int, chance: np.random.Generator) -> Iterator[list[Pair]]:
    """Yield the pairs once each, in random order, in batches of about `n_steps` labelled steps; whole trajectories.

    Forks of one trajectory, and those of one group, follow on one another: a model may read what they share once.
    """
    families: dict[object, list[Pair]] = {}
    for pair in pairs:
        families.setdefault(_family(pair[0]), []).append(pair)
    kin = list(families.values())
    batch: list[Pair] = []
    size = 0
    for i in chance.permutation(len(kin)):
        for pair in kin[i]:
            batch.append(pair)
            size += n_labels(pair)
            if size >= n_steps:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def thinned(pairs: Sequence[Pair], states: int, chance: np.random.Generator) -> list[Pair]:
    """Return the pairs with labels at so many steps of each episode and its forks, the same steps in all of them.

    Neighbouring steps of an episode say much the same: a few of many episodes teach more than all of a few. What has no
    label left is left out.

    >>> from agentprm.labels.outcome import Outcome
    >>> from agentprm.testing.trajectories import corridors
    >>> played = corridors(3)
    >>> thin = thinned(list(zip(played, Outcome()(played))), 1, np.random.default_rng(0))
    >>> [n_labels(pair) for pair in thin]
    [1, 1, 1]
    """
    families: dict[object, set[int]] = {}
    for trajectory, scores in pairs:
        families.setdefault(_origin(trajectory), set()).update(_labelled(scores))
    kept = {
        origin: frozenset(chance.permutation(sorted(steps))[:states].tolist()) for origin, steps in families.items()
    }
    found = [(trajectory, _only(scores, kept[_origin(trajectory)])) for trajectory, scores in pairs]
    return [pair for pair in found if is_labelled(pair)]


def _labelled(scores: Scores) -> Iterator[int]:
    return (scores.start + i for i, value in enumerate(scores.values) if value is not None)


def _only(scores: Scores, steps: frozenset[int]) -> Scores:
    values = (value if scores.start + i in steps else None for i, value in enumerate(scores.values))
    return replace(scores, values=tuple(values))


def _origin(trajectory: Trajectory) -> object:
    is_fork = trajectory.parent is not None and trajectory.parent.call is None
    return trajectory.parent.trajectory_id if is_fork and trajectory.parent is not None else trajectory.id


def _family(trajectory: Trajectory) -> object:
    if trajectory.parent is not None and trajectory.parent.call is None:
        return trajectory.parent.trajectory_id
    return trajectory.group or trajectory.id
