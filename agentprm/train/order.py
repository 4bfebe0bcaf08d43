"""How well a model orders the actions of a state: what re-ranking needs, and a loss does not show."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from agentprm.errors import TrainingError
from agentprm.train.batches import Pair
from agentprm.types import Scorer, Scores, Trajectory

__all__ = ["Order"]


class Order:
    """The share of pairs of actions in one state that a scorer orders as their labels do; a tie is half a pair.

    Actions are in one state when they are the same step of an episode and of its forks (`Replay.instead`). Pairs whose
    labels differ by `least` or less do not count. Give `fit` one, of episodes that it does not learn from, as
    ``quality``. Raises TrainingError when there is no pair.

    >>> from agentprm.record.policies import RandomPolicy
    >>> from agentprm.record.replay import Replay
    >>> from agentprm.scorers.constant import Constant
    >>> from agentprm.testing.corridor import Corridor
    >>> from agentprm.testing.trajectories import corridors
    >>> played = corridors(1)
    >>> other = Replay(Corridor(), RandomPolicy()).instead(played[0], 0, ["wait"])
    >>> labels = [Scores(t.id, Constant().spec, "value", (v,)) for t, v in zip([*played, *other], (0.2, 0.6))]
    >>> Order(zip([*played, *other], labels), least=0.1)(Constant())
    0.5
    """

    def __init__(self, pairs: Iterable[Pair], least: float = 0.0) -> None:
        self._trajectories: list[Trajectory] = []
        self._pairs: list[tuple[tuple[int, int], tuple[int, int]]] = []
        states: dict[tuple[Any, int], list[tuple[int, float]]] = {}
        for i, (trajectory, scores) in enumerate(pairs):
            self._trajectories.append(trajectory)
            for t, label in _labels(scores):
                states.setdefault((_episode(trajectory, t), t), []).append((i, label))
        for (_, t), met in states.items():
            for (i, a), (j, b) in combinations(met, 2):
                if abs(a - b) > least:
                    self._pairs.append(((i, t), (j, t)) if a > b else ((j, t), (i, t)))
        if not self._pairs:
            raise TrainingError("no two actions of one state have different labels: label forks of these episodes, too")

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def __call__(self, scorer: Scorer, /) -> float:
        """Return the share that is ordered as the labels are; what has no score is worst."""
        said = [dict(_labels(scores)) for scores in scorer(self._trajectories)]
        gaps = [said[i].get(t, -1.0) - said[j].get(t, -1.0) for (i, t), (j, _) in self._pairs]
        return sum((gap > 0) + (gap == 0) / 2 for gap in gaps) / len(gaps)


def _labels(scores: Scores) -> Iterable[tuple[int, float]]:
    return ((scores.start + i, value) for i, value in enumerate(scores.values) if value is not None)


def _episode(trajectory: Trajectory, t: int) -> object:
    """Return which episode a step belongs to: a fork is its parent up to where it parted."""
    parent = trajectory.parent
    return parent.trajectory_id if parent is not None and parent.call is None and t <= parent.index else trajectory.id
