"""Where batches wait: exactly as they were, each once, in order, wherever there is a place for them."""

import json
import logging
import os
import shutil
import sqlite3
from uuid import UUID

import pytest
from click.testing import CliRunner
from filled import LABELS, MODEL, PICTURE, done, events, full, plain, scored
from hypothesis import given
from hypothesis import strategies as st
from test_writer import Lock, on_disk, until

from agentprm import Store
from agentprm.cli.db import drain as command
from agentprm.errors import StoreError
from agentprm.store import backlog, database, writer
from agentprm.store.encode import Encoder
from agentprm.store.rows import Noun, Rows
from agentprm.store.spool import Spool, places
from agentprm.store.spooled import rows_from_json, rows_to_json
from agentprm.store.url import read_url
from agentprm.types import new_id


@pytest.fixture
def path(tmp_path, fresh):
    return shutil.copy(fresh, tmp_path / "runs.db")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", 0.05)
    monkeypatch.setattr(database, "_PATIENCE_S", 0.05)


def equal(one, other):
    return (one.tables, one.nouns, one.ended, one.n_steps) == (other.tables, other.nouns, other.ended, other.n_steps)


def some_rows(n_steps=1):
    rows = Rows()
    for event in events(plain(n_steps)):
        Encoder(native_uuid=False).encode(event, rows)
    return rows


# As they were.


@pytest.mark.parametrize("native_uuid", [True, False])
def test_a_batch_comes_back_as_it_was(native_uuid):
    rows, encoder = Rows(), Encoder(native_uuid=native_uuid)
    t = full()
    encoder.trajectory(t, rows)
    for scores in (scored(t, 0.1, None, source=MODEL), scored(t, 1e300, source=LABELS, notes=("a note",))):
        encoder.scores(scores, rows)
    back = rows_from_json(rows_to_json(rows))
    assert equal(back, rows)
    assert [type(cell) for cell in back.tables["step"][0]] == [type(cell) for cell in rows.tables["step"][0]]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False))
NOUNS = st.builds(lambda table, key: Noun(table, (key,)), TEXT, TEXT)
CELLS = st.one_of(st.none(), NUMBERS, st.binary(), st.uuids(), TEXT, NOUNS)


@given(st.lists(st.tuples(CELLS, CELLS)))
def test_any_cell_comes_back_as_it_was(cells):
    rows = Rows()
    rows.tables["score"] = cells
    back = rows_from_json(rows_to_json(rows)).tables["score"]
    assert back == cells
    assert [[type(c) for c in row] for row in back] == [[type(c) for c in row] for row in cells]


def test_batches_come_out_in_the_order_of_their_writer_and_go_when_told(tmp_path):
    spool, one, other = Spool(read_url(tmp_path / "runs.db")), UUID(int=1), UUID(int=2)
    for writer_id, seq in ((other, 1), (one, 10), (one, 9), (other, 2), (one, 11)):
        spool.append(writer_id, seq, some_rows())
    batches = spool.oldest()
    assert [(b.writer, b.seq) for b in batches] == [(one, 9), (one, 10), (one, 11), (other, 1), (other, 2)]
    assert spool.n_steps() == 5
    spool.remove(batches[:2])
    assert [(b.writer, b.seq) for b in spool.oldest()] == [(one, 11), (other, 1), (other, 2)]
    spool.close()


def test_an_outage_of_many_steps_is_drained_a_piece_at_a_time(tmp_path):
    spool, writer_id = Spool(read_url(tmp_path / "runs.db")), new_id()
    for seq in range(5):
        spool.append(writer_id, seq, some_rows(900))
    assert [b.seq for b in spool.oldest()] == [0, 1, 2], "as soon as there are two thousand"
    spool.close()


# Where.


