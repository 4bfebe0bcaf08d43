"""Judges at work: in threads of their own, so that no agent and no event loop waits for a score."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agentprm.record._langchain_failures import Failures
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["Judge", "Judging"]

_WORKERS = 8
_MOST_WAITING = 1024
"""A judge that falls behind this far is not asked about further turns until it has caught up."""


class Judge(Protocol):
    """Scores a turn as soon as it may be seen."""

    @property
    def sees(self) -> Literal["action", "result"]:
        """How far it looks."""

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""

    def __call__(self, trajectory: Trajectory, /) -> Scores:
        """Return the score of the last step."""


class Judging:
    """Turns that wait for a judge, whose errors are only counted; those of one run are judged in their order.

    >>> from agentprm.types import Spec
    >>> judging, said = Judging(Failures()), []
    >>> _ = judging.ask("run", lambda: 3, said.append)
    >>> judging.wait(5.0), said
    (True, [3])
    """

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._lock = threading.Lock()
        self._lines: dict[object, deque[_Job]] = {}
        self._waiting: set[Future[None]] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    @property
    def n_waiting(self) -> int:
        """How many turns wait."""
        with self._lock:
            return len(self._waiting)

    def ask(self, run: object, judge: Callable[[], Any], then: Callable[[Any], None]) -> Future[None] | None:
        """Have it judged soon, and `then` told the answer; None is told at once where too many wait, or none may."""
        job = _Job(judge, then, Future())
        if self._failures.attempt("score", self._line_up, run, job) is None:
            then(None)
            return None
        return job.done

    def _line_up(self, run: object, job: _Job) -> bool:
        pool = self._take_place(run, job)
        if pool is not None:  # not under the lock: all pools of a process share one
            try:
                pool.submit(self._work_off, run)
            except BaseException:
                self._give_up(run, but=job)
                raise
        return True

    def _give_up(self, run: object, but: _Job) -> None:
        """Let the turns of a run go on without a score: no thread will come, as at the end of the process."""
        with self._lock:
            line = self._lines.pop(run)
            self._waiting.difference_update(job.done for job in line)
        for job in line:
            if job is not but:
                job.then(None)

    def _take_place(self, run: object, job: _Job) -> ThreadPoolExecutor | None:
        """Put a turn into the line of its run; return who is to begin working the line off, if nobody does."""
        with self._lock:
            if self._pool is None or self._process != os.getpid():
                # The threads of a parent process did not come along.
                self._pool, self._process = ThreadPoolExecutor(_WORKERS, "agentprm-score"), os.getpid()
                self._waiting, self._lines = set(), {}
            if len(self._waiting) >= _MOST_WAITING:
                raise TimeoutError(f"{_MOST_WAITING} turns wait for the scorer already: it is slower than the agents")
            is_new = run not in self._lines
            self._lines.setdefault(run, deque()).append(job)
            self._waiting.add(job.done)
            return self._pool if is_new else None

    def _work_off(self, run: object) -> None:
        """Judge the turns of one run, until there is none."""
        while (job := self._next(run)) is not None:
            try:
                job.then(self._failures.attempt("score", job.judge))
            finally:
                with self._lock:
                    self._waiting.discard(job.done)
                job.done.set_result(None)

    def _next(self, run: object) -> _Job | None:
        with self._lock:
            if not self._lines[run]:
                del self._lines[run]
                return None
            return self._lines[run].popleft()

    def wait(self, timeout: float | None = None) -> bool:
        """Return when nothing waits any more, or after so many seconds; tell whether nothing does."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                waiting = set(self._waiting)
            left = None if deadline is None else deadline - time.monotonic()
            if not waiting or (left is not None and left <= 0):
                return not waiting
            wait_for(waiting, left)


@dataclass(frozen=True, slots=True)
class _Job:
    judge: Callable[[], Any]
    then: Callable[[Any], None]
    done: Future[None]
