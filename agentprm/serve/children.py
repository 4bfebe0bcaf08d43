"""Worker processes: started, heard, replaced when they die, told to stop."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from agentprm.errors import AgentPRMError, InvalidSpec
from agentprm.serve.worker import Stop
from agentprm.types import Spec, utc_now

__all__ = ["children"]

_MOST_DEATHS = 20
"""Workers that may die one after another, without a batch in between, before that is no accident."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class _Child:
    """One worker process; what it says goes into a queue, its exit last."""

    def __init__(self, order: Mapping[str, Any], said: queue.Queue[tuple[_Child, dict[str, Any]]]) -> None:
        reading, writing = os.pipe()
        paths = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, **_ONE_THREAD, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": paths}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "agentprm.serve.worker"],
            stdin=subprocess.PIPE, stdout=2, env=environment, pass_fds=(writing,), text=True,
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone, which passes it on
        )  # fmt: skip
        os.close(writing)
        assert self.process.stdin is not None
        with self.process.stdin as stdin:
            stdin.write(json.dumps({**order, "pipe": writing}, default=_plain) + "\n")
        self.is_ready, self._reading, self._said = False, reading, said
        threading.Thread(target=self._hear, name="agentprm-worker", daemon=True).start()

    def _hear(self) -> None:
        with os.fdopen(self._reading) as lines:
            for line in lines:
                self._said.put((self, json.loads(line)))
        self._said.put((self, {"exit": self.process.wait()}))


def children(
    url: str | Path, scorer: Any, n: int, stop: Stop, say: Callable[[str], None], counts: bool, **how: Any
) -> Iterator[dict[str, Any]]:
    """Yield what `n` workers say: first what there is to do, then what became of each batch.

    One that dies is replaced; `stop` is passed on. Raises AgentPRMError with what a worker could not do, InvalidSpec
    for a scorer without a plain form.
    """
    order = {"url": str(url), "scorer": _form(scorer), "parent": os.getpid(), "began": utc_now(), **how}
    said: queue.Queue[tuple[_Child, dict[str, Any]]] = queue.Queue()
    alive = [_Child({**order, "counts": counts and i == 0}, said) for i in range(n)]
    try:
        yield from _heard(alive, order, said, stop, say)
    finally:
        _end(alive)


def _heard(
    alive: list[_Child],
    order: Mapping[str, Any],
    said: queue.Queue[tuple[_Child, dict[str, Any]]],
    stop: Stop,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    n_passed_on = n_deaths = 0
    first, is_counted = alive[0], False
    waiting: list[dict[str, Any]] = []
    while alive:
        n_passed_on = _pass_on(alive, stop, n_passed_on)
        try:
            child, message = said.get(timeout=0.1)
        except queue.Empty:
            continue
        if "error" in message:
            raise AgentPRMError(message["error"])
        if "exit" in message:
            alive.remove(child)
            if message["exit"] and not stop.is_asked.is_set():
                n_deaths += 1
                if not child.is_ready or n_deaths > _MOST_DEATHS:
                    raise AgentPRMError(f"a worker ended with exit code {message['exit']}: what it said is above")
                say(f"a worker died (exit code {message['exit']}); another takes its place")
                alive.append(_Child({**order, "counts": False}, said))
        elif "name" in message:
            child.is_ready = True
            if child is first:
                is_counted = True
                yield message
                yield from waiting
        else:
            n_deaths = 0
            if is_counted:
                yield message
            else:
                waiting.append(message)


def _pass_on(alive: list[_Child], stop: Stop, n_before: int) -> int:
    """Tell the workers that the user wants to stop, as often as he said so; the third time they are killed."""
    for _ in range(stop.n_asked - n_before):
        n_before += 1
        for child in alive:
            child.process.send_signal(signal.SIGTERM if n_before < 3 else signal.SIGKILL)
    return n_before


def _end(alive: list[_Child]) -> None:
    for child in alive:
        child.process.terminate()
    for child in alive:
        child.process.wait()


def _form(scorer: Any) -> Any:
    """Return what a worker makes the scorer from."""
    if isinstance(scorer, Spec):
        return scorer.plain()
    if isinstance(scorer, (str, Path)):
        return str(scorer)
    if isinstance(scorer, Mapping):
        return dict(scorer)
    live = type(scorer).__name__
    raise InvalidSpec(f"each worker makes its own scorer: give a folder, a Spec or 'name:key=value', not a live {live}")


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise InvalidSpec(f"a worker cannot be told {value!r}: give text, numbers, dates and ids")
