"""Processes that record, merge, upgrade or import, killed at random points, and what is left of what they acknowledged.

Each child is forked from a parent that has imported everything, and says through a pipe what is done. Used by
`benchmarks/faults.py`, and with a few kills each by the tests.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv

from agentprm import Action, Ending, Observation, Step, Store, Task, Trajectory, TrajectoryRecorder
from agentprm.record.gymnasium_vector import VectorTrajectoryRecorder
from agentprm.store import database, migrate
from agentprm.store import merge as merging
from agentprm.store.integrity import damages
from agentprm.store.opened import close_database, open_database
from agentprm.types import Began, Ended, Scores, Spec, Stepped, new_id

LONGEST = 40
"""Steps of an episode at most."""
Say = Callable[[str, int], None]


class Counting(gym.Env):
    """A world in which each step says which it is: the observation is (seed, step), the reward the step."""

    observation_space = gym.spaces.Box(0, 2**31, (2,), np.int64)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        """Begin to count from a seed."""
        self.seed, self.t = seed or 0, 0
        return np.array([self.seed, 0]), {"task": f"count from {self.seed}"}

    def step(self, action):
        """Count on."""
        self.t += 1
        return np.array([self.seed, self.t]), float(self.t), self.t >= 5 + self.seed % (LONGEST - 4), False, {}


@dataclass
class Killed:
    """What a kill left."""

    scenario: str
    acknowledged: int = 0
    lost: int = 0
    oldest_ms: float = 0.0
    """How long before the kill the oldest step that is lost was acknowledged."""
    wrong: list[str] = field(default_factory=list)


# What children do until they are killed.


def plain_loop(durability):
    def run(url, say):
        for lap in range(10**6):
            with Store(url, durability=durability) as store:
                env = TrajectoryRecorder(Counting(), store)
                for episode in range(200):
                    key = env.reset(seed=os.getpid() % 1000 * 1000 + lap + episode)[1]["prm"]["trajectory"]
                    n, over = 0, False
                    while not over:
                        _, _, over, _, _ = env.step(n % 2)
                        n += 1
                        if durability != "episode" or over:
                            say(key, n)

    return run


def vector_loop(url, say):
    with Store(url, durability="step") as store:
        envs = VectorTrajectoryRecorder(SyncVectorEnv([Counting] * 4), store)
        envs.reset(seed=os.getpid())
        ids = [None] * 4
        while True:
            envs.step(np.zeros(4, dtype=int))
            for i, recorder in enumerate(envs.recorder.recorders):
                t = recorder.episode.trajectory
                if ids[i] is not None or len(t):
                    say(str(t.id), len(t))
                ids[i] = t.id


def callback_loop(url, say):
    from callbacks import AGENT, TURNS, ask

    from agentprm import PRMCallbackHandler

    with Store(url, durability="step") as store:
        handler = PRMCallbackHandler(store)
        for n in range(os.getpid() * 1000, 10**12):
            AGENT.invoke(ask(n), config={"callbacks": [handler]})
            handler.flush()
            say(f"double number {n}", TURNS + 1)


def spool_loop(url, say):
    database._BUSY_S = database._AGAIN_S = 0.005
    plain_loop("step")(url, say)


LOOPS = {
    "loop, step": (plain_loop("step"), 0),
    "loop, group": (plain_loop("group"), 1_000),
    "loop, episode": (plain_loop("episode"), 0),
    "vector of 4, step": (vector_loop, 0),
    "LangChain callback, step": (callback_loop, 0),
    "spool, file locked": (spool_loop, 0),
}
"""What runs, and how many acknowledged steps may be lost."""


# Killing.


def forked(work, *arguments):
    """Start a child that runs ``work(*arguments, say)``; return its id and where what it says can be read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work(*arguments, lambda key, n: os.write(writing, f"{key}\t{n}\t{time.monotonic()}\n".encode()))
        os._exit(0)
    except BaseException:
        os._exit(1)


def killed_after(seconds, work, *arguments):
    """Kill a child after that long; return what it acknowledged, as (key, steps, moment), and when it was killed."""
    child, reading = forked(work, *arguments)
    said, until = b"", time.monotonic() + seconds
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while (left := until - time.monotonic()) > 0:
            if select.select([pipe], [], [], left)[0]:
                piece = pipe.read(1 << 16)
                said += piece
                if not piece:
                    break
        at = time.monotonic()
        os.kill(child, signal.SIGKILL)
        said += pipe.read() or b""
        while piece := pipe.read(1 << 16):
            said += piece
    os.waitpid(child, 0)
    lines = said.decode().split("\n")[:-1]
    return [(key, int(n), float(moment)) for key, n, moment in (line.split("\t") for line in lines)], at


def duration(work, *arguments):
    """Return how long a child takes that nobody kills."""
    began = time.monotonic()
    child, reading = forked(work, *arguments)
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0, f"{work.__name__} failed without being killed"
    return time.monotonic() - began


# Looking.


def looked_at(url, scenario, said, at, allowed):
    """Open what a kill left, compare it with what was acknowledged, and record on."""
    found = Killed(scenario, len(said))
    with Store(url) as store:
        kept = {}
        for t in store.trajectories():
            kept[str(t.id)] = kept[t.task.text] = len(t)
            found.wrong += misfits(t)
        lost = [moment for key, n, moment in said if kept.get(key, 0) < n]
        found.lost = len(lost)
        found.oldest_ms = 1_000 * (at - min(lost, default=at))
        if store.dropped or store.spooled:
            found.wrong.append(f"{store.dropped} dropped, {store.spooled} still spooled")
        found.wrong += goes_on(store)
    if len(lost) > allowed:
        found.wrong.append(f"{len(lost)} acknowledged steps lost, {allowed} allowed")
    found.wrong += damages(url)
    return found


