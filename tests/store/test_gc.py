"""Garbage is what nothing refers to; it goes while others write, and nothing else goes with it."""

import json
import os
import subprocess
import sys
import threading
from uuid import UUID

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from filled import done, events, full, plain
from test_blobs import chat, long, stored

from agentprm import Store
from agentprm.cli.db import db as command
from agentprm.errors import StoreError
from agentprm.store import gc, tables
from agentprm.store.gc import Collected, collect
from agentprm.store.partition import detach, partition, parts
from agentprm.types import Observation, new_id


def heavy(word, **changes):
    """Return an episode with one long text of its own."""
    return plain(1, ending=done())._with(last=Observation(long(f"{word} ")), **changes)


def all_read(store, made):
    return {t.id: t for t in store.trajectories()} == {t.id: t for t in made}


def test_what_is_referred_to_stays(store):
    made = [full(), chat(12), plain(2, meta={"system": "s" * 500}), heavy("a")]
    store.add(made)
    before = stored(store)
    assert collect(store) == Collected(len(before), 0, 0)
    assert stored(store) == before
    assert all_read(store, made)


def test_what_a_deleted_trajectory_alone_referred_to_goes(store):
    gone, kept = chat(12, "g"), [full(), chat(12, "k"), heavy("a")]
    store.add([*kept, gone])
    n = len(stored(store))
    store.delete(gone.id)
    would = collect(store, dry_run=True)
    assert would.blobs == n == len(stored(store)), "a dry run changes nothing"
    assert 0 < would.garbage < n
    assert collect(store) == would
    assert len(stored(store)) == n - would.garbage
    assert collect(store).garbage == 0
    assert all_read(store, kept)


def test_a_text_that_others_stand_behind_stays_until_they_go(store):
    """The first to begin so is deleted; the others are stored as what comes after its beginning."""
    prompt = "".join(chr(97 + i * i % 26) for i in range(2_000))
    made = [plain(1)._with(last=Observation(f"{prompt} {i}")) for i in range(3)]
    store.add(made)
    store.delete(made[0].id)
    assert collect(store, dry_run=True).garbage == collect(store).garbage == 0
    assert all_read(store, made[1:])
    store.delete(made[1].id, made[2].id)
    assert collect(store).garbage == 3
    assert stored(store) == []


def test_recording_goes_on_with_texts_that_were_known_before(store):
    """A recorder that knows a text to be there is told otherwise by the new generation."""
    first, again, other = heavy("same"), heavy("same"), plain(1)
    store.add(other)  # whose task goes on being there
    for event in events(first):
        store.write(event)
    store.flush()
    store.delete(first.id)
    assert collect(store).garbage == 1
    for event in events(again):
        store.write(event)
    assert all_read(store, [again, other])


def test_another_process_knows_it_too(url):
    with Store(url) as recording, Store(url) as collecting:
        made, other = [heavy("same") for _ in range(3)], plain(1)
        recording.add(other)
        for t in made:
            for event in events(t):
                recording.write(event)
            recording.flush()
            collecting.delete(t.id)
            assert collect(collecting).garbage == 1
        kept = heavy("same")
        recording.add(kept)
        assert collect(collecting).garbage == 0
        assert all_read(collecting, [kept, other])


def test_a_text_that_came_back_between_marking_and_deleting_stays(url, monkeypatch):
    """The collector has looked at every row and found nothing; then somebody refers to the text again."""
    first, again, other = heavy("same"), heavy("same"), plain(1)
    with Store(url) as recording, Store(url) as collecting:
        recording.add([first, other])
        recording.delete(first.id)
        sweep = gc._sweep

        def late(*args):
            recording.add(again)
            return sweep(*args)

        monkeypatch.setattr(gc, "_sweep", late)
        assert collect(collecting).garbage == 0
        assert all_read(collecting, [again, other])


def test_a_text_that_came_to_stand_behind_garbage_stays(url, monkeypatch):
    prompt = "".join(chr(97 + i * i % 26) for i in range(2_000))
    first, later = (plain(1)._with(last=Observation(f"{prompt} {i}")) for i in range(2))
    other = plain(1)
    with Store(url) as recording, Store(url) as collecting:
        recording.add([first, other])
        recording.delete(first.id)
        begin = gc._begin

        def late(database):
            recording.add(later)  # behind the first, in the generation that ends
            return begin(database)

        monkeypatch.setattr(gc, "_begin", late)
        assert collect(collecting).garbage == 0
        assert all_read(collecting, [later, other])
        assert sum(base is not None for _, _, base, _ in stored(collecting)) == 1


WRITING = """
import sys
from test_gc import heavy
from filled import events
from agentprm import Store
store = Store(sys.argv[1], durability=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(sys.argv[3])):
    for event in events(heavy(f"text {i % 7}")):
        store.write(event)
store.close()
print(store.dropped, flush=True)
"""