def test_a_file_has_its_spool_beside_it_a_server_in_the_state_folder(tmp_path, state, monkeypatch):
    beside, elsewhere = places(read_url(tmp_path / "runs.db"))
    assert beside == tmp_path / "runs.db.spool"
    assert elsewhere.parent == state / "agentprm"
    (served,) = places(read_url("postgresql://me:secret@host/db"))
    assert served.parent == state / "agentprm"
    assert [served] == places(read_url("postgresql+psycopg://me:other@host/db")), "whatever the password"
    assert [served] != places(read_url("postgresql://me@host/db2"))
    monkeypatch.setenv("AGENTPRM_SPOOL", str(tmp_path / "here"))
    assert {p[0].parent for p in map(places, map(read_url, ("a.db", "postgresql://host/db")))} == {tmp_path / "here"}


def test_where_the_file_lies_nothing_can_be_made_it_goes_to_the_state_folder(tmp_path, state):
    (tmp_path / "runs.db.spool").mkdir()  # no file can be made of that name, whoever is asking
    spool = Spool(read_url(tmp_path / "runs.db"))
    at = spool.append(new_id(), 1, some_rows())
    assert at.parent == state / "agentprm"
    assert [b.seq for b in spool.oldest()] == [1]
    spool.close()


def test_one_writers_batches_in_two_places_are_drained_in_order(tmp_path):
    (tmp_path / "runs.db.spool").mkdir()
    spool, writer_id = Spool(read_url(tmp_path / "runs.db")), new_id()
    spool.append(writer_id, 1, some_rows())
    (tmp_path / "runs.db.spool").rmdir()
    spool.append(writer_id, 2, some_rows())
    assert len(spool.paths()) == 2
    assert [b.seq for b in spool.oldest()] == [1, 2]
    spool.remove(spool.oldest())
    assert spool.oldest() == []
    spool.close()


def test_a_spool_that_somebody_deleted_is_made_anew(tmp_path):
    spool = Spool(read_url(tmp_path / "runs.db"))
    at = spool.append(new_id(), 1, some_rows())
    at.unlink()
    assert spool.oldest() == []
    spool.append(new_id(), 2, some_rows())
    assert [b.seq for b in spool.oldest()] == [2]
    spool.close()


def test_what_is_no_spool_is_put_aside_and_stops_nobody(tmp_path, path, caplog):
    (tmp_path / "runs.db.spool").write_bytes(b"shopping list" * 1000)
    with Store(path) as store:
        store.add(plain(1))
        assert store.dropped == 0
    assert (tmp_path / "runs.db.spool.broken").read_bytes().startswith(b"shopping")
    assert "is not a database" in caplog.text


# Drained.


def test_what_was_refused_is_on_disk_at_once_beside_the_file(path, tmp_path, impatient):
    with Store(path) as store:
        with Lock(path):
            for n, event in enumerate(events(plain(3))):
                store.write(event)
                db = sqlite3.connect(tmp_path / "runs.db.spool")
                assert db.execute("SELECT count(*), sum(n_steps) FROM batch").fetchone() == (n + 1, n)
                db.close()
            assert store.spooled == 3
            with pytest.raises(StoreError, match=r"^3 steps are not in the database yet; 3 lie in .*runs.db.spool"):
                store.flush()
        store.flush()
        assert (store.spooled, store.dropped, on_disk(path)) == (0, 0, 3)


@pytest.mark.parametrize("away_at", [0, 10])
@pytest.mark.parametrize("durability", ["step", "group", "episode"])
def test_steps_before_during_and_after_an_outage_are_one_episode(path, durability, away_at, impatient):
    """Also one that began while the database was away: its later steps do not overtake its beginning."""
    t = plain(30, ending=done())
    with Store(path, durability=durability) as store:
        for n, event in enumerate(events(t)):
            if n == away_at:
                store.flush()
                lock = Lock(path).__enter__()
            if n == 20:
                lock.__exit__()
                store._writer._backlog.wake()  # the next attempt is not far off
            store.write(event)
        assert list(store.trajectories()) == [t]
        assert (store.spooled, store.dropped) == (0, 0)


