"""A clock that jumps: ids keep their order, views and questions keep their sense, the later opinion counts."""

import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from filled import done, events, plain, scored

from agentprm import Store, TrajectoryRecorder, credit
from agentprm.credit.questions import QUESTIONS
from agentprm.store import store as stores
from agentprm.store.integrity import damages
from agentprm.types import Ending, new_id

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch):
    """A function that sets every clock this library looks at."""

    def set_clock(moment):
        class Now(datetime):
            @classmethod
            def now(cls, tz=None):
                return moment

        monkeypatch.setattr("agentprm.types._basics.datetime", Now)
        monkeypatch.setattr(stores, "utc_now", lambda: moment)
        monkeypatch.setattr(time, "time_ns", lambda: int(moment.timestamp() * 1e9))
        monkeypatch.setattr(time, "time", moment.timestamp)

    return set_clock


def test_ids_sort_by_creation_and_differ_while_the_clock_jumps(at):
    rng, ids = random.Random(0), []
    for _ in range(2_000):
        at(NOON + timedelta(seconds=rng.uniform(-3_600, 3_600)))
        ids.append(new_id())
    assert ids == sorted(ids)
    assert len(set(ids)) == 2_000


class Jumping:
    """An environment during whose steps the clock jumps back."""

    def __new__(cls, at):
        import gymnasium as gym

        class Env(gym.Env):
            observation_space, action_space = gym.spaces.Discrete(100), gym.spaces.Discrete(2)

            def reset(self, *, seed=None, options=None):
                self.t = 0
                return 0, {"task": "wait"}

            def step(self, action):
                self.t += 1
                at(NOON - timedelta(hours=self.t))
                return self.t, 1.0, self.t == 4, False, {"success": True}

        return Env()


def test_what_is_recorded_while_the_clock_goes_back_is_whole_and_can_be_asked_about(url, at):
    at(NOON)
    with Store(url) as store:
        env = TrajectoryRecorder(Jumping(at), store)
        for _ in range(3):
            env.reset()
            for _ in range(4):
                env.step(0)
        found = list(store.trajectories())
        store.add([scored(t, 0.1, 0.2, 0.9, 0.4) for t in found])
        assert [[o.native for o in t.observations] for t in found] == [[0, 1, 2, 3, 4]] * 3
        assert all(t.ending.ended_at < t.started_at for t in found[-1:])
        assert [t.outcome for t in found] == [1.0] * 3
        assert credit.success(store).rows[0][2] == 3
        assert len(credit.sql(store, "SELECT started_at, ended_at, outcome FROM v_trajectory").rows) == 3
        for question in QUESTIONS:
            assert question.ask(store, **({"id": found[0].id} if question.name == "timeline" else {})).title
        assert store.dropped == 0
    assert damages(url) == []


def test_oldest_first_is_by_what_the_clock_said_and_among_equals_by_id(url, at):
    """Times are recorded as the clock gave them; whoever wants the order of one process sorts by id."""
    made = []
    for hours in (0, -2, 1, 1):
        at(NOON + timedelta(hours=hours))
        made.append(plain(1, started_at=NOON + timedelta(hours=hours)))
    with Store(url) as store:
        store.add(made)
        assert list(store.trajectories()) == [made[1], made[0], made[2], made[3]]
        assert sorted(store.trajectories(), key=lambda t: t.id) == made
        assert list(store.trajectories(since=NOON)) == [made[0], made[2], made[3]]


def test_a_persons_later_opinion_counts_also_when_it_has_an_earlier_time(url, at):
    at(NOON)
    t = plain(2, ending=done(0.0, ended_at=NOON), started_at=NOON)
    with Store(url) as store:
        store.add(t)
        for value, hours in ((1.0, -5), (0.25, -9), (0.75, 0)):
            at(NOON + timedelta(hours=hours))
            store.set_outcome(value, id=t.id)
            (back,) = store.trajectories()
            assert back.outcome == value
            assert credit.sql(store, "SELECT outcome FROM v_trajectory").rows == ((value,),)
            assert credit.success(store).rows[0][3] == (1.0 if value >= 0.5 else 0.0)
        with store.connection() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM outcome").scalar() == 4, "the earlier ones stay"


def test_an_endings_opinion_is_as_old_as_the_ending_whenever_it_arrives(url, at):
    """So a replay, a merge or a drained spool gives the same answer in whatever order they come."""
    at(NOON)
    t = plain(2, ending=done(0.0, ended_at=NOON - timedelta(hours=1)), started_at=NOON - timedelta(hours=2))
    with Store(url) as store:
        *steps, end = events(t)
        for event in steps:
            store.write(event)
        store.set_outcome(1.0, id=t.id)
        store.write(end)
        (back,) = store.trajectories()
        assert back.ending.status == "terminated"
        assert back.outcome == 1.0, "a person spoke at noon, the world an hour before"


def test_groups_are_written_in_time_whatever_the_clock_says(tmp_path, at):
    """What waits is counted by a clock that only goes forward."""
    from test_writer import on_disk, until

    with Store(tmp_path / "runs.db", durability="group") as store:
        t = plain(3, ending=done())
        for i, event in enumerate(events(t)):
            at(NOON - timedelta(days=i))
            store.write(event)
        until(lambda: on_disk(tmp_path / "runs.db") == 3)
        assert list(store.trajectories()) == [t]


def test_a_spool_filled_while_the_clock_goes_back_is_drained_in_order(tmp_path, at, monkeypatch):
    from test_writer import Lock

    from agentprm.store import database

    monkeypatch.setattr(database, "_BUSY_S", 0.02)
    path, t = tmp_path / "runs.db", plain(8, ending=done())
    with Store(path) as store:
        with Lock(path):
            for i, event in enumerate(events(t)):
                at(NOON - timedelta(days=i))
                store.write(event)
        assert list(store.trajectories()) == [t]
        assert (store.spooled, store.dropped) == (0, 0)


def test_an_ending_before_its_beginning_is_no_error(url):
    before = Ending("terminated", True, outcome=1.0, ended_at=NOON - timedelta(days=365))
    t = plain(1, ending=before, started_at=NOON)
    with Store(url) as store:
        store.add(t)
        assert list(store.trajectories()) == [t]
        assert credit.success(store).rows[0][2] == 1
