"""Files that something else has written into, cut short or half deleted: said, found, and read as far as it goes."""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from filled import done, events, full, plain, scored
from test_writer import Lock, on_disk

from agentprm import Store, credit
from agentprm.cli.db import check, salvage
from agentprm.errors import DamagedDatabase, NotOurDatabase, StoreError
from agentprm.store import database
from agentprm.store import salvage as damaged
from agentprm.store.integrity import damages
from agentprm.types import Action, Observation, Step, Task, Trajectory, new_id

PAGE = 4096


def wordy(i):
    """An episode of long texts, each of which begins as the one before."""
    seen = [random.Random(i).randbytes(1_500).hex() + " and so on" * t for t in range(4)]
    steps = tuple(Step(Observation(text), Action("read on", native=t)) for t, text in enumerate(seen[:-1]))
    return Trajectory(new_id(), Task("read"), steps, Observation(seen[-1]), done())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, fresh):
    """A store as a recorder makes it, several hundred pages long, and what is in it."""
    path = Path(shutil.copy(fresh, tmp_path_factory.mktemp("recorded") / "runs.db"))
    with Store(path, durability="episode") as store:
        for i in range(60):
            for event in events(plain(20, task=f"task {i % 7}", policy=f"policy {i % 3}", ending=done())):
                store.write(event)
            store.flush()
            if i % 3 == 0:
                store.add([full(external_id=f"full {i}"), wordy(i)])
        trajectories = {t.id: t for t in store.trajectories()}
        store.add([scored(t, *[0.5] * len(t)) for t in trajectories.values()])
    return path, trajectories


@pytest.fixture
def path(recorded, tmp_path):
    return Path(shutil.copy(recorded[0], tmp_path / "runs.db"))


def overwrite(path, *pages):
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(random.Random(page).randbytes(PAGE))


