"""One call of a scorer for all who ask at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TypeAlias

from agentprm.types import Scorer, Scores, Trajectory

__all__ = ["Batches", "Full"]

_Asked: TypeAlias = tuple[Sequence[Trajectory], "Future[list[Scores]]"]


class Full(Exception):
    """More is waiting than may wait."""


class Batches:
    """A thread that calls a scorer: with whatever came while it was busy, at most so many trajectories at once.

    Nobody waits for company: alone, a question is asked at once. When a call fails that several share, each is asked
    again by itself, so that nobody fails for another.

    >>> from agentprm.scorers.constant import Constant
    >>> from agentprm.testing.trajectories import episode
    >>> with Batches(Constant(0.5)) as batches:
    ...     batches.ask([episode(("a door", "open it"))])[0].values
    (0.5,)
    """

    def __init__(self, scorer: Scorer, most: int = 64, most_waiting: int = 1024) -> None:
        self.scorer, self.most, self.most_waiting = scorer, most, most_waiting
        self.calls = 0
        """Of the scorer, so far."""
        self.asked = 0
        """Questions that were answered by these calls."""
        self._waiting: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="agentprm-batches", daemon=True)
        self._thread.start()

    def ask(self, trajectories: Sequence[Trajectory]) -> list[Scores]:
        """Return the scores of each; raises what the scorer raises, and Full where too much is waiting."""
        answer: Future[list[Scores]] = Future()
        with self._changed:
            if self._closed or sum(len(asked) for asked, _ in self._waiting) >= self.most_waiting:
                raise Full("closed" if self._closed else f"{self.most_waiting} trajectories are waiting")
            self._waiting.append((trajectories, answer))
            self._changed.notify()
        return answer.result()

    def close(self) -> None:
        """Answer what is waiting, and take no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Asked]:
        """Return what is waiting, as much as one call may hold and at least one question; nothing once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch: list[_Asked] = []
            size = 0
            while self._waiting and (not batch or size + len(self._waiting[0][0]) <= self.most):
                batch.append(self._waiting.popleft())
                size += len(batch[-1][0])
            return batch

    def _answer(self, batch: Sequence[_Asked]) -> None:
        try:
            said = self._call([trajectory for asked, _ in batch for trajectory in asked])
        except BaseException as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for one in batch:
                self._answer([one])
            return
        self.asked += len(batch)
        start = 0
        for asked, answer in batch:
            answer.set_result(said[start : start + len(asked)])
            start += len(asked)

    def _call(self, trajectories: Sequence[Trajectory]) -> list[Scores]:
        self.calls += 1
        said = list(self.scorer(trajectories))
        if len(said) != len(trajectories):
            raise RuntimeError(f"{self.scorer.spec.name} gave {len(said)} scores of {len(trajectories)} trajectories")
        return said