def misfits(t):
    """Return what is wrong with an episode of `Counting`: anything but a beginning of what was done."""
    if not t.task.text.startswith("count from"):
        return []
    seed = int(t.task.text.split()[-1])
    seen = [o.native.tolist() for o in t.observations]
    done = [(s.action.native, s.reward) for s in t.steps]
    is_right = seen == [[seed, i] for i in range(len(t) + 1)] and [r for _, r in done] == list(range(1, len(t) + 1))
    return [] if is_right else [f"{t.id} is not what was recorded"]


def goes_on(store):
    t = episode(7)
    record(store, t)
    store.flush()
    return [] if list(store.trajectories(id=t.id)) == [t] else ["recording does not go on"]


def episode(n, scored=False):
    steps = tuple(Step(Observation(f"seen {i}"), Action(f"do {i}"), float(i)) for i in range(n))
    return Trajectory(new_id(), Task("again"), steps, Observation(f"seen {n}"), Ending("terminated", True, outcome=1.0))


def record(store, t):
    first, *results = t.observations
    store.write(Began(t._with(steps=(), last=first, ending=None)))
    for i, (step, result) in enumerate(zip(t.steps, results, strict=True)):
        store.write(Stepped(t.id, i, step, result))
    store.write(Ended(t.id, t.ending))


def killed_while_recording(scenario, url, kills, rng, longest_s=None):
    """Yield what each of several kills of a loop left, one after the other in one database."""
    work, allowed = LOOPS[scenario]
    if work is callback_loop:  # imported here, not by each child
        import callbacks  # noqa: F401
    longest_s = longest_s or (1.5 if work is callback_loop else 0.4)
    Store(url).close()
    for _ in range(kills):
        with locked(url) if "locked" in scenario else contextlib.nullcontext():
            said, at = killed_after(rng.uniform(0.0, longest_s), work, url)
        yield looked_at(url, scenario, said, at, allowed)


@contextlib.contextmanager
def locked(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# What is done once, and must be all or nothing, or go on when it is begun again.


def merged(source, target, say):
    merging._CHUNK = 10
    merging.merge([source], target, progress=False)


def imported(source, target, say):
    from agentprm.cli import import_, main

    import_._MOST_TRAJECTORIES = 10
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(open(os.devnull, "w")):
        main(["import", str(source), str(target)])


def opened(_, target, say):
    Store(target).close()


ONCE = {"merge": merged, "import": imported, "upgrade": opened, "first start": opened, "drain the spool": opened}


def killed_once(scenario, folder, kills, rng):
    """Yield what kills of a merge, an import, an upgrade or a draining left, each on a fresh copy."""
    source, wanted, fresh = PREPARED[scenario](folder)
    work, n = ONCE[scenario], iter(range(10**6))
    longest = duration(work, source, fresh(folder / f"{next(n)}.db"))
    for _ in range(kills):
        target = fresh(folder / f"{next(n)}.db")
        killed_after(rng.uniform(0.0, 1.05 * longest), work, source, target)
        found = Killed(scenario)
        if Path(target).exists() and migrate.current(target) is not None:
            found.wrong += damages(target)
        work(source, target, None)
        with Store(target) as store:
            kept = {t.id: t for t in store.trajectories()}
            found.acknowledged, found.lost = len(wanted), len(wanted.keys() - kept.keys())
            if kept != wanted or store.spooled or store.dropped:
                found.wrong.append(f"{len(kept)} trajectories, {len(wanted)} wanted, {store.spooled} spooled")
            found.wrong += goes_on(store)
        found.wrong += damages(target) + migrate.check(target)
        for rest in folder.glob(f"{Path(target).name}*"):
            rest.unlink()
        yield found


def _many(n=80):
    return [episode(10) for _ in range(n)]


def _filled(path, made):
    with Store(path) as store:
        store.add(made)
        store.add([Scores(t.id, Spec("model", {}), "value", (0.5,) * len(t)) for t in made])
    return {t.id: t for t in made}


def _of_merge(folder):
    wanted = _filled(folder / "source.db", _many())
    return folder / "source.db", wanted, lambda path: path


def _of_import(folder):
    from agentprm.formats import write

    made = _many()
    write(folder / "source.jsonl", made, "jsonl")
    return folder / "source.jsonl", {t.id: t for t in made}, lambda path: path


def _of_upgrade(folder):
    from alembic import command

    wanted = _filled(folder / "old.db", _many())
    old = open_database(folder / "old.db")
    with old.migrating() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    close_database(old)
    return None, wanted, lambda path: Path(shutil.copy(folder / "old.db", path))


def _of_first_start(folder):
    return None, {}, lambda path: path


def _of_drain(folder):
    busy, database._BUSY_S = database._BUSY_S, 0.005
    made = _many()
    Store(folder / "away.db").close()
    with Store(folder / "away.db") as store, locked(folder / "away.db"):
        for t in made:
            record(store, t)
        store.close()
    database._BUSY_S = busy

    def fresh(path):
        for end in ("", ".spool"):
            shutil.copy(folder / f"away.db{end}", f"{path}{end}")
        return path

    return None, {t.id: t for t in made}, fresh


PREPARED = {
    "merge": _of_merge,
    "import": _of_import,
    "upgrade": _of_upgrade,
    "first start": _of_first_start,
    "drain the spool": _of_drain,
}
