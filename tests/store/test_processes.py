"""Killed, forked, spawned, pickled: every process writes its own rows, once, and what was acknowledged is there."""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from filled import done, events, plain, scored

from agentprm import Store
from agentprm.errors import StoreError
from agentprm.store.opened import _open
from agentprm.types import Began, Ended

HERE = str(Path(__file__).parent)


def run(code, *args):
    """Run code in a process of its own, from this folder; return what it said."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, *map(str, args)], cwd=HERE, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split()


def counts(path):
    with sqlite3.connect(path) as db:
        n = [db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("trajectory", "step", "content")]
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    return tuple(n)


# Killed.

KILLED = """
import os, sys
from filled import events, plain
from agentprm import Store
store = Store(sys.argv[1], durability=sys.argv[2])
for event in events(plain(100_000)):
    store.write(event)
    print(type(event).__name__, flush=True)
"""


def test_every_acknowledged_step_survives_kill_9(tmp_path):
    path = tmp_path / "runs.db"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path), "step"], cwd=HERE, stdout=subprocess.PIPE)
    acknowledged = 0
    while acknowledged < 200:
        acknowledged += child.stdout.readline() == b"Stepped\n"
    child.send_signal(signal.SIGKILL)
    acknowledged += child.stdout.read().count(b"Stepped\n")
    child.wait()
    child.stdout.close()
    n_trajectories, n_steps, n_contents = counts(path)
    assert n_trajectories == 1
    assert n_steps in (acknowledged, acknowledged + 1)
    assert n_contents == n_steps + 1
    with Store(path) as store:
        (t,) = store.trajectories(ended=False)
        assert [o.text for o in t.observations] == [f"seen {i}" for i in range(n_steps + 1)]


NOT_CLOSED = """
import sys
from filled import events, plain
from agentprm import Store
def train():
    store = Store(sys.argv[1], durability=sys.argv[2])
    for event in events(plain(3)):
        store.write(event)
    return store
kept = train() if sys.argv[3] == "kept" else train() and None
"""


@pytest.mark.parametrize(("durability", "kept"), [("group", "kept"), ("group", "forgotten"), ("episode", "kept")])
def test_a_script_that_forgets_to_close_loses_nothing(tmp_path, durability, kept):
    run(NOT_CLOSED, tmp_path / "runs.db", durability, kept)
    assert counts(tmp_path / "runs.db") == (1, 3, 4)


# Together.

OPENING = """
import sys
from filled import done, events, plain
from agentprm import Store
sys.stdin.readline()
with Store(sys.argv[1]) as store:
    for _ in range(5):
        for event in events(plain(4, ending=done())):
            store.write(event)
    print(store.dropped)
"""


def test_processes_that_open_a_new_database_at_once_all_succeed(url):
    command = [sys.executable, "-W", "error", "-c", OPENING, url]
    children = [
        subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for child in children:
        child.stdin.write(b"go\n")
        child.stdin.flush()
    for child in children:
        said, error = child.communicate()
        assert (said, error) == (b"0\n", b"")
    with Store(url) as store:
        assert [len(t) for t in store.trajectories(ended=True)] == [4] * 20


def in_process(context, function, *args):
    process = multiprocessing.get_context(context).Process(target=function, args=args)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def open_and_record(path):
    with Store(path) as store:
        store.add(plain(2))


def test_a_new_file_opened_by_a_spawned_process_is_there_for_this_one(tmp_path):
    in_process("spawn", open_and_record, tmp_path / "runs.db")
    assert counts(tmp_path / "runs.db") == (1, 2, 3)


# Forked.


@pytest.fixture
def fork(monkeypatch):
    """Run a function in a forked child; a thread of ours may be asleep in it, and that is the point."""

    def forked(function):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                function()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    return forked


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("durability", ["step", "group", "episode"])
def test_a_forked_child_writes_its_own_rows_and_never_the_parents(tmp_path, fork, durability):
    path = tmp_path / "runs.db"
    store = Store(path, durability=durability)
    mine, childs = plain(3, ending=done()), plain(2, ending=done())
    *first, last = events(mine)
    for event in first:
        store.write(event)

    def child():
        gc.collect()
        for event in events(childs):
            store.write(event)
        store.flush()
        assert store._writer.dropped == 0
        store.close()

    fork(child)
    waiting = 0 if durability != "step" else 3
    with sqlite3.connect(path) as db:
        ids = db.execute("SELECT count(*) FROM step WHERE trajectory_id = ?", [mine.id.bytes]).fetchone()[0]
    db.close()
    assert ids in (waiting, 3 if durability == "group" else waiting), "only the parent's own timer may have written"
    store.write(last)
    assert list(store.trajectories()) == [mine, childs]
    assert store.dropped == 0
    store.close()
    assert counts(path) == (2, 5, 7)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_that_goes_idle_writes_its_group(tmp_path, fork):
    path = tmp_path / "runs.db"
    with Store(path, durability="group") as store:
        store.write(next(events(plain(1))))

        def child():
            from test_writer import on_disk, until

            for event in events(plain(4)):
                store.write(event)
            until(lambda: on_disk(path) == 4)

        fork(child)
        store.flush()
        assert counts(path) == (2, 4, 6)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_parent_goes_on_while_children_come_and_go(url, fork):
    with Store(url, durability="step") as store:

        def child():
            gc.collect()
            store.add(plain(1))
            assert len(list(store.trajectories())) > 1
            store.close()

        for _ in range(3):
            store.add(plain(1))
            fork(child)
            store.add(plain(1))
        assert len(list(store.trajectories())) == 9


# Copied.


def test_a_store_pickles_to_its_url(tmp_path):
    with Store(tmp_path / "runs.db", durability="group") as store:
        store.write(Began(plain(0)))
        copied = pickle.loads(pickle.dumps(store))
        deep = copy.deepcopy(store)
        for other in (copied, deep):
            assert (other.url, other.durability) == (store.url, "group")
            assert other._database is store._database
            other.add(plain(1))
            other.close()
        assert len(list(store.trajectories())) == 3, "the others have let go, this one has not"


def record_in(store):
    for event in events(plain(3, ending=done())):
        store.write(event)
    store.close()


def test_a_store_travels_to_a_spawned_process(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        in_process("spawn", record_in, store)
        assert [len(t) for t in store.trajectories()] == [3]


def test_a_store_in_memory_stays(tmp_path):
    with Store(":memory:") as store, pytest.raises(StoreError, match="use a file"):
        pickle.dumps(store)


def test_stores_of_one_url_share_one_engine_until_the_last_has_closed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other, third = Store("runs.db"), Store(tmp_path / "runs.db"), Store("sqlite:///runs.db")
    assert one._database is other._database is third._database
    t = plain(2)
    one.add(t)
    one.close()
    assert list(other.trajectories()) == [t]
    other.close()
    third.add(scored(t, 0.5, 0.5))
    assert third._database.url in _open
    third.close()
    assert third._database.url not in _open
    with Store("runs.db") as again:
        assert list(again.trajectories()) == [t]


def test_two_stores_record_into_one_file(tmp_path):
    with Store(tmp_path / "runs.db") as one, Store(tmp_path / "runs.db", durability="group") as other:
        a, b = plain(3, ending=done()), plain(3, ending=done())
        for x, y in zip(events(a), events(b), strict=True):
            one.write(x)
            other.write(y)
            if isinstance(x, Ended):
                other.flush()
        assert list(one.trajectories()) == list(other.trajectories()) == [a, b]
