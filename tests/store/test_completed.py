"""The order in which episodes ended up complete: nothing is missed and nothing seen twice, whoever commits late."""

import os
import random
import threading
import time
from itertools import islice

import psycopg
import pytest
import sqlalchemy as sa
from filled import done, events, plain
from test_migrate import downgrade

from agentprm import Store
from agentprm.store import completion, migrate
from agentprm.types import Ended


def write(store, trajectory):
    for event in events(trajectory):
        store.write(event)
    store.flush()


def ids(pairs):
    return [trajectory.id for _, trajectory in pairs]


def test_they_come_in_the_order_in_which_they_ended_up_in_the_store(store):
    first, second, third = (plain(1, ending=done()) for _ in range(3))
    for trajectory in (second, third, first):
        write(store, trajectory)
        assert [t.id for _, t in store.completed()][-1] == trajectory.id
    pairs = list(store.completed())
    assert [place for place, _ in pairs] == [1, 2, 3]
    assert [t for _, t in pairs] == [second, third, first]


def test_a_reader_goes_on_where_it_was(store):
    store.add([plain(1, ending=done()) for _ in range(5)])
    (first, _), (second, _) = islice(store.completed(), 2)
    rest = list(store.completed(after=second))
    assert (first, second, len(rest)) == (1, 2, 3)
    assert list(store.completed(after=rest[-1][0])) == []
    late = plain(1, ending=done())
    write(store, late)
    assert ids(store.completed(after=rest[-1][0])) == [late.id]


def test_what_runs_comes_when_it_has_ended(store):
    running = plain(1)
    write(store, running)
    write(store, plain(1, ending=done()))
    ((place, _),) = store.completed()
    store.write(Ended(running.id, done()))
    assert ids(store.completed(after=place)) == [running.id]


def test_filters_hold_and_others_are_refused(store):
    store.add([plain(1, ending=done(), policy=f"p{i % 2}") for i in range(4)])
    assert [place for place, _ in store.completed(policy="p1")] == [2, 4]
    assert len(list(store.completed(status="truncated"))) == 0
    with pytest.raises(TypeError, match=r"limit is no filter here: there are ended, env"):
        store.completed(limit=3)


def test_a_place_is_never_given_twice(store):
    one, two, three = (plain(1, ending=done()) for _ in range(3))
    store.add([one, two])
    place = list(store.completed())[-1][0]
    store.delete(*(t.id for t in (one, two)))
    write(store, three)
    assert ids(store.completed(after=place)) == [three.id]


def test_following_waits_for_more(store, monkeypatch):
    monkeypatch.setattr(completion, "_POLL_S", 0.02)
    made = [plain(1, ending=done()) for _ in range(3)]
    write(store, made[0])
    following = store.completed(follow=True)
    assert next(following)[1] == made[0]
    later = threading.Timer(0.1, lambda: [write(store, t) for t in made[1:]])
    later.start()
    assert [next(following)[1].id for _ in range(2)] == [t.id for t in made[1:]]
    later.join()
    following.close()


def test_many_more_than_one_look_takes(store, monkeypatch):
    monkeypatch.setattr(completion, "_AT_ONCE", 7)
    monkeypatch.setattr(completion, "_PAGE", 5)
    made = [plain(1, ending=done()) for _ in range(23)]
    store.add(made)
    pairs = list(store.completed())
    assert [place for place, _ in pairs] == list(range(1, 24))
    assert sorted(ids(pairs)) == sorted(t.id for t in made)


def test_a_store_of_the_first_schema_gets_its_order_when_it_is_upgraded(store):
    made = [plain(1, ending=done()) for _ in range(3)] + [plain(1)]
    store.add(made)
    downgrade(store._database, "0001")
    migrate.upgrade(store._database)
    assert ids(store.completed()) == [t.id for t in made[:3]]


def test_a_file_that_may_only_be_read_gives_what_has_a_place(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        write(store, plain(1, ending=done()))
        assert len(list(store.completed())) == 1
        write(store, plain(1, ending=done()))
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK and real(place, mode))
    with Store(path) as store:
        assert [place for place, _ in store.completed()] == [1]


# A server, and recorders that commit late.


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_transaction_that_was_open_all_along_is_not_missed_and_holds_nobody_up(store, url):
    slow, quick = plain(1), [plain(1, ending=done()) for _ in range(3)]
    write(store, slow)
    with psycopg.connect(url) as other:
        # It ended first, and before any of the others drew anything; it is committed last.
        other.execute(
            "UPDATE trajectory SET status = 'terminated', terminated = true, truncated = false, ended_at = 1 "
            "WHERE id = %s",
            (slow.id,),
        )
        seen = []
        for trajectory in quick:
            write(store, trajectory)
            seen += store.completed(after=seen[-1][0] if seen else 0)
        assert ids(seen) == [t.id for t in quick]
        other.commit()
    late = list(store.completed(after=seen[-1][0]))
    assert ids(late) == [slow.id]
    assert ids(store.completed()) == [t.id for t in (*quick, slow)]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_trajectory_that_is_locked_comes_later(store, url):
    one, two = (plain(1, ending=done()) for _ in range(2))
    store.add([one, two])
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM trajectory WHERE id = %s FOR UPDATE", (one.id,))
        pairs = list(store.completed())
        assert ids(pairs) == [two.id]
    assert ids(store.completed(after=pairs[-1][0])) == [one.id]


def record_late(url, n, seed):
    """Record as others do, each episode's ending in a transaction that stays open for a while."""
    rng = random.Random(seed)
    with Store(url) as store, psycopg.connect(url) as other:
        for _ in range(n):
            trajectory = plain(1)
            write(store, trajectory)
            other.execute(
                "UPDATE trajectory SET status = 'completed', ended_at = %s WHERE id = %s",
                (rng.randrange(10**9), trajectory.id),
            )
            time.sleep(rng.random() / 30)
            other.commit()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_readers_beside_recorders_that_commit_late_see_each_episode_once(store, url):
    writers = [threading.Thread(target=record_late, args=(url, 25, seed)) for seed in range(4)]
    seen = [[], []]

    def read(into):
        is_over = False
        while not is_over:
            is_over = not any(writer.is_alive() for writer in writers)  # asked before reading: then all is there
            into += [(place, t.id) for place, t in store.completed(after=into[-1][0] if into else 0)]

    readers = [threading.Thread(target=read, args=(into,)) for into in seen]
    for thread in (*writers, *readers):
        thread.start()
    for thread in (*writers, *readers):
        thread.join()
    for into in seen:
        places = [place for place, _ in into]
        assert places == sorted(set(places))
        assert len({key for _, key in into}) == len(into) == 100
    assert seen[0] == seen[1]
    with store.connection() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM trajectory WHERE completed IS NULL")).scalar() == 0
