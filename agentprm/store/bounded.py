"""PostgreSQL connections that give up a server which says nothing any more, and does not end the connection either."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

__all__ = ["BoundedConnection"]

_LOOK_S = 0.1


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for its server for `limit_s` at a time, and beyond `deadline` not at all.

    Neither libpq nor the server's own timeouts notice a server that is stopped: the system goes on taking what is sent
    to it. Raises OperationalError after the limit, and is of no use any more.
    """

    limit_s: float | None = 2.0
    """Seconds for one answer; None waits for ever. A deadline takes its place."""
    deadline: float | None = None
    """A moment of `time.monotonic`."""

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server, as psycopg does for every statement."""
        limit = self.limit_s if self.deadline is None else self.deadline - time.monotonic()
        if limit is None:
            return super().wait(*args, **kwargs)
        with _watch.over(self.pgconn.socket, limit) as wait:
            try:
                return super().wait(*args, **kwargs)
            except psycopg.OperationalError:
                if not wait.is_over:
                    raise
        raise psycopg.OperationalError("the server accepted a statement and does not answer")


class _Wait:
    """One wait, and when it is over."""

    def __init__(self, descriptor: int, limit: float) -> None:
        self.descriptor, self.until, self.is_over = descriptor, time.monotonic() + limit, False

    def end(self) -> None:
        """Shut the connection: whoever waits for it hears that at once."""
        self.is_over = True
        with suppress(OSError), socket.socket(fileno=os.dup(self.descriptor)) as twin:
            twin.shutdown(socket.SHUT_RDWR)


class _Watch:
    """Ends waits that are over; one thread per process, asleep while nobody waits."""

    def __init__(self) -> None:
        self._waits: set[_Wait] = set()
        self._lock, self._begun = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, descriptor: int, limit: float) -> Iterator[_Wait]:
        """Watch over a wait."""
        wait = _Wait(descriptor, limit)
        with self._lock:
            self._waits.add(wait)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="agentprm-watch", daemon=True)
                self._thread.start()
        self._begun.set()
        try:
            yield wait
        finally:
            with self._lock:
                self._waits.discard(wait)

    def _look(self) -> None:
        while True:
            self._begun.wait()
            self._begun.clear()
            while self._waits:
                time.sleep(_LOOK_S)
                with self._lock:
                    for wait in self._waits:
                        if not wait.is_over and time.monotonic() >= wait.until:
                            wait.end()


_watch = _Watch()


def _after_fork() -> None:
    global _watch
    _watch = _Watch()


os.register_at_fork(after_in_child=_after_fork)