def pages_of(path, table, kind="leaf"):
    """Return the numbers, from 0, of a table's pages."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        query = "SELECT pageno - 1 FROM dbstat WHERE name = ? AND pagetype = ? ORDER BY path"
        try:
            return [row[0] for row in db.execute(query, (table, kind))]
        except sqlite3.OperationalError as error:
            pytest.skip(f"this SQLite cannot say which page belongs to which table: {error}")


def other_application(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE moz_places (url TEXT)")


BROKEN = {
    "garbage": lambda path: overwrite(path, *range(1, path.stat().st_size // PAGE, 3)),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2 + 100),
    "text": lambda path: path.write_text("shopping list\n" * 1_000),
    "beginning": lambda path: path.write_bytes(b"no file format 3" + path.read_bytes()[16:]),
    "schema": lambda path: overwrite(path, 0),
    "another application's": other_application,
}


# A recorder goes on, and its steps are not lost.


@pytest.mark.parametrize("how", [how for how in BROKEN if how != "schema"])
def test_a_recorder_whose_file_is_damaged_goes_on_and_spools(path, how, monkeypatch, caplog):
    monkeypatch.setattr(database, "_BUSY_S", 0.02)
    t = plain(10, ending=done())
    everything = list(events(t))
    with Store(path) as store:
        for event in everything[:5]:
            store.write(event)
        store._database.dispose()  # so that nothing is left in a cache
        BROKEN[how](path)
        for event in everything[5:]:
            store.write(event)
        assert store.dropped == 0
        assert store.spooled == 6
    (said,) = {r.getMessage() for r in caplog.records if "recording cannot write" in r.getMessage()}
    assert "steps go to" in said
    assert "agentprm db salvage" in said or "no such table" in said


# Whoever opens it is told, in one line, and what to do.


@pytest.mark.parametrize("how", BROKEN)
def test_whoever_opens_a_damaged_file_is_told_in_one_line_and_what_to_do(path, how):
    BROKEN[how](path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        Store(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    assert "choose another file" in said or f"agentprm db salvage {path} NEW" in said
    assert path.read_bytes() == before


def test_one_damaged_page_is_found_by_check_and_named_by_readers_and_questions(path):
    overwrite(path, pages_of(path, "content")[5])
    with Store(path) as store:
        with pytest.raises(DamagedDatabase, match="agentprm db salvage"):
            list(store.trajectories())
        with pytest.raises(DamagedDatabase, match="agentprm db salvage"):
            credit.sql(store, "SELECT sum(length(result_text)) FROM content")
    assert damages(path)
    run = CliRunner().invoke(check, [str(path)])
    assert run.exit_code == 1
    assert f"damaged: `agentprm db salvage {path} NEW` puts what can be read into a new store" in run.output
    run = CliRunner().invoke(check, [str(path), "--json"])
    assert json.loads(run.output)["damages"]


@pytest.mark.parametrize("verb", [["credit"], ["db", "check"], ["db", "current"], ["report"]])
def test_no_verb_shows_a_traceback(path, verb):
    overwrite(path, *pages_of(path, "trajectory"), *pages_of(path, "trajectory", "internal"))
    command = [sys.executable, "-m", "agentprm.cli", *verb, str(path)]
    run = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    assert run.returncode in ({0} if verb == ["db", "current"] else {1}), run.stderr
    said = run.stdout + run.stderr
    assert "Traceback" not in said
    assert verb == ["db", "current"] or f"agentprm db salvage {path} NEW" in said


def test_a_whole_store_is_whole(url):
    with Store(url) as store:
        store.add([plain(3), plain(0), full()])
    assert damages(url) == []


def test_a_gap_is_found_on_every_engine(url):
    t, other = plain(5), plain(5)
    with Store(url) as store:
        store.add([t, other])
        with store._database.migrating() as connection:
            connection.exec_driver_sql("DELETE FROM step WHERE idx = 2")
    assert sorted(damages(url)) == [f"trajectory {x.id} has a gap: 4 steps beside 6 observations" for x in (t, other)]


def test_a_trajectory_whose_rows_make_no_sense_is_named(url):
    t = plain(2)
    with Store(url) as store:
        store.add(t)
        with store._database.migrating() as connection:
            connection.exec_driver_sql("UPDATE content SET info = '{\"t\"' WHERE idx = 1")
        with pytest.raises(DamagedDatabase, match=rf"trajectory {t.id} in .* is damaged \(JSONDecodeError"):
            list(store.trajectories())


# Read as far as it goes.


def rescued(path, new):
    found = damaged.salvage(path, new)
    with Store(new) as store:
        return found, {t.id: t for t in store.trajectories()}, {s.trajectory_id: s for s in store.scores()}


def holds_nothing_wrong(found, trajectories, scores, recorded):
    """Check that each episode is as it was, or the beginning of it and said to be so, and that every one is counted."""
    assert len(found.cut) + found.whole == len(trajectories)
    assert set(trajectories) | set(found.lost) <= set(recorded)
    for id, t in trajectories.items():
        if id in found.cut:
            assert t.steps == recorded[id].steps[: len(t)]
            assert t.meta["salvaged"] in [{"steps": len(t), "of": of} for of in (len(recorded[id]), None)]
            assert t.ending.status == "incomplete"
        else:
            assert t == recorded[id]
    for id, s in scores.items():
        assert set(s.values) <= {0.5, None}
        assert s.start + len(s) <= len(trajectories[id])


def test_of_a_whole_file_everything_is_read(path, tmp_path, recorded):
    found, trajectories, scores = rescued(path, tmp_path / "new.db")
    assert trajectories == recorded[1]
    assert len(scores) == len(trajectories)
    assert (found.whole, found.cut, found.lost, found.gaps, found.nouns) == (100, (), (), {}, {})
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["new.db", "runs.db"]


@pytest.mark.parametrize(
    "table", ["content", "step", "score", "tool_call", "trajectory", "task", "env", "outcome", "blob"]
)
def test_a_damaged_page_costs_only_what_lay_on_it(path, tmp_path, recorded, table):
    pages = pages_of(path, table)
    overwrite(path, pages[len(pages) // 2])
    before = path.read_bytes()
    found, trajectories, scores = rescued(path, tmp_path / "new.db")
    if table not in ("outcome", "env"):
        holds_nothing_wrong(found, trajectories, scores, recorded[1]) if table != "task" else None
    assert len(trajectories) >= len(recorded[1]) * (0.4 if len(pages) < 4 else 0.8) or len(pages) == 1
    assert found.gaps.get(table) or found.nouns
    assert damages(tmp_path / "new.db") == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("seed", range(4))
def test_of_a_file_full_of_holes_nothing_is_read_wrongly(path, tmp_path, recorded, seed):
    n = path.stat().st_size // PAGE
    overwrite(path, *random.Random(seed).sample(range(40, n), 8))
    found, trajectories, scores = rescued(path, tmp_path / "new.db")
    holds_nothing_wrong(found, trajectories, scores, recorded[1])
    assert found.gaps
    assert damages(tmp_path / "new.db") == []


def test_of_a_file_that_was_cut_short_the_beginning_is_read(path, tmp_path, recorded):
    os.truncate(path, path.stat().st_size * 4 // 5 // PAGE * PAGE + 1_234)
    found, trajectories, scores = rescued(path, tmp_path / "new.db")
    holds_nothing_wrong(found, trajectories, scores, recorded[1])
    assert found.whole > 0


def test_a_file_without_its_first_bytes_is_mended(path, tmp_path, recorded):
    BROKEN["beginning"](path)
    _, trajectories, _ = rescued(path, tmp_path / "new.db")
    assert trajectories == recorded[1]


def test_what_waited_in_the_spool_comes_too_and_only_once(path, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", 0.02)
    t = plain(6, ending=done())
    with Store(path) as store, Lock(path):
        for event in events(t):
            store.write(event)
        assert store.spooled == 6
        for end in ("", ".spool", ".spool-wal"):
            shutil.copy(f"{path}{end}", tmp_path / f"other.db{end}")
    overwrite(tmp_path / "other.db", pages_of(tmp_path / "other.db", "content")[3])
    found, trajectories, _ = rescued(tmp_path / "other.db", tmp_path / "new.db")
    assert (found.spooled, found.dropped) == (6, 0)
    assert trajectories[t.id] == t
    (tmp_path / "new.db").rename(tmp_path / "other.db")
    with Store(tmp_path / "other.db") as store:
        assert list(store.trajectories(id=t.id)) == [t]
        assert (store.spooled, store.dropped) == (0, 0)


@pytest.mark.parametrize("how", ["text", "another application's"])
def test_of_what_was_never_a_store_nothing_is_made(path, tmp_path, how):
    BROKEN[how](path)
    with pytest.raises(NotOurDatabase):
        damaged.salvage(path, tmp_path / "new.db")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["runs.db"]


def test_salvaging_refuses_what_would_overwrite_and_what_is_open(path, tmp_path):
    (tmp_path / "new.db").touch()
    for broken, new, why in (
        (path, tmp_path / "new.db", "is there already: name a new file"),
        (tmp_path / "nothing.db", tmp_path / "a.db", "there is no file"),
        ("postgresql://host/db", tmp_path / "a.db", "restore a backup"),
        (path, tmp_path / "nowhere" / "a.db", "there is no folder"),
    ):
        with pytest.raises(StoreError, match=why):
            damaged.salvage(broken, new)
    with Store(path), pytest.raises(StoreError, match="close it first"):
        damaged.salvage(path, tmp_path / "a.db")


def test_the_verb_says_what_it_found_and_what_it_did_not(path, tmp_path):
    overwrite(path, pages_of(path, "content")[5])
    run = CliRunner().invoke(salvage, [str(path), str(tmp_path / "new.db")])
    assert run.exit_code == 0, run.output
    assert " trajectories whole, " in run.output
    assert "content: " in run.output
    run = CliRunner().invoke(salvage, [str(path), str(tmp_path / "again.db"), "--json"])
    told = json.loads(run.output)
    assert told["whole"] + len(told["cut"]) + len(told["lost"]) == 100
    assert told["gaps"]["content"] >= 1


# Half deleted.


@pytest.mark.parametrize("gone", [["-wal"], ["-shm"], ["-wal", "-shm"]], ids="".join)
def test_a_journal_deleted_under_a_recorder_costs_nothing_and_is_said(tmp_path, fresh, gone, caplog):
    path = Path(shutil.copy(fresh, tmp_path / "runs.db"))
    t = plain(20, ending=done())
    everything = list(events(t))
    with Store(path) as store:
        for event in everything[:10]:
            store.write(event)
        for end in gone:
            Path(f"{path}{end}").unlink()
        for event in everything[10:]:
            store.write(event)
        assert on_disk(path) == 20, "another process sees it, so a killed one leaves it"
        assert list(store.trajectories()) == [t]
        assert (store.spooled, store.dropped) == (0, 0)
    assert "what it held is kept: leave both to SQLite" in caplog.text
    assert damages(path) == []


def test_whoever_reads_beside_a_deleted_journal_is_told_why(tmp_path, fresh):
    path = Path(shutil.copy(fresh, tmp_path / "runs.db"))
    writing = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        writing.stdout.readline()
        Path(f"{path}-wal").unlink()
        why = r"-wal was deleted under a program that still records: end that"
        with pytest.raises(StoreError, match=why), Store(path) as store:
            list(store.trajectories())
    finally:
        writing.communicate(b"\n")


HOLDING = """
import sys
from agentprm import Store
from agentprm.types import Began, Observation, Task, Trajectory, new_id
store = Store(sys.argv[1])
store.write(Began(Trajectory(new_id(), Task("t"), (), Observation("x"))))
print("written", flush=True)
sys.stdin.readline()
store.close()
"""
