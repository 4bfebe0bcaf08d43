"""The file under a store: read-only, empty, missing, deleted, replaced."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from filled import done, events, full, plain, scored
from test_writer import on_disk

from agentprm import Store
from agentprm.cli.credit import credit
from agentprm.cli.db import current
from agentprm.credit import success
from agentprm.errors import OutdatedDatabase, StoreError
from agentprm.store import migrate
from agentprm.store import unreachable as refusals
from agentprm.store.encode import Encoder
from agentprm.store.opened import close_database, open_database
from agentprm.store.rows import Rows
from agentprm.store.spool import Spool
from agentprm.store.url import read_url
from agentprm.types import new_id

HERE = str(Path(__file__).parent)


@pytest.fixture
def path(tmp_path, fresh):
    return Path(shutil.copy(fresh, tmp_path / "runs.db"))


# Read-only.

PEASANT = 65534
READING = """
import logging, os, sys
from filled import done, events, plain, scored
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from agentprm import Store
from agentprm import credit
from agentprm.errors import StoreError
with Store(":memory:") as warm:  # imports what it needs while it may be read
    warm.add([t := plain(1, ending=done()), scored(t, 0.5)])
    list(warm.trajectories()), list(warm.scores()), credit.success(warm), warm.delete(t.id)
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
try:
    store = Store(sys.argv[1])
except StoreError as error:
    print("refused:", error)
    sys.exit()
ids = [t.id for t in store.trajectories()]
print(len(ids), len(list(store.scores())), len(credit.success(store).rows), flush=True)
for ask in (lambda: store.add(plain(1)), lambda: store.delete(*ids), lambda: store.set_outcome(1.0, id=ids[0])):
    try:
        ask()
    except StoreError as error:
        print(error)
for event in events(plain(2)):
    store.write(event)
store.close()
"""


@pytest.fixture
def peasant(tmp_path, state):
    """Run code as somebody without rights; return the lines of what it said and what it logged."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")

    def run(path):
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        os.chown(home, PEASANT, PEASANT)
        for folder in [tmp_path, *tmp_path.parents]:
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
        command = [sys.executable, "-c", READING, str(path), str(PEASANT)]
        environment = {**os.environ, "XDG_STATE_HOME": str(home), "HOME": str(home)}
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    return run


@pytest.fixture
def kept(tmp_path):
    """A store in a folder of its own."""
    (tmp_path / "kept").mkdir()
    with Store(tmp_path / "kept" / "runs.db") as store:
        t = plain(3, ending=done())
        store.add([t, full(), scored(t, 0.5, 0.25, 1.0)])
    return tmp_path / "kept" / "runs.db"


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o644, 0o555), (0o444, 0o777)])
def test_what_may_only_be_read_is_read_and_writing_says_so_in_one_line(kept, peasant, file, folder, state):
    kept.chmod(file)
    kept.parent.chmod(folder)
    before = kept.read_bytes()
    (counts, *refused), logged = peasant(kept)
    assert counts == "2 1 2"
    assert [line.partition(":")[0] for line in refused] == [f"cannot write to {kept}"] * 3
    assert all(
        line.endswith("you may only read the file or its folder; copy it to a folder of yours") for line in refused
    )
    assert len([line for line in logged if "recording cannot write" in line]) == 1
    kept.parent.chmod(0o755)
    assert kept.read_bytes() == before


def test_what_was_recorded_into_a_read_only_store_is_spooled(kept, peasant, tmp_path):
    kept.parent.chmod(0o555)
    peasant(kept)
    (spool,) = (tmp_path / "home").rglob("*.spool")
    db = sqlite3.connect(spool)
    assert db.execute("SELECT sum(n_steps) FROM batch").fetchone() == (2,)
    db.close()


def test_rows_that_lie_in_a_journal_which_may_not_be_read_are_missed_aloud(kept, peasant):
    store = Store(kept)
    store.add(plain(2))
    shutil.copytree(kept.parent, kept.parent.with_name("snapshot"))
    snapshot = kept.parent.with_name("snapshot")
    (snapshot / "runs.db-shm").unlink()
    snapshot.chmod(0o555)
    said, _ = peasant(snapshot / "runs.db")
    store.close()
    assert len(said) == 1
    assert "its last rows lie in" in said[0]
    assert "copy both files to a folder of yours" in said[0]