def test_whoever_opens_the_store_next_drains_what_a_closed_one_left(path, impatient, caplog):
    t = full()
    store = Store(path)
    with Lock(path):
        for event in events(t):
            store.write(event)
        store.close()
    assert store.dropped == 0
    assert "3 steps are not in the database yet; 3 lie in" in caplog.text
    with Store(path) as again:
        assert list(again.trajectories()) == [t]
        assert again.spooled == 0


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_servers_batches_come_from_the_state_folder(url, state):
    t = full()
    with Store(url) as store:
        rows, n = Rows(), 0
        encoder = Encoder(native_uuid=True)
        for n, event in enumerate(events(t)):
            encoder.encode(event, rows)
            store._database.spool.append(store._writer._id, 1_000 + n, rows)
            rows = Rows()
    with Store(url) as store:
        assert list(store.trajectories()) == [t]
        assert next(store.trajectories()).steps[0].observation.images == (PICTURE,) * 2
    assert [p.parent for p in state.rglob("*.spool")] == [state / "agentprm"]


def test_a_batch_whose_removal_was_prevented_is_not_drained_twice(url, monkeypatch):
    """A process that dies between the commit and the removal leaves a batch that took place."""
    t = plain(3)
    with Store(url) as store:
        encoder, rows = Encoder(native_uuid=not store._database.is_sqlite), Rows()
        for event in events(t):
            encoder.encode(event, rows)
        spool = store._database.spool
        spool.append(new_id(), 1, rows)
        monkeypatch.setattr(spool, "remove", lambda batches: (_ for _ in ()).throw(sqlite3.OperationalError("killed")))
        with pytest.raises(StoreError, match="cannot be drained: killed"):
            store.flush()
        monkeypatch.undo()
        with store._database.migrating() as connection:
            assert connection.exec_driver_sql("DELETE FROM step").rowcount == 3, "so that a second time would be seen"
        assert [len(t) for t in store.trajectories()] == [0]
        assert (store.spooled, store.dropped) == (0, 0)


def test_a_commit_whose_answer_was_lost_is_not_repeated(path, monkeypatch):
    t = plain(2)
    with Store(path, durability="group") as store:
        insert = store._writer._insert

        def answerless(rows):
            insert(rows)
            raise sqlite3.OperationalError("the connection broke")

        for event in events(t):
            store.write(event)
        monkeypatch.setattr(store._writer, "_insert", answerless)
        with pytest.raises(StoreError, match="the connection broke"):
            store.flush()
        monkeypatch.undo()
        assert on_disk(path) == 2
        db = sqlite3.connect(path)
        db.execute("DELETE FROM step")
        db.commit()
        db.close()
        store.flush()
        assert on_disk(path) == 0, "that batch took place"
        assert store.spooled == 0


def test_a_trajectory_deleted_while_its_steps_were_spooled_takes_no_other_with_it(path, impatient, caplog):
    gone, kept = plain(4, ending=done()), plain(4, ending=done())
    with Store(path) as store:
        for t in (gone, kept):
            store.write(next(events(t)))
        with Lock(path):
            for one, other in zip(list(events(gone))[1:], list(events(kept))[1:], strict=True):
                store.write(one)
                store.write(other)
            store.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA foreign_keys=ON")
    db.execute("DELETE FROM trajectory WHERE id = ?", [gone.id.bytes])
    db.commit()
    db.close()
    with Store(path) as store:
        assert list(store.trajectories()) == [kept]
        assert (store.dropped, store.spooled) == (4, 0)


def test_a_long_outage_is_drained_between_the_steps_not_before_the_next(path, impatient, monkeypatch):
    monkeypatch.setattr(backlog, "_SLICE_S", 0.0)
    monkeypatch.setattr("agentprm.store.spool._MOST_BATCHES", 5)
    monkeypatch.setattr(writer, "_GROUP_S", 3600.0)  # only the recorder itself writes
    monkeypatch.setattr(backlog, "_SHORTEST_S", 0.0)
    monkeypatch.setattr(backlog, "_PATIENCE", 0)
    t = plain(40, ending=done())
    with Store(path) as store:
        everything = list(events(t))
        with Lock(path):
            for event in everything[:30]:
                store.write(event)
        drained = []
        for event in everything[30:]:
            store.write(event)
            drained.append(on_disk(path))
        assert drained[0] == 4, "the beginning and four steps"
        assert drained == sorted(drained)
        assert drained[-1] == 40, "five drained for each that is added"
        assert list(store.trajectories()) == [t]


