"""When rows go to disk, what happens while the database is away, and that no recorder ever hears of it."""

import gc
import shutil
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from filled import done, events, full, plain, scored

from agentprm import Store
from agentprm.errors import StoreClosed, StoreError
from agentprm.store import backlog, database, writer
from agentprm.types import Action, Began, Ended, Observation, Spec, Step, Stepped, Task, ToolCall, Trajectory, new_id

QUICK = 0.05


@pytest.fixture
def path(tmp_path, fresh):
    return shutil.copy(fresh, tmp_path / "runs.db")


@pytest.fixture
def impatient(monkeypatch):
    """Do not wait for seconds, or half a minute, for a lock."""
    monkeypatch.setattr(database, "_BUSY_S", QUICK)
    monkeypatch.setattr(database, "_PATIENCE_S", QUICK)


def on_disk(path, table="step"):
    """Count rows as somebody else sees them."""
    db = sqlite3.connect(path)
    try:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        db.close()


def until(condition, seconds=20.0):
    """Wait generously."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.01)


class Lock:
    """Somebody else's transaction."""

    def __init__(self, path):
        self._db = sqlite3.connect(path, isolation_level=None)

    def __enter__(self):
        self._db.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, *_):
        self._db.execute("ROLLBACK")
        self._db.close()


# Durability.


def test_sqlite_commits_every_step_unless_told_otherwise(path):
    with Store(path) as store:
        assert store.durability == "step"
    with Store(path, durability="group") as store:
        assert store.durability == "group"


def test_step_and_the_observation_it_led_to_are_on_disk_before_the_next(path):
    t = plain(3, ending=done())
    with Store(path, durability="step") as store:
        for n, event in enumerate(events(t)):
            store.write(event)
            db = sqlite3.connect(path)
            texts = [row[0] for row in db.execute("SELECT result_text FROM content ORDER BY idx")]
            n_steps = db.execute("SELECT count(*) FROM step").fetchone()[0]
            status = db.execute("SELECT status FROM trajectory").fetchone()[0]
            db.close()
            assert texts == [o.text for o in t.observations][: n + 1]
            assert n_steps == min(n, 3)
            assert status == ("terminated" if n == 4 else None)


def test_a_group_is_written_when_a_thousand_steps_wait(path, monkeypatch):
    monkeypatch.setattr(writer, "_GROUP_S", 3600.0)
    with Store(path, durability="group") as store:
        written = []
        for event in events(plain(2_500)):
            store.write(event)
            if isinstance(event, Stepped) and event.index in (998, 999, 1_998, 1_999, 2_499):
                written.append(on_disk(path))
        assert written == [0, 1_000, 1_000, 2_000, 2_000]
        store.flush()
        assert on_disk(path) == 2_500


def test_a_group_is_written_when_recording_goes_idle(path):
    with Store(path, durability="group") as store:
        for event in events(plain(5)):
            store.write(event)
        until(lambda: on_disk(path) == 5)
        for event in events(plain(5)):
            store.write(event)
        until(lambda: on_disk(path) == 10)


def test_an_episode_is_written_when_it_ends(path):
    with Store(path, durability="episode") as store:
        *steps, end = events(plain(5, ending=done()))
        for event in steps:
            store.write(event)
        assert on_disk(path) == 0
        store.write(end)
        assert on_disk(path) == 5
        for event in events(plain(2)):
            store.write(event)
        assert on_disk(path) == 5
    assert on_disk(path) == 7, "closing writes what waits"


@pytest.mark.parametrize("durability", ["step", "group", "episode"])
def test_whoever_reads_finds_all_that_was_written(path, durability):
    with Store(path, durability=durability) as store:
        t = full()
        for event in events(t):
            store.write(event)
        assert list(store.trajectories()) == [t]


def test_batches_are_numbered_with_their_writer(path):
    with Store(path, durability="group") as store:
        for _ in range(3):
            for event in events(plain(1)):
                store.write(event)
            store.flush()
    db = sqlite3.connect(path)
    rows = db.execute("SELECT count(DISTINCT writer_id), min(seq), max(seq), min(n_rows) FROM ingest").fetchone()
    db.close()
    assert rows == (1, 1, 3, 4), "a trajectory, two contents, a step"


def test_durability_is_one_of_three(path):
    with pytest.raises(StoreError, match="'step', 'group', 'episode'"):
        Store(path, durability="always")


