"""What a live turn costs through `agentprm serve`, and what it gains that those who ask at once share a call.

$ python benchmarks/serving.py [--rounds 5] [--json]

Every round plays the same episodes here and there, one after the other; figures are medians over rounds.
"""

import argparse
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from agentprm.scorers.hashed import Hashed
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.scorers.remote import Remote
from agentprm.serve.scores import ScoreServer
from agentprm.testing.trajectories import episode
from agentprm.text.tokens import texts, train_tokenizer

TURNS, AGENTS = 30, 8


def played(seed):
    turns = [
        (f"You are in room {seed}.{t} and see a red door, a key and a box.", f"open door {t}") for t in range(TURNS)
    ]
    return episode(*turns, task=f"find the way out of house {seed}")


def live(scorer, trajectory):
    """Score an episode turn by turn, as a wrapper does; return seconds per turn."""
    began = time.perf_counter()
    for t in range(len(trajectory)):
        scorer([trajectory.seen(t, "action")])
    return (time.perf_counter() - began) / len(trajectory)


@contextmanager
def serving(scorer, batch_size):
    with ScoreServer(scorer, batch_size=batch_size) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()


def many(remotes, trajectories):
    """Let many agents play at once; return turns per second of all of them."""
    began = time.perf_counter()
    with ThreadPoolExecutor(len(remotes)) as pool:
        list(pool.map(live, remotes, trajectories))
    return len(remotes) * TURNS / (time.perf_counter() - began)


def measured(make, rounds):
    """Return medians: ms per turn here and there, turns per second of many agents with and without shared calls."""
    rows = {"here_ms": [], "there_ms": [], "shared_per_s": [], "apart_per_s": []}
    for n in range(rounds):
        trajectories = [played(f"{n}-{i}") for i in range(AGENTS)]
        rows["here_ms"].append(1e3 * live(make(), trajectories[0]))
        with serving(make(), 64) as server:
            rows["there_ms"].append(1e3 * live(Remote(server.url), trajectories[0]))
        for name, batch_size in (("shared_per_s", 64), ("apart_per_s", 1)):
            with serving(make(), batch_size) as server:
                rows[name].append(many([Remote(server.url) for _ in trajectories], trajectories))
    return {name: statistics.median(values) for name, values in rows.items()}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    tokenizer = train_tokenizer(texts(map(played, range(9))), 600)
    models = {
        "hashed": Hashed,
        "language model, 2.5 M weights": lambda: PromiseProgress.tiny(tokenizer, hidden=192, layers=4, heads=6),
    }
    found = {name: measured(make, chosen.rounds) for name, make in models.items()}
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{TURNS} turns; {AGENTS} agents; medians of {chosen.rounds}")
    for name, row in found.items():
        adds, gain = row["there_ms"] - row["here_ms"], row["shared_per_s"] / row["apart_per_s"]
        print(f"{name}: a turn takes {row['here_ms']:.1f} ms here, {row['there_ms']:.1f} there ({adds:+.1f})")
        print(f"  {AGENTS} agents: {row['shared_per_s']:.0f} turns a second; calls not shared {row['apart_per_s']:.0f}")
        print(f"  shared against not: {gain:.2f}")


if __name__ == "__main__":
    main()