@pytest.mark.parametrize("durability", ["step", "group"])
def test_collecting_beside_writers_loses_nothing(url, durability):
    """Two processes write the same seven texts over and over; all the while episodes are deleted and garbage taken."""
    n = 60
    with Store(url) as store:
        command = [sys.executable, "-c", WRITING, url, durability, str(n)]
        writers = [
            subprocess.Popen(command, cwd=__file__.rpartition("/")[0], stdin=-1, stdout=-1, text=True) for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        deleted = collected = 0
        while any(writer.poll() is None for writer in writers):
            with store.connection() as connection:
                ended = tables.trajectory.c.status.is_not(None)
                ids = connection.scalars(sa.select(tables.trajectory.c.id).where(ended).limit(20)).all()
            deleted += store.delete(*ids)
            collected += collect(store).garbage
        assert [writer.communicate()[0] for writer in writers] == ["0\n", "0\n"]
        left = list(store.trajectories())
        assert len(left) == 2 * n - deleted
        assert all(t.last.text.startswith("text ") and len(t.last.text) >= 256 for t in left)
        for t in left:
            store.delete(t.id)
        collect(store)
        assert stored(store) == []


def test_threads_of_one_store_write_while_it_collects(store):
    made = [[heavy(f"text {i % 5}") for i in range(30)] for _ in range(3)]

    def write(mine):
        for t in mine:
            for event in events(t):
                store.write(event)

    threads = [threading.Thread(target=write, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        collect(store)
    assert store.dropped == 0
    assert all_read(store, [t for mine in made for t in mine])


def test_an_interrupted_collection_is_begun_again(store, monkeypatch):
    made = [heavy(str(i)) for i in range(20)]
    store.add(made)
    store.delete(*(t.id for t in made[:15]))
    monkeypatch.setattr(gc, "_AT_ONCE", 4)
    real, calls = gc._delete, []

    def delete(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(gc, "_delete", delete)
    with pytest.raises(KeyboardInterrupt):
        collect(store)
    assert len(stored(store)) == 12
    assert collect(store).garbage == 7
    assert all_read(store, made[15:])


def test_what_waits_in_the_spool_brings_its_texts_along(tmp_path, monkeypatch):
    from agentprm.store.rows import Rows

    path, first, later = tmp_path / "runs.db", heavy("same"), heavy("same")
    with Store(path) as store:
        store.add(first)
        rows = Rows()
        for event in events(later):
            store._writer.encoder.encode(event, rows)
        store._database.spool.append(new_id(), 1, rows)
        store._database.spool.close()
        with store._database.migrating() as connection:
            connection.execute(sa.delete(tables.trajectory))
        monkeypatch.setattr(store._writer, "flush", lambda: None)
        assert collect(store).garbage == 1
    with Store(path) as store:
        assert list(store.trajectories()) == [later]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_what_a_detached_part_refers_to_stays_while_it_lies_in_the_schema(url):
    with Store(url) as store:
        old = heavy("old", id=UUID(int=1 << 100 | 7 << 76 | 2 << 62))
        store.add([old, heavy("new")])
        partition(store._database, steps=1)
        n = len(stored(store))
        first = next(part for part in parts(store._database) if part.first < old.id < part.after)
        detach(store._database, first.name)
        assert len(list(store.trajectories())) == 1
        assert collect(store).garbage == 0
        assert len(stored(store)) == n
        with store._database.migrating() as connection:
            connection.exec_driver_sql(f"DROP TABLE content_{first.name}")
        assert collect(store).garbage == 1


def test_room_is_given_back_to_the_disk(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        texts = (os.urandom(5_000).hex() for _ in range(40))
        made = [plain(1)._with(last=Observation(text)) for text in texts]
        store.add(made)
        store.delete(*(t.id for t in made))
        assert collect(store).n_bytes > 100_000
        sizes = [sum(p.stat().st_size for p in tmp_path.glob("runs.db*"))]
        collect(store, vacuum=True)
        sizes.append(sum(p.stat().st_size for p in tmp_path.glob("runs.db*")))
        assert sizes[1] < sizes[0] / 2


def test_the_verb_says_what_went(url):
    with Store(url) as store:
        t = heavy("x")
        store.add([t, heavy("y")])
        store.delete(t.id)
    told = []
    for flags in (["--dry-run", "--json"], ["--json"], ["--json"]):
        ran = CliRunner().invoke(command, ["gc", url, *flags])
        assert ran.exit_code == 0, ran.output
        told.append(json.loads(ran.stdout))
    assert [(one["blobs"], one["garbage"]) for one in told] == [(2, 1), (2, 1), (1, 0)]
    assert told[0]["bytes"] == told[1]["bytes"] > 0
    ran = CliRunner().invoke(command, ["gc", url, "--vacuum"])
    assert "nothing" in ran.output


def test_no_store_is_made_to_be_cleaned(tmp_path):
    with pytest.raises(StoreError, match="there is no database"):
        collect(tmp_path / "none.db")
