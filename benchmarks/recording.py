"""What recording costs: CartPole and BabyAI text, bare, with our recorder in three durabilities, and with Minari.

python benchmarks/recording.py [--steps 20000] [--repeats 5] [--json]

Rows are interleaved and repeated; the table shows medians, and the spread of the microseconds per step. `behind` is the
most steps that were not on disk, and the greatest age of one, at any of the moments when a second process counted them
while the environment ran.
Minari is measured where it is installed (pip install 'minari[hdf5]').
"""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gymnasium as gym

from agentprm import Store, TrajectoryRecorder
from agentprm.record.policies import RandomPolicy

ENVS = {"CartPole": "CartPole-v1", "BabyAI text": "agentprm_envs:BabyAIText/UnlockPickup-v0"}
KINDS = ("bare", "group", "step", "episode", "minari")
WATCH = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=5)
print("watching", flush=True)
while True:
    try:
        print(time.monotonic(), connection.execute("SELECT count(*) FROM step").fetchone()[0], flush=True)
    except sqlite3.Error:
        pass
    time.sleep(0.02)
"""


def play(env, steps, say=None):
    """Seconds for so many random steps; `say` hears how many were taken."""
    env.action_space.seed(0)
    policy = RandomPolicy(0, env.action_space)
    _, info = env.reset(seed=0)
    listed = bool(info.get("actions"))
    started = time.perf_counter()
    for taken in range(steps):
        action = policy(None, info) if listed else env.action_space.sample()
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            _, info = env.reset()
        if say and taken % 100 == 0:
            say(taken)
    return time.perf_counter() - started


def run(kind, env_id, steps, folder):
    """Seconds per step in microseconds, everything on disk included where it is promised."""
    env = gym.make(env_id)
    if kind == "bare":
        return play(env, steps) / steps * 1e6
    if kind == "minari":
        return with_minari(env, steps)
    with Store(folder / f"{kind}-{time.monotonic_ns()}.db", durability=kind) as store:
        return play(TrajectoryRecorder(env, store), steps) / steps * 1e6


def with_minari(env, steps):
    try:
        import minari
    except ImportError:
        return None
    collector = minari.DataCollector(env, data_format="hdf5")
    seconds = play(collector, steps)
    collector.close()
    return seconds / steps * 1e6


def behind(env_id, steps, folder):
    """The most steps that were not on disk when they were counted, by durability `group`, and the age of one (ms).

    Counted to the nearest 100 steps, for that often the environment says how many it took.
    """
    path = folder / f"watched-{time.monotonic_ns()}.db"
    with Store(path, durability="group") as store:
        store.flush()
        watcher = subprocess.Popen([sys.executable, "-c", WATCH, str(path)], stdout=subprocess.PIPE, text=True)
        watcher.stdout.readline()
        taken: list[tuple[float, int]] = []
        play(TrajectoryRecorder(gym.make(env_id), store), steps, lambda n: taken.append((time.monotonic(), n)))
        time.sleep(0.1)
        watcher.terminate()
        seen = [line.split() for line in watcher.stdout.read().splitlines() if line.count(" ") == 1]
    steps_behind, age = 0, 0.0
    for moment, rows in ((float(m), int(n)) for m, n in seen):
        waiting = [(at, n) for at, n in taken if at <= moment and n > rows]
        if waiting:
            steps_behind = max(steps_behind, waiting[-1][1] - rows)
            age = max(age, (moment - waiting[0][0]) * 1e3)
    return {"counts": len(seen), "steps": steps_behind, "ms": round(age, 1)}


def machine():
    names = ("agentprm", "gymnasium", "numpy", "sqlalchemy", "minari")
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "machine": cpu(), **{
        name: found for name in names if (found := installed(name))}}  # fmt: skip


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    result = {"machine": machine(), "steps": options.steps, "repeats": options.repeats, "rows": []}
    print(json.dumps(result["machine"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, env_id in ENVS.items():
            measured = {kind: [] for kind in KINDS}
            for _ in range(options.repeats):
                for kind in KINDS:
                    found = run(kind, env_id, options.steps, folder)
                    if found is not None:
                        measured[kind].append(found)
            bare = statistics.median(measured["bare"])
            for kind, found in measured.items():
                if found:
                    median = statistics.median(found)
                    row = {"env": title, "recorder": kind, "of_bare": bare / median, "us": median,
                           "min": min(found), "max": max(found)}  # fmt: skip
                    result["rows"].append(row)
                    print(f"{title:12} {kind:8} {row['of_bare']:6.2f} of bare   {median:8.1f} µs/step "
                          f"({row['min']:.1f}–{row['max']:.1f})", flush=True)  # fmt: skip
        result["behind"] = {title: behind(env_id, options.steps, folder) for title, env_id in ENVS.items()}
        print("most not on disk while running (group):", result["behind"])
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