def test_several_threads_record_at_once(path):
    made = [plain(30, ending=done()) for _ in range(8)]

    def record(store, mine):
        for t in mine:
            for event in events(t):
                store.write(event)

    with Store(path, durability="group") as store:
        threads = [threading.Thread(target=record, args=(store, made[i::4])) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(store.trajectories(), key=lambda t: t.id) == sorted(made, key=lambda t: t.id)
        assert store.dropped == 0


def test_what_waits_when_nobody_holds_the_store_any_more_is_written(path):
    store = Store(path, durability="group")
    for event in events(plain(3)):
        store.write(event)
    del store
    gc.collect()
    until(lambda: on_disk(path) == 3)


# While the database is away.


@pytest.mark.parametrize("durability", ["step", "group", "episode"])
def test_a_locked_database_reaches_no_recorder_and_loses_nothing(path, durability, impatient, caplog):
    t = plain(5, ending=done())
    with Store(path, durability=durability) as store:
        with Lock(path):
            for event in events(t):
                store.write(event)
            with pytest.raises(
                StoreError, match=r"steps are not in the database yet; .*runs.db.spool, .*: database is locked"
            ):
                store.flush()
            assert on_disk(path) == 0
        until(lambda: on_disk(path) == 5)
        assert list(store.trajectories()) == [t]
        assert (store.dropped, store.degraded) == (0, 0)
    assert len([r for r in caplog.records if r.name == "agentprm.store"]) <= 1, "said once, not at every step"


def test_while_it_is_away_most_steps_do_not_wait_for_it(path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", 0.2)
    monkeypatch.setattr(backlog, "_PATIENCE", 1_000)
    with Store(path) as store:
        attempts = []
        commit = store._writer._transact
        monkeypatch.setattr(store._writer, "_transact", lambda rows: (attempts.append(1), commit(rows)))
        with Lock(path):
            for event in events(plain(50)):
                store.write(event)
        assert len(attempts) == 1
        store.flush()
        assert on_disk(path) == 50


def test_rows_written_while_a_table_was_gone_are_written_later(path):
    t = plain(4, ending=done())
    with Store(path) as store:
        other = sqlite3.connect(path)
        everything = list(events(t))
        store.write(everything[0])
        other.execute("ALTER TABLE step RENAME TO elsewhere")
        other.commit()
        for event in everything[1:]:
            store.write(event)
        other.execute("ALTER TABLE elsewhere RENAME TO step")
        other.commit()
        other.close()
        until(lambda: on_disk(path) == 4)
        assert list(store.trajectories()) == [t]
        assert store.dropped == 0


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("durability", ["step", "group"])
def test_a_server_that_hung_up_is_called_again(url, durability):
    t = plain(6, ending=done())
    everything = list(events(t))
    with Store(url, durability=durability) as store:
        for event in everything[:3]:
            store.write(event)
        list(store.trajectories())
        with psycopg.connect(str(url), autocommit=True) as other:
            others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            assert other.execute(f"SELECT count(pg_terminate_backend(pid)) FROM ({others}) x").fetchone()[0] >= 2
        for event in everything[3:]:
            store.write(event)
        with suppress(StoreError):
            store.flush()
        assert list(store.trajectories()) == [t]
        assert store.dropped == 0


def test_what_a_person_asks_for_says_what_is_wrong(path, impatient):
    t = plain(1, ending=done())
    with Store(path) as store:
        store.add(t)
        with Lock(path):
            for ask in (
                lambda: store.add(plain(1)),
                lambda: store.add(scored(t, 0.5)),
                lambda: store.set_outcome(0.5, id=t.id),
                lambda: store.delete(t.id),
            ):
                with pytest.raises(StoreError, match=r"cannot use .*runs.db: database is locked"):
                    ask()
            assert list(store.trajectories()) == [t], "a reader waits for nobody"
        store.add(scored(t, 0.5))
        assert store.delete(t.id) == 1


def test_a_person_waits_longer_than_a_recorder(path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", QUICK)
    t = plain(2)
    with Store(path) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(10 * QUICK, other.execute, ["ROLLBACK"])
        timer.start()
        assert store.add(t) == 1
        timer.join()
        other.close()
        assert list(store.trajectories()) == [t]


def test_a_recorder_waits_no_longer_for_other_threads_than_for_other_processes(path, impatient):
    with Store(path) as store, ThreadPoolExecutor(1) as pool:
        with store._database.lock:  # as somebody who deletes a lot
            pool.submit(lambda: [store.write(event) for event in events(plain(3))]).result(20)
            assert store.spooled == 3
        assert [len(t) for t in store.trajectories()] == [3]


def test_a_reader_of_a_broken_file_is_told(path):
    with Store(path) as store:
        store.add(plain(300))
        store._database.dispose()
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
        path.write_bytes(b"no database at all" * 100)
        with pytest.raises(StoreError, match="is no SQLite database"):
            list(store.trajectories())
        store.write(Began(plain(0)))
        with pytest.raises(StoreError, match="not in the database yet"):
            store.flush()


# What can never be kept.


@pytest.mark.parametrize("durability", ["step", "group"])
def test_a_trajectory_deleted_while_it_runs_loses_only_itself(url, durability):
    gone, kept = plain(4, ending=done()), plain(4, ending=done())
    with Store(url, durability=durability) as store:
        store.write(next(events(gone)))
        store.flush()
        store.delete(gone.id)
        for one, other in zip(list(events(gone))[1:], events(kept), strict=False):
            store.write(one)
            store.write(other)
        store.write(list(events(kept))[-1])
        assert list(store.trajectories()) == [kept]
        assert store.dropped == 4


def test_an_event_that_cannot_be_encoded_loses_only_itself_and_leaves_no_half_of_it(path, caplog):
    t = plain(3, ending=done())
    with Store(path, durability="group") as store:
        for event in events(t):
            if isinstance(event, Stepped) and event.index == 1:
                broken = Spec("shaping", {"gamma": object()})
                store.write(Stepped(t.id, 1, event.step, event.result, 1.0, broken, (scored(t, 0.5, start=1),)))
            else:
                store.write(event)
        store.flush()
        assert store.dropped == 1
        assert (on_disk(path), on_disk(path, "content"), on_disk(path, "score")) == (2, 3, 0)
        assert next(store.trajectories()).ending is not None
    assert "not JSON" in caplog.text


def test_a_database_that_goes_away_while_one_trajectory_is_left_out_gets_the_others_later(path, monkeypatch):
    gone, kept, third = plain(3, ending=done()), plain(3, ending=done()), plain(3, ending=done())
    with Store(path, durability="group") as store:
        for t in (gone, kept, third):
            for event in events(t):
                store.write(event)
        insert, answers = store._writer._insert, [sqlite3.IntegrityError("no"), sqlite3.IntegrityError("no")]
        answers += [sqlite3.OperationalError("disk I/O error"), None]

        def answer(rows):
            error = answers.pop(0) if answers else None
            if error:
                raise error
            insert(rows)

        monkeypatch.setattr(store._writer, "_insert", answer)
        with pytest.raises(StoreError, match=r"not in the database yet.*disk I/O error"):
            store.flush()
        assert list(store.trajectories()) == [kept, third]
        assert store.dropped == 3


def test_rows_that_the_driver_refuses_take_no_other_trajectory_with_them(url):
    huge = Action(tool_calls=(ToolCall("search", attempts=2**70),))
    good, bad = plain(2, ending=done()), plain(2)
    bad = bad._with(steps=(bad.steps[0], Step(bad.steps[1].observation, huge)))
    with Store(url, durability="group") as store:
        for t in (bad, good):
            for event in events(t):
                store.write(event)
        store.flush()
        assert list(store.trajectories()) == [good]
        assert store.dropped == 2


def test_values_without_an_exact_form_are_kept_as_text_and_counted(path):
    thing = object()
    seen = Observation(native={"thing": thing})
    with Store(path) as store:
        t = Trajectory(new_id(), Task("t"), (), seen)
        store.write(Began(t))
        store.write(Stepped(t.id, 0, Step(seen, plain(1).steps[0].action, 0.0, {"thing": thing}), seen))
        assert (store.degraded, store.dropped) == (3, 0)
        (back,) = store.trajectories()
        assert back.last.native == {"thing": {"$repr": repr(thing)}}


# Closed.


def test_a_closed_store_tells_readers_and_counts_what_is_written(path, caplog):
    store = Store(path)
    t = plain(2)
    store.add(t)
    store.close()
    store.close()
    for ask in (
        store.trajectories,
        store.scores,
        store.flush,
        store.connection,
        lambda: store.add(t),
        lambda: store.rewards(t.id),
        lambda: store.delete(t.id),
        lambda: store.set_outcome(1.0, id=t.id),
    ):
        with pytest.raises(StoreClosed, match=r"open it again with Store\('sqlite:"):
            ask()
    for event in events(plain(3, ending=done())):
        store.write(event)
    assert store.dropped == 3
    assert on_disk(path) == 2
    assert len(caplog.records) == 1, "said once, then counted"


def test_leaving_the_block_closes_also_after_an_error(path):
    with pytest.raises(KeyError), Store(path, durability="episode") as store:
        store.write(Began(plain(0)))
        raise KeyError
    assert on_disk(path, "trajectory") == 1
    with pytest.raises(StoreClosed):
        store.flush()


def test_an_event_nobody_expected_never_raises(path):
    with Store(path) as store:
        for event in (None, 7, Stepped(new_id(), 0, None, None), Ended(new_id(), None), Began(None)):
            store.write(event)
        t = plain(1)
        store.add(t)
        assert list(store.trajectories()) == [t]


def test_the_first_event_wins_when_one_is_written_twice(path):
    t = plain(2, ending=done(1.0))
    with Store(path) as store:
        for event in events(t):
            store.write(event)
            store.write(event)
        store.write(Ended(t.id, done(0.0, "truncated")))
        (back,) = store.trajectories()
        assert back.steps == t.steps
        assert back.ending.status == "terminated"
