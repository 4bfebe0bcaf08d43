"""How long a step's commit takes with several writer processes on one database, and whether every step is there."""

from __future__ import annotations

import multiprocessing
import os
import random
import time

import numpy as np

from agentprm import Store
from agentprm.store import database, engine
from agentprm.types import Began, Ended, Stepped

EPISODE = 50
WAYS = (
    "as it is",
    "SQLite's own pauses",
    "0.5 ms, after 50 ms 5 ms",
    "doubling to 10 ms",
    "checkpoint of 1,000 pages",
    "own files",
)
"""Ways to take turns; `own files` shares nothing, so that it shows what the machine alone makes of it."""


def take_turns(way):
    """Let this process take turns in another way."""
    if way == "SQLite's own pauses":
        database.Database._in_turn = lambda self, attempt: attempt()
        execute = database.Database._connection

        def connection(self):
            made = execute(self)
            made.driver_connection.execute(f"PRAGMA busy_timeout={int(self._wait_s * 1_000)}")
            return made

        database.Database._connection = connection
    elif way == "0.5 ms, after 50 ms 5 ms":
        database.Database._in_turn = lambda self, attempt: _asking(self, attempt, _two_lengths)
    elif way == "doubling to 10 ms":
        database.Database._in_turn = lambda self, attempt: _asking(self, attempt, _doubling)
    elif way == "checkpoint of 1,000 pages":
        engine._CHECKPOINT_PAGES = 1_000


def _two_lengths(waited, n):
    return 0.0005 if waited < 0.05 else 0.005


def _doubling(waited, n):
    return min(0.001 * 2**n, 0.010) * random.uniform(0.5, 1.0)


def _asking(self, attempt, pause):
    began, n = time.monotonic(), 0
    while True:
        try:
            return attempt()
        except Exception as error:
            waited = time.monotonic() - began
            if not self.is_sqlite or not self._is_busy(error) or waited >= self._wait_s:
                raise
            time.sleep(pause(waited, n))
            n += 1


def writer(url, way, made, ready, go, said):
    take_turns(way)
    took, worst = [], 0
    with Store(f"{url}.{os.getpid()}" if way == "own files" else url, durability="step") as store:
        ready.release()
        go.wait()
        for event in made:
            began = time.perf_counter()
            store.write(event)
            took.append(time.perf_counter() - began)
        worst = store.spooled
        n = sum(map(len, store.trajectories())) if way == "own files" else 0
    said.put(
        (np.array([t for t, e in zip(took, made, strict=True) if isinstance(e, Stepped)]), store.dropped, worst, n)
    )


def events(n_steps):
    from faults_kills import episode

    made = []
    for _ in range(n_steps // EPISODE):
        t = episode(EPISODE)
        first, *results = t.observations
        made.append(Began(t._with(steps=(), last=first, ending=None)))
        made += [Stepped(t.id, i, s, r) for i, (s, r) in enumerate(zip(t.steps, results, strict=True))]
        made.append(Ended(t.id, t.ending))
    return made


def together(url, way, writers, n_steps):
    """Return what a step's commit takes with so many writers, and how many steps are there."""
    context = multiprocessing.get_context("fork")
    ready, go, said = context.Semaphore(0), context.Event(), context.Queue()
    Store(url).close()
    arguments = [(url, way, events(n_steps), ready, go, said) for _ in range(writers)]
    children = [context.Process(target=writer, args=given) for given in arguments]
    for child in children:
        child.start()
    for _ in children:
        ready.acquire()
    began = time.perf_counter()
    go.set()
    heard = [said.get() for _ in children]
    took = time.perf_counter() - began
    for child in children:
        child.join()
    ms = np.concatenate([h[0] for h in heard]) * 1_000
    with Store(url) as store, store.connection() as connection:
        there = connection.exec_driver_sql("SELECT count(*) FROM step").scalar() + sum(h[3] for h in heard)
    quantiles = {f"p{q}": float(np.percentile(ms, q)) for q in (50, 90, 99, 99.9)} | {"max": float(ms.max())}
    lost = {"dropped": sum(h[1] for h in heard), "spooled": sum(h[2] for h in heard)}
    load = os.getloadavg()[0]
    return {
        "way": way,
        "steps": writers * n_steps,
        "there": there,
        "per_s": len(ms) / took,
        **quantiles,
        **lost,
        "load": load,
    }
