"""What a database that cannot be used says on the command line and in Python: one line, both sides, and the way out."""

import os
import sqlite3
import subprocess
import traceback
from pathlib import Path

import pytest

from agentprm import Store
from agentprm.cli import main
from agentprm.errors import StoreError
from agentprm.formats import write
from agentprm.store import database
from agentprm.testing.trajectories import corridors
from agentprm.types import Began, Observation, Task, Trajectory, new_id

PEASANT = 65534


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def refused(capfd):
    """A function that runs a verb which is refused, and returns the one line it says."""

    def run(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said, complained = capfd.readouterr()
        assert ended.value.code == 1, complained
        (line,) = complained.strip().splitlines()
        assert said == ""
        return line.removeprefix("agentprm: ")

    return run


def as_peasant(function):
    """Call a function in a child without rights; return what it returned."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgid(PEASANT)
            os.setuid(PEASANT)
            os.write(writing, function().encode())
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_says_to_make_room_and_what_was_there_can_be_read(small_disk, tmp_path, refused):
    why = "the disk is full; make room, and what waits is written"
    source, path, ballast = tmp_path / "more.jsonl", small_disk / "runs.db", small_disk / "ballast"
    write(source, corridors(40), "jsonl")
    with Store(path) as store:
        store.add(corridors(2))
        ballast.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
        assert refused("import", "--format", "jsonl", source, path) == f"cannot write to {path}: {why}"
        with pytest.raises(StoreError, match=f"cannot write to {path}: {why}"):
            store.add(corridors(40))
        before = list(store.trajectories())
        assert len(before) >= 2
        assert refused("db", "upgrade", small_disk / "new.db") == f"cannot write to {small_disk / 'new.db'}: {why}"
        ballast.unlink()
        store.add(corridors(40))
        assert len(list(store.trajectories())) > len(before)


def for_peasants(path):
    for folder in [path, *path.parents]:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_file_and_a_folder_that_may_only_be_read_say_where_to_go(tmp_path, refused):
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    (tmp_path / "kept").mkdir()
    path, source = tmp_path / "kept" / "runs.db", tmp_path / "more.jsonl"
    with Store(path) as store:
        store.add(corridors(1))
    write(source, corridors(2), "jsonl")
    with pytest.raises(SystemExit):  # so that all is imported while it may be
        main(["import", "--format", "jsonl", str(source), str(tmp_path / "other.db")])
    for_peasants(tmp_path / "kept")
    way_out = "you may only read the file or its folder; copy it to a folder of yours"
    for file, folder in ((0o444, 0o755), (0o644, 0o555), (0o444, 0o777)):
        path.chmod(file)
        path.parent.chmod(folder)
        said = as_peasant(lambda: refused("import", "--format", "jsonl", source, path))
        assert said == f"cannot write to {path}: {way_out}"
    path.parent.chmod(0o755)
    said = as_peasant(lambda: refused("db", "upgrade", tmp_path / "kept" / "new.db"))
    assert said.startswith(f"cannot write to {tmp_path / 'kept' / 'new.db'} (unable to open database file")
    assert said.endswith("choose a folder that you may write to")


def test_a_locked_file_says_that_somebody_else_is_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(database, "_BUSY_S", 0.02)
    path = tmp_path / "runs.db"
    with Store(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        why = f"cannot use {path}: database is locked; another program is writing to it: let it finish, or end it"
        with pytest.raises(StoreError, match=why):
            store.add(corridors(1))
        other.execute("ROLLBACK")
        other.close()


def test_a_server_that_is_not_there_says_to_start_it(refused):
    url = "postgresql://nobody@127.0.0.1:1/runs"
    way_out = "start the server or correct the host and port; what a recorder writes waits in its spool"
    for words in (["credit", url], ["db", "check", url], ["db", "upgrade", url]):
        said = refused(*words)
        assert said.startswith("cannot use postgresql+psycopg://nobody@127.0.0.1:1/runs: ")
        assert said.endswith(f"Connection refused; {way_out}")


def test_a_zero_length_file_is_an_empty_store_and_said_to_be(tmp_path, capfd):
    path = tmp_path / "runs.db"
    path.touch()
    with pytest.raises(SystemExit):
        main(["db", "check", str(path)])
    assert "is empty: make its schema with `agentprm db upgrade" in capfd.readouterr().out
    with pytest.raises(StoreError, match="is empty: record into it first"):
        Store(path, create=False)
    assert Path(path).stat().st_size == 0
    with Store(path) as store:
        store.write(Began(Trajectory(new_id(), Task("t"), (), Observation("x"))))
        assert len(list(store.trajectories())) == 1