def test_reading_goes_on_without_what_cannot_be_drained_and_says_so_once(path, impatient, caplog):
    t = plain(3)
    with Store(path) as store:
        store.add(t)
        with Lock(path):
            for event in events(plain(2)):
                store.write(event)
            for _ in range(3):
                assert list(store.trajectories()) == [t]
        assert len(list(store.trajectories())) == 2
    assert len([r for r in caplog.records if "locked" in r.getMessage()]) == 1


def test_an_idle_process_drains_by_itself(path, impatient):
    with Store(path) as store:
        with Lock(path):
            for event in events(plain(5)):
                store.write(event)
        until(lambda: on_disk(path) == 5)
        until(lambda: store.spooled == 0)


# Where nothing can be spooled either.


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No place to spool in: not beside the file, not in the state folder; return what makes one."""
    (tmp_path / "runs.db.spool").mkdir()
    (tmp_path / "state").write_text("no folder")
    return (tmp_path / "runs.db.spool").rmdir


def test_without_a_place_steps_wait_in_memory_and_this_is_said(path, impatient, nowhere, caplog):
    t = plain(5, ending=done())
    with Store(path) as store:
        with Lock(path):
            for event in events(t):
                store.write(event)
            with pytest.raises(
                StoreError, match=r"^5 steps are not in the database yet: cannot use .*: database is locked"
            ):
                store.flush()
        assert list(store.trajectories()) == [t]
        assert store.dropped == 0
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(said) == 1
    assert "make room or set AGENTPRM_SPOOL" in said[0]


def test_a_place_found_later_takes_what_waited_in_memory(path, impatient, nowhere):
    t = plain(5, ending=done())
    with Store(path) as store:
        with Lock(path):
            for n, event in enumerate(events(t)):
                if n == 3:
                    nowhere()
                store.write(event)
            assert store.spooled == 5
        assert list(store.trajectories()) == [t]


def test_more_than_memory_should_hold_is_dropped_and_counted(path, impatient, nowhere, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_WAITING", 20)
    with Store(path) as store:
        with Lock(path):
            for event in events(plain(12)):
                store.write(event)
        assert 0 < store.dropped <= 12
        later = plain(2)
        for event in events(later):
            store.write(event)
        assert list(store.trajectories(id=later.id)) == [later]
        assert on_disk(path) + store.dropped == 14


def test_closing_loses_what_has_no_place_counted_and_said(path, impatient, nowhere, caplog):
    store = Store(path)
    with Lock(path):
        for event in events(plain(3)):
            store.write(event)
        store.close()
    assert store.dropped == 3
    assert [r.levelno for r in caplog.records if "3 steps were lost at close" in r.getMessage()] == [logging.ERROR]


# By hand.


def test_the_verb_drains_and_counts(path, impatient):
    store = Store(path)
    with Lock(path):
        for event in events(plain(3)):
            store.write(event)
        store.close()
    run = CliRunner().invoke(command, [path if isinstance(path, str) else str(path), "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == {"url": str(path), "drained": 3, "dropped": 0, "left": 0}
    assert "drained 0 steps" in CliRunner().invoke(command, [str(path)]).output
    assert on_disk(path) == 3


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_spool_alone(path, impatient):
    mine, childs = plain(6), plain(2)
    with Store(path) as store:
        everything = list(events(mine))
        with Lock(path):
            for event in everything[:4]:
                store.write(event)
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    inherits = [file._connection for file in store._database.spool._files]
                    for event in events(childs):
                        store.write(event)
                    code = 0 if inherits == [None, None] and store.spooled == 5 and store.dropped == 0 else 2
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            for event in everything[4:]:
                store.write(event)
            assert store.spooled == 8
        assert sorted(store.trajectories(), key=lambda t: t.id) == [mine, childs]
