"""A worker: one process that scores what a store holds, batch by batch, until nothing is left."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple, ParamSpec, TypeVar
from uuid import UUID, uuid4

from agentprm.errors import AgentPRMError, DamagedDatabase, InvalidScores, NoSuchTrajectory, StoreError
from agentprm.spec import make
from agentprm.store.database import Database
from agentprm.store.jobs import ScoreJob
from agentprm.store.reader import read_trajectories
from agentprm.store.store import Store
from agentprm.types import Scorer, Scores, Trajectory

__all__ = ["Batch", "Stop", "Worker", "is_dead", "main", "worker_name"]

_log = logging.getLogger("agentprm.serve")
_IDLE_S = 0.2
_AWAY_S = 60.0
"""How long a worker waits for a database that is away; one that follows waits for ever."""
_LONGEST = 2_000
"""Characters of an error that are kept."""
P = ParamSpec("P")
T = TypeVar("T")


class Batch(NamedTuple):
    """What became of one batch, in trajectories and steps."""

    scored: int = 0
    none: int = 0
    failed: int = 0
    steps: int = 0


class Stop:
    """A wish to stop, told by signals: the first lets the batch in hand be finished, the second gives it back."""

    def __init__(self, say: Callable[[str], None] = lambda _: None, *, raises: bool = True) -> None:
        self.is_asked, self.n_asked = threading.Event(), 0
        self._say, self._raises = say, raises

    def __call__(self, *_: Any) -> None:
        """Ask to stop; raises KeyboardInterrupt when that was asked before, unless workers are told by others."""
        self.n_asked += 1
        if self.n_asked == 1:
            self.is_asked.set()
            self._say("finishing the batch in hand; Ctrl-C again gives it back")
        elif self._raises:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Listen to SIGINT and SIGTERM meanwhile; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def worker_name() -> str:
    """Return a name that tells on which machine, and in which process, a worker lives."""
    return f"{_machine()}/{os.getpid()}/{uuid4().hex[:8]}"


def is_dead(name: str) -> bool:
    """Tell whether the worker of that name is known to be dead: its process was of this machine, and is gone."""
    machine, pid, _ = name.rsplit("/", 2)
    if machine != _machine():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _machine() -> str:
    try:  # containers may share a host's name, not its processes
        return f"{socket.gethostname()}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


class Worker:
    """Claims trajectories of a job, scores them, stores the scores; see `ScoreJob` for what survives what."""

    def __init__(
        self, database: Database, job: ScoreJob, scorer: Scorer, stop: Stop, *, batch: int = 32, follow: bool = False
    ) -> None:
        self.name = worker_name()
        self._database, self._job, self._scorer, self._stop = database, job, scorer, stop
        self._batch, self._follow = batch, follow

    def run(self, parent: int | None = None) -> Iterator[Batch]:
        """Yield what became of each batch, until nothing is left, `stop` is asked or the `parent` process is gone."""
        with self._alive():
            try:
                while not (self._stop.is_asked.is_set() or (parent is not None and os.getppid() != parent)):
                    if claimed := self._asking(self._job.claim, self.name, self._batch):
                        yield self._score(claimed)
                    elif self._is_over():
                        return
            except BaseException:
                with suppress(Exception):
                    self._job.give_back(self.name)
                raise

    def _is_over(self) -> bool:
        """Bury the dead, whose claims return; else wait for more, or for those who still work."""
        for name in filter(is_dead, self._asking(self._job.workers)):
            self._asking(self._job.release, name)
        if not self._follow and self._asking(self._job.end):
            return True
        self._stop.is_asked.wait(5 * _IDLE_S if self._follow else _IDLE_S)
        return False

    def _score(self, ids: list[UUID]) -> Batch:
        try:
            trajectories = self._asking(lambda: list(read_trajectories(self._database, id=ids)))
        except DamagedDatabase as error:
            return self._apart(ids, error)
        try:
            given = self._judged(trajectories)
        except Exception as error:
            return self._apart(ids, error)
        try:
            kept = self._asking(self._job.finish, self.name, given)
        except (InvalidScores, NoSuchTrajectory) as error:
            return self._apart(ids, error)
        none = sum(all(value is None for value in scores.values) for scores in kept)
        return Batch(len(kept) - none, none, 0, sum(map(len, kept)))

    def _apart(self, ids: list[UUID], error: Exception) -> Batch:
        """Score each by itself where some of them cannot be scored; one that is alone already was tried."""
        if len(ids) > 1:
            return Batch(*map(sum, zip(*(self._score([key]) for key in ids), strict=True)))
        return Batch(failed=self._asking(self._job.fail, self.name, ids[0], _line(error)))

    def _judged(self, trajectories: list[Trajectory]) -> list[Scores]:
        given = self._scorer(trajectories)
        if [scores.trajectory_id for scores in given] != [trajectory.id for trajectory in trajectories]:
            name = self._scorer.spec.name
            raise InvalidScores(f"{name} was given {len(trajectories)} trajectories and scored {len(given)}, or others")
        return given

    def _asking(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the database, and again while it is away."""
        until = time.monotonic() + _AWAY_S
        while True:
            try:
                return ask(*args, **kwargs)
            except StoreError as error:
                is_late = not self._follow and time.monotonic() > until
                if not self._database.is_away(error) or is_late or self._stop.is_asked.is_set():
                    raise
                _log.warning("%s; trying again", error)
                self._stop.is_asked.wait(1.0)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Renew the claims meanwhile: a batch may take longer than they last."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self._job.lease_s / 4):
                with suppress(StoreError):  # the next time, or somebody else takes them
                    self._job.keep(self.name)

        thread = threading.Thread(target=renew, name="agentprm-claims", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]


def main() -> None:
    """Work as a child of `score_store`: an order on standard input; what became of it goes to the pipe it names."""
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    told = os.fdopen(order["pipe"], "w", buffering=1)

    def tell(**said: Any) -> None:
        with suppress(BrokenPipeError):
            told.write(json.dumps(said) + "\n")

    try:
        with Stop().listening() as stop, Store(order["url"], create=False) as store:
            for said in _obey(order, store, stop):
                tell(**said)
    except KeyboardInterrupt:
        pass  # what was in hand was given back
    except Exception as error:
        tell(error=str(error) if isinstance(error, AgentPRMError) else _line(error))
        if os.environ.get("AGENTPRM_DEBUG"):
            raise
        sys.exit(1)


def _obey(order: Mapping[str, Any], store: Store, stop: Stop) -> Iterator[dict[str, Any]]:
    scorer, follow = make(order["scorer"]), order["follow"]
    selector = {name: _REVIVED[name](value) if name in _REVIVED else value for name, value in order["selector"].items()}
    began = datetime.fromisoformat(order["began"])
    job = ScoreJob(store._database, scorer, selector, tries=order["tries"], follow=follow, began=began)
    total = job.unscored.count() if order["counts"] else None
    yield {"name": scorer.spec.name, "digest": scorer.spec.digest, "job": str(job.id), "total": total}
    worker = Worker(store._database, job, scorer, stop, batch=order["batch"], follow=follow)
    for batch in worker.run(order["parent"]):
        yield {"batch": batch}


_REVIVED: dict[str, Callable[[str], Any]] = {
    "since": datetime.fromisoformat, "until": datetime.fromisoformat, "parent": UUID,
}  # fmt: skip
"""What JSON has no form for."""

if __name__ == "__main__":
    main()