def test_a_read_only_store_of_an_older_version_is_not_upgraded(path, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK and real(place, mode))
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=DELETE")
    db.execute("UPDATE alembic_version SET version_num = '0000'")
    db.commit()
    db.close()
    monkeypatch.setattr(migrate, "_known", lambda: {"0000", migrate.HEAD})
    with pytest.raises(OutdatedDatabase, match=f"needs {migrate.HEAD}"):
        Store(path)


def test_what_waits_for_a_read_only_store_is_said(path, monkeypatch, caplog):
    spool, rows = Spool(read_url(path)), Rows()
    for event in events(plain(2)):
        Encoder(native_uuid=False).encode(event, rows)
    spool.append(new_id(), 1, rows)
    spool.close()
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK and real(place, mode))
    with Store(path) as store:
        assert list(store.trajectories()) == []
    assert "you may only read the file or its folder" in caplog.text


# Empty or missing.


def test_an_empty_file_is_looked_at_without_making_a_schema(tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(
        StoreError, match=r"empty.db is empty: record into it first, or make its schema with `agentprm db upg"
    ):
        Store(path, create=False)
    run = CliRunner().invoke(current, [str(path), "--json"])
    assert json.loads(run.stdout)["revision"] is None
    assert isinstance(CliRunner().invoke(credit, [str(path)]).exception, StoreError)
    assert path.stat().st_size == 0


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_empty_schema_is_looked_at_without_making_tables(url):
    with pytest.raises(StoreError, match="is empty: record into it"):
        Store(url, create=False)
    assert migrate.current(url) is None


def test_a_missing_file_is_looked_for_without_making_one(tmp_path):
    for verb in (current, credit):
        error = CliRunner().invoke(verb, [str(tmp_path / "none.db")]).exception
        assert isinstance(error, StoreError)
        assert "there is no database at" in str(error)
    assert [p for p in tmp_path.iterdir() if p.name != "state"] == []


# Deleted, moved, replaced.


def test_a_file_deleted_under_a_recorder_is_noticed_and_the_rest_spooled(path, caplog):
    t = plain(6, ending=done())
    everything = list(events(t))
    with Store(path) as store:
        for event in everything[:3]:
            store.write(event)
        for name in path.parent.glob("runs.db*"):
            name.unlink()
        for event in everything[3:]:
            store.write(event)
        assert store.spooled == 4
        with pytest.raises(StoreError, match="the file was deleted or moved away while this process was recording"):
            store.flush()
        assert not path.exists(), "and none is made that nobody asked for"
    assert "deleted or moved away" in caplog.text


def test_a_file_moved_away_and_back_gets_what_it_missed(path):
    t = plain(6, ending=done())
    everything = list(events(t))
    with Store(path) as store:
        for event in everything[:3]:
            store.write(event)
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        path.rename(path.with_name("elsewhere.db"))
        for event in everything[3:]:
            store.write(event)
        assert store.spooled == 4
        path.with_name("elsewhere.db").rename(path)
        store.flush()
        assert list(store.trajectories()) == [t]
        assert store.dropped == 0


def test_a_file_replaced_under_a_recorder_gets_what_begins_after_and_the_rest_is_counted(path, fresh, caplog):
    before, after = plain(4, ending=done()), plain(4, ending=done())
    with Store(path) as store:
        for event in list(events(before))[:3]:
            store.write(event)
        for name in path.parent.glob("runs.db*"):
            name.unlink()
        shutil.copy(fresh, path)
        for event in [*list(events(before))[3:], *events(after)]:
            store.write(event)
        assert list(store.trajectories()) == [after]
        assert store.dropped == 2
    assert "another file was put at" in caplog.text
    assert on_disk(path) == 4


def test_every_reason_names_the_place_and_the_way_out(path):
    database = open_database(path)
    try:
        for why, out in {
            "file is not a database": "choose another file",
            "database or disk is full": "make room, and what waits is written",
            "unable to open database file": "choose a folder that you may write to",
            "disk I/O error": "disk I/O error",
        }.items():
            said = str(refusals.unreachable(database, sqlite3.OperationalError(why)))
            assert str(path) in said
            assert out in said
            assert "\n" not in said
    finally:
        close_database(database)


def test_queries_read_a_file_without_write_permission(path, monkeypatch):
    with Store(path) as store:
        store.add(plain(2, ending=done()))
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK and real(place, mode))
    with Store(path, create=False) as store:
        assert len(success(store).rows) == 1
        with pytest.raises(StoreError, match="cannot write to"):
            store.add(plain(1))
