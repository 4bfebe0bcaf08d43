"""What goes into a store comes out of it; what does not fit is refused with a reason, and nothing half."""

import math
import sqlite3
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from filled import LABELS, MODEL, ODD, PICTURE, SOON, done, events, full, plain, scored

from agentprm import Store
from agentprm.errors import InvalidScores, InvalidTrajectory, NoSuchTrajectory
from agentprm.store import tables
from agentprm.store.gc import collect
from agentprm.types import (
    Action,
    Began,
    Ending,
    Fork,
    Observation,
    Scores,
    Spec,
    Step,
    Stepped,
    Task,
    Trajectory,
    new_id,
)


def rows_of(store):
    """Return how many rows each table of facts and opinions has."""
    with store.connection() as connection:
        names = [t.name for t in tables.metadata.sorted_tables if t.name not in ("meta", "ingest")]
        return {name: connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar() for name in names}


# Round trips.


def test_an_episode_with_everything_filled_returns_equal(store):
    trajectory = full()
    assert store.add(trajectory) == 1
    (back,) = store.trajectories()
    assert back == trajectory
    assert store.degraded == 0


@pytest.mark.parametrize(
    "trajectory",
    [
        plain(0),
        plain(1),
        Trajectory(new_id(), Task(""), (), Observation()),
        plain(2, ending=Ending("incomplete")),
        plain(1, seed=-(2**63), ending=done(0.0)),
        plain(1, seed=2**63 - 1),
        plain(1, seed=2**63),
        plain(1, seed=-(2**63) - 1),
        Trajectory(new_id(), Task("x"), (Step(Observation(), Action(), 3),), Observation()),
        Trajectory(new_id(), Task("x"), (Step(Observation(native=""), Action(native="")),), Observation("", None)),
    ],
    ids=[
        "empty",
        "one step",
        "no words",
        "incomplete",
        "low",
        "high",
        "higher",
        "lower",
        "int reward",
        "empty natives",
    ],
)
def test_small_episodes_return_equal(store, trajectory):
    assert store.add(trajectory) == 1
    assert list(store.trajectories()) == [trajectory]
    assert store.add(trajectory) == 0, "what is there already is left as it is"


def test_types_of_natives_return(store):
    store.add(full())
    (back,) = store.trajectories()
    assert type(back.steps[1].action.native) is np.int64
    assert back.steps[0].observation.native["image"].dtype == np.uint8
    assert back.started_at.utcoffset() == timedelta(0)
    assert back.started_at.microsecond == 123456


def test_events_and_add_give_equal_trajectories(store):
    recorded, added = full(), full()
    for event in events(recorded):
        store.write(event)
    store.add(added)
    store.add(plain(2))
    assert list(store.trajectories(id=[recorded.id, added.id])) == [recorded, added]
    assert (store.dropped, store.degraded) == (0, 0)


@pytest.mark.parametrize("n_seen", range(5))
def test_an_episode_is_there_as_far_as_it_was_recorded(store, n_seen):
    whole = full()
    for _, event in zip(range(n_seen), events(whole), strict=False):
        store.write(event)
    if n_seen == 0:
        assert list(store.trajectories()) == []
    else:
        n = n_seen - 1
        assert list(store.trajectories()) == [
            whole._with(steps=whole.steps[:n], last=whole.observations[n], ending=None)
        ]


def test_what_was_stored_twice_under_one_picture_is_stored_once(store):
    store.add([full(), full()])
    with store.connection() as connection:
        kinds = connection.scalars(sa.select(tables.blob.c.media_type)).all()
    assert sorted(kind for kind in kinds if kind.startswith("image")) == ["image/jpeg", "image/png"]


def test_a_fork_keeps_its_parent_and_finds_it(store):
    parent, child = plain(3), full()
    child = child._with(parent=Fork(parent.id, 1, "call", {"action": "other"}))
    store.add([parent, child, full()])
    assert list(store.trajectories(parent=parent.id)) == [child]


# Filters.


@pytest.fixture
def several(store):
    """Four episodes, a minute apart."""
    made = [
        plain(1, task="a", policy="p", env="E", group="g", seed=1, external_id="x", ending=done(1.0)),
        plain(1, task="b", policy="q", env="E", group="h", seed=2**70, ending=done(0.0, "truncated")),
        plain(1, task="b", policy="q", env="F", ending=Ending("incomplete")),
        plain(1, task="a"),
    ]
    made = [t._with(started_at=SOON + timedelta(minutes=i)) for i, t in enumerate(made)]
    store.add(made[::-1])
    return made


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "0123"),
        ({"task": Task("b").key}, "12"),
        ({"task": [Task("a").key, Task("b").key]}, "0123"),
        ({"task": Task("c").key}, ""),
        ({"policy": "q"}, "12"),
        ({"policy": ("p", "q")}, "012"),
        ({"env": "E"}, "01"),
        ({"group": "g"}, "0"),
        ({"group": {"g", "h"}}, "01"),
        ({"external_id": "x"}, "0"),
        ({"seed": 1}, "0"),
        ({"seed": 2**70}, "1"),
        ({"seed": [1, 2**70, 5]}, "01"),
        ({"seed": np.int64(1)}, "0"),
        ({"seed": 2**71}, ""),
        ({"status": "incomplete"}, "2"),
        ({"status": ["terminated", "truncated"]}, "01"),
        ({"ended": True}, "012"),
        ({"ended": False}, "3"),
        ({"outcome": (0.5, 1.0)}, "0"),
        ({"outcome": (0.0, 1.0)}, "01"),
        ({"outcome": (0.0, 0.0)}, "1"),
        ({"since": SOON + timedelta(minutes=1)}, "123"),
        ({"until": SOON + timedelta(minutes=1)}, "0"),
        ({"since": SOON + timedelta(minutes=1), "until": SOON + timedelta(minutes=3)}, "12"),
        ({"limit": 2}, "01"),
        ({"limit": 0}, ""),
        ({"policy": "q", "env": "F"}, "2"),
        ({"policy": "p", "env": "F"}, ""),
        ({"policy": []}, ""),
        ({"parent": new_id()}, ""),
        ({"task": ODD, "policy": ODD}, ""),
    ],
)
def test_every_filter_given_must_hold_and_the_oldest_comes_first(store, several, filters, expected):
    assert [several.index(t) for t in store.trajectories(**filters)] == [int(i) for i in expected]


def test_ids_choose_one_or_several_also_very_many(store, several):
    assert list(store.trajectories(id=several[2].id)) == [several[2]]
    assert list(store.trajectories(id=iter([several[3].id, several[1].id, several[3].id]))) == [several[1], several[3]]
    others = [new_id() for _ in range(40_000)]
    assert list(store.trajectories(id=[several[3].id, *others, several[0].id], limit=1)) == [several[0]]
    store.add([scored(t, 0.5) for t in several])
    assert [s.trajectory_id for s in store.scores([*others, several[2].id])] == [several[2].id]


def test_odd_words_are_found_by_their_own_name(store):
    odd = full()
    store.add([odd, plain()])
    for filters in ({"external_id": ODD}, {"env": "Env\0-v0"}, {"policy": "ppo@1\ud800"}, {"group": "g\0"}):
        assert list(store.trajectories(**filters)) == [odd]
    assert list(store.trajectories(task="key\0")) == [odd]


def test_a_filter_by_time_needs_a_zone(store):
    for name in ("since", "until"):
        with pytest.raises(InvalidTrajectory, match=f"{name} has no time zone"):
            list(store.trajectories(**{name: datetime(2026, 1, 1)}))


def test_without_leaves_what_one_version_of_a_scorer_has_not_scored(store, several):
    store.add([scored(several[0], 0.5), scored(several[1], None), scored(several[2], 0.5, source=LABELS)])
    assert list(store.trajectories(without=MODEL)) == several[2:], "an abstention is an opinion too"
    assert list(store.trajectories(without=Spec("model", {"version": 2}))) == several


def test_more_episodes_than_one_statement_reads(store):
    made = [plain(2) for _ in range(450)]
    assert store.add(made) == 450
    assert list(store.trajectories()) == made
    assert store.add(made) == 0


# Scores.


def test_scores_return_with_gaps_parts_notes_and_start(store):
    t = plain(5)
    one = scored(t, 0.25, None, -1.5, start=1, parts={"spread": (None, 0.5, None)}, notes=("good", None, ODD))
    other = scored(t, *[None] * 5, source=LABELS)
    assert store.add([t, one, other]) == 3
    back, empty = store.scores(t.id)
    values, parts, notes = (0.25, None, -1.5), {"spread": (None, 0.5, None)}, ("good", None, "a\ufffdb \ufffd c 😀")
    assert back == Scores(t.id, MODEL, "value", values, 1, parts, notes, "action")
    assert empty == other
    assert (back.source, back.sees, empty.source) == (MODEL, "action", LABELS)


def test_the_same_scores_twice_add_nothing(store):
    t = plain(2)
    item = scored(t, 0.5, None, notes=("a", None), parts={"spread": (1.0, 2.0)})
    assert store.add([t, item]) == 2
    before = rows_of(store)
    assert store.add([t, item]) == 0
    assert store.add([item, item]) == 0
    assert rows_of(store) == before


def test_another_version_of_a_scorer_adds_rows_beside_the_first(store):
    t = plain(2)
    newer = Spec("model", {"version": 2})
    store.add([t, scored(t, 0.5, 0.6)])
    assert store.add(scored(t, 0.7, 0.8, source=newer)) == 1
    assert {s.source: s.values for s in store.scores(t.id)} == {MODEL: (0.5, 0.6), newer: (0.7, 0.8)}
    assert [s.values for s in store.scores(source=newer)] == [(0.7, 0.8)]


def test_scores_of_further_steps_join_the_earlier_ones(store):
    t = plain(4)
    assert store.add([t, scored(t, 0.1, 0.2)]) == 2
    assert store.add(scored(t, 0.3, None, start=2)) == 1
    assert [s.values for s in store.scores(t.id)] == [(0.1, 0.2, 0.3, None)]


def test_stored_scores_are_never_overwritten(store):
    t = plain(1)
    store.add([t, scored(t, 0.5)])
    assert store.add(scored(t, 0.9)) == 0
    assert [s.values for s in store.scores()] == [(0.5,)]


def test_scores_of_no_step_are_nothing_to_store(store):
    t = plain(0)
    assert store.add([t, scored(t)]) == 1
    assert list(store.scores()) == []


def test_scores_are_chosen_by_trajectory_source_and_unit(store):
    a, b = plain(1), plain(1)
    reward = Scores(b.id, Spec("model", {"version": 3}), "reward", (1.0,))
    store.add([a, b, scored(a, 0.1), scored(b, 0.2), scored(a, 0.3, source=LABELS), reward])

    def values(*args, **filters):
        return [s.values[0] for s in store.scores(*args, **filters)]

    assert values(a.id) == [0.1, 0.3]
    assert values([b.id]) == [0.2, 1.0]
    assert values([]) == []
    assert values(source=LABELS) == [0.3]
    assert values(source="model") == [0.1, 0.2, 1.0]
    assert values(unit="reward") == [1.0]
    assert values(a.id, source="model", unit="value") == [0.1]


# The three rewards.


def test_the_three_rewards_stand_side_by_side(store):
    t = plain(4, ending=done())
    shaping = Spec("shaping", {"shape": "potential", "gamma": 1.0, "scorer": MODEL})
    first, *steps, last = events(t)
    store.write(first)
    for i, event in enumerate(steps):
        live = () if i == 1 else (Scores(t.id, MODEL, "value", (0.1 * i,), i, sees="action"),)
        store.write(Stepped(event.trajectory_id, i, event.step, event.result, 10.0 + i, shaping, live))
    store.write(last)
    rewards = store.rewards(t.id)
    assert rewards.env == (0.0, 1.0, 2.0, 3.0)
    assert rewards.score == pytest.approx((0.0, None, 0.2, 0.3))
    assert rewards.given == (10.0, 11.0, 12.0, 13.0)
    store.add(scored(t, 0.9, 0.8, 0.7, 0.6, source=LABELS))
    assert store.rewards(t.id, LABELS).score == (0.9, 0.8, 0.7, 0.6)
    assert store.rewards(t.id, Spec("nobody")).score == (None,) * 4
    assert next(store.scores(t.id, source=MODEL)).values == pytest.approx((0.0, None, 0.2, 0.3))


def test_where_nothing_stood_between_them_the_learner_got_the_worlds_reward(store):
    t = plain(2)
    store.add(t)
    assert store.rewards(t.id) == ((0.0, 1.0), (None, None), (0.0, 1.0))
    empty = plain(0)
    store.add(empty)
    assert store.rewards(empty.id) == ((), (), ())


def test_rewards_that_no_column_takes_are_exact(store):
    t = plain(3)
    first, *steps = events(t)
    store.write(first)
    paid = [math.inf, math.nan, -math.inf]
    for event, reward in zip(steps, paid, strict=True):
        step = Step(event.step.observation, event.step.action, -reward)
        store.write(Stepped(t.id, event.index, step, event.result, reward))
    rewards = store.rewards(t.id)
    assert str(rewards.env) == str((-math.inf, math.nan, math.inf))
    assert str(rewards.given) == str(tuple(paid))


def test_rewards_of_no_trajectory(store):
    with pytest.raises(NoSuchTrajectory):
        store.rewards(new_id())


# Outcomes.


def test_the_latest_outcome_counts_and_the_earlier_ones_stay(store):
    t, other = plain(1, ending=done(0.0)), plain(1, ending=done(0.0))
    store.add([t, other])
    for value in (0.5, 1, 0.75):
        store.set_outcome(value, id=t.id)
    assert next(store.trajectories(id=t.id)).outcome == 0.75
    assert next(store.trajectories(id=other.id)).outcome == 0.0
    assert list(store.trajectories(outcome=(0.7, 0.8))) == [next(store.trajectories(id=t.id))]
    with store.connection() as connection:
        rows = connection.execute(sa.text("SELECT value, source FROM outcome ORDER BY at")).all()
    assert sorted(rows) == [(0.0, "env"), (0.0, "env"), (0.5, "user"), (0.75, "user"), (1.0, "user")]


def test_an_opinion_given_later_counts_though_the_ending_lies_in_the_future(store):
    t = plain(1, ending=done(0.0, ended_at=datetime.now(UTC) + timedelta(days=1000)))
    store.add(t)
    store.set_outcome(1.0, id=t.id)
    assert next(store.trajectories()).outcome == 1.0
    store.set_outcome(0.5, id=t.id, source="judge")
    assert next(store.trajectories()).outcome == 0.5


def test_opinions_of_one_moment_are_all_kept(store, monkeypatch):
    t = plain(1)
    store.add(t)
    monkeypatch.setattr("agentprm.store.store.utc_now", lambda: SOON)
    for value in (0.0, 0.5, 1.0):
        store.set_outcome(value, id=t.id)
    assert rows_of(store)["outcome"] == 3
    assert list(store.trajectories(outcome=(1.0, 1.0)))


def test_an_outcome_by_somebody_elses_id(store):
    t = plain(1, external_id=ODD, ending=done(None))
    store.add([t, plain(1, ending=done(None))])
    store.set_outcome(1.0, external_id=ODD, source=ODD)
    assert [x.outcome for x in store.trajectories()] == [1.0, None]


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_an_outcome_lies_between_0_and_1(store, value):
    with pytest.raises(InvalidTrajectory, match=r"\[0, 1\]"):
        store.set_outcome(value, id=new_id())


def test_an_outcome_belongs_to_one_trajectory_that_is_there(store):
    for ids in ({}, {"id": new_id(), "external_id": "x"}):
        with pytest.raises(InvalidTrajectory, match="say which trajectory"):
            store.set_outcome(1.0, **ids)
    for ids in ({"id": new_id()}, {"external_id": "x"}):
        with pytest.raises(NoSuchTrajectory):
            store.set_outcome(1.0, **ids)


# Adding: all or none, with a reason.


def test_another_trajectory_under_a_known_id_is_refused(store):
    t = plain(2)
    store.add(t)
    before = rows_of(store)
    for other in (plain(3, id=t.id), plain(2, id=t.id, start=5), t._with(last=Observation("elsewhere"))):
        with pytest.raises(InvalidTrajectory, match=f"another trajectory {t.id}, of 2 steps"):
            store.add([plain(1), other])
    assert rows_of(store) == before


def test_another_trajectory_under_the_same_id_in_one_call_is_refused(store):
    t = plain(2)
    with pytest.raises(InvalidTrajectory, match="another trajectory"):
        store.add([t, plain(3, id=t.id)])
    assert store.add([t, t]) == 1


def test_a_running_trajectory_gets_its_ending_once(store):
    t = plain(2)
    store.add(t)
    ended = t.end(done(0.5))
    assert store.add(ended) == 1
    assert list(store.trajectories()) == [ended]
    assert store.add([ended, t]) == 0
    both = plain(1)
    assert store.add([both, both.end(done())]) == 1
    assert next(store.trajectories(id=both.id)).outcome == 1.0


def test_values_without_an_exact_form_are_refused(store):
    t = plain(2)
    worse = t._with(steps=(t.steps[0], Step(Observation(native=object()), Action(), 0.0, {"x": print})))
    with pytest.raises(InvalidTrajectory, match=f"{t.id} holds 2 values that only their repr"):
        store.add([plain(1), worse])
    assert set(rows_of(store).values()) == {0}


def test_scores_need_their_trajectory(store):
    t = plain(2)
    with pytest.raises(NoSuchTrajectory, match=f"model scores trajectory {t.id}: add that first"):
        store.add([plain(1), scored(t, 0.5, 0.5)])
    assert set(rows_of(store).values()) == {0}


@pytest.mark.parametrize(("n", "start"), [(3, 0), (1, 2), (2, 1)])
def test_scores_beyond_the_last_step_are_refused(store, n, start):
    t = plain(2)
    store.add(t)
    with pytest.raises(InvalidScores, match=f"scores steps {start} to {start + n - 1} of trajectory .* has 2 steps"):
        store.add(scored(t, *[0.5] * n, start=start))
    assert list(store.scores()) == []


@pytest.mark.parametrize("changes", [{"unit": "reward"}, {"sees": "episode"}])
@pytest.mark.parametrize("at_once", [True, False])
def test_one_recipe_has_one_unit_and_one_sight(store, changes, at_once):
    a, b = plain(1), plain(1)
    store.add([a, b])
    one = scored(a, 0.5)
    other = Scores(
        **{"trajectory_id": b.id, "source": MODEL, "unit": "value", "values": (0.5,), "sees": "action"} | changes
    )
    if not at_once:
        store.add(one)
    with pytest.raises(InvalidScores, match="give it a name or parameters of its own"):
        store.add([one, other] if at_once else other)


def test_only_trajectories_and_scores_are_added(store):
    with pytest.raises(InvalidTrajectory, match="not dict"):
        store.add([plain(1), {"id": 1}])
    assert set(rows_of(store).values()) == {0}
    assert store.add([]) == 0


# Forgetting.


def test_delete_leaves_nothing_of_a_trajectory(store):
    t = full()
    store.add([t, scored(t, 0.5, None, 0.5, notes=("a", None, "b"), parts={"spread": (1.0, 1.0, 1.0)})])
    store.set_outcome(1.0, id=t.id)
    with store.connection() as connection:
        row = {"id": new_id(), "trajectory_id": t.id, "annotator": "me", "code": "x", "created_at": 0}
        connection.execute(sa.insert(tables.label).values(row))
        connection.commit()
    assert all(rows_of(store)[name] for name in ("content", "step", "tool_call", "score", "blob", "outcome", "label"))
    assert store.delete(t.id) == 1
    assert rows_of(store)["blob"] == collect(store).garbage > 0
    nouns = {"env", "policy", "tool", "part", "scorer", "shaping"}
    assert {name for name, n in rows_of(store).items() if n} <= nouns
    with pytest.raises(NoSuchTrajectory):
        store.rewards(t.id)


def test_delete_leaves_everything_of_the_others(store):
    gone, kept = full(), full()
    shared = Task("shared")
    kept = kept._with(task=shared)
    gone = gone._with(task=shared)
    store.add([gone, kept, scored(gone, 0.1, 0.1, 0.1), scored(kept, 0.5, 0.5, 0.5)])
    assert store.delete(gone.id, new_id()) == 1
    assert list(store.trajectories()) == [kept]
    assert [s.trajectory_id for s in store.scores()] == [kept.id]
    assert next(store.trajectories()).steps[0].observation.images == (PICTURE, PICTURE)


def test_deleting_what_is_not_there_deletes_nothing(store):
    assert store.delete() == 0
    assert store.delete(new_id()) == 0


def test_what_was_deleted_may_be_added_again(store):
    t = full()
    store.add(t)
    store.delete(t.id)
    assert store.add(t) == 1
    assert list(store.trajectories()) == [t]


def test_recording_goes_on_after_another_store_deleted_the_last_trajectory_of_a_task(url):
    with Store(url) as recording, Store(url) as other:
        first, second = plain(1, task="secret"), plain(1, task="secret")
        for event in events(first):
            recording.write(event)
        recording.flush()
        other.delete(first.id)
        for event in events(second):
            recording.write(event)
        assert list(recording.trajectories()) == [second]
        assert recording.dropped == 0


# For people who write SQL.


def test_views_have_names_readable_ids_and_iso_times(tmp_path):
    parent = new_id()
    t = plain(2, task="leave", policy="ppo", env="Env-v0", ending=done(0.5, ended_at=SOON), started_at=SOON)
    t = t._with(parent=Fork(parent, 3))
    with_tools = full()
    with Store(tmp_path / "runs.db") as store:
        store.add([t, with_tools, scored(t, 0.25, None, notes=("good", None), parts={"spread": (1.0, 2.0)})])
    with sqlite3.connect(tmp_path / "runs.db") as db:
        db.row_factory = sqlite3.Row
        (row,) = db.execute("SELECT * FROM v_trajectory WHERE id = ?", [str(t.id)])
        assert (row["task_text"], row["policy"], row["env"], row["status"]) == ("leave", "ppo", "Env-v0", "terminated")
        assert (row["parent_id"], row["fork_index"]) == (str(parent), 3)
        assert (row["outcome"], row["n_steps"], row["env_return"], row["given_return"]) == (0.5, 2, 1.0, 1.0)
        assert row["started_at"] == row["ended_at"] == "2026-03-01T12:00:00.123Z"
        steps = db.execute("SELECT * FROM v_step WHERE trajectory = ? ORDER BY idx", [str(t.id)]).fetchall()
        said = [(row["observation"], row["action"], row["result"], row["env_reward"]) for row in steps]
        assert said == [("seen 0", "do 0", "seen 1", 0.0), ("seen 1", "do 1", "seen 2", 1.0)]
        assert steps[1]["state_hash"] is not None
        scores = db.execute("SELECT * FROM v_score ORDER BY part, idx").fetchall()
        said = [
            (row["trajectory"], row["idx"], row["scorer"], row["part"], row["value"], row["note"]) for row in scores
        ]
        assert said == [
            (str(t.id), 0, "model", "score", 0.25, "good"),
            (str(t.id), 1, "model", "score", None, None),
            (str(t.id), 0, "model", "spread", 1.0, None),
            (str(t.id), 1, "model", "spread", 2.0, None),
        ]
        calls = db.execute("SELECT tool, status, attempts FROM v_tool_call ORDER BY position").fetchall()
        assert tuple(calls[0]) == ("search", "ok", 2)
        assert len(calls) == 5
    db.close()


def test_the_same_state_has_the_same_hash_and_another_has_another(store):
    seen = [
        Observation("a"),
        Observation("a", "a"),
        Observation("b"),
        Observation("a", images=(PICTURE,)),
        Observation("a"),
    ]
    steps = tuple(Step(o, Action()) for o in seen[:-1])
    store.add(Trajectory(new_id(), Task("t"), steps, seen[-1]))
    with store.connection() as connection:
        a, same, b, pictured, again = connection.scalars(sa.select(tables.content.c.state_hash).order_by("idx"))
    assert a == same == again
    assert len({a, b, pictured}) == 3


def test_nothing_is_stored_that_plain_sql_would_stumble_over(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        t = full(seed=np.int64(3), parent=Fork(new_id(), np.int64(2)))
        store.add([t, scored(t, np.float32(0.5), start=np.int64(1))])
        assert next(store.trajectories()).seed == 3
    with sqlite3.connect(tmp_path / "runs.db") as db:
        for query in ("SELECT typeof(seed) FROM trajectory", "SELECT typeof(fork_index) FROM trajectory",
                      "SELECT typeof(idx) FROM score", "SELECT typeof(attempts) FROM tool_call"):  # fmt: skip
            assert set(db.execute(query)) == {("integer",)}
        assert set(db.execute("SELECT typeof(value) FROM score")) == {("real",)}
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()


def test_a_connection_reads_with_sql_of_ones_own(store):
    store.add([plain(2), plain(1)])
    with store.connection() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM v_step")).scalar() == 3
    with pytest.raises(sa.exc.SQLAlchemyError), store.connection() as connection:
        connection.execute(sa.text("SELECT nonsense"))


def test_a_store_in_memory_is_a_store_as_well():
    with Store(":memory:") as one, Store(":memory:") as other:
        t = full()
        one.add([t, scored(t, 0.1, 0.2, 0.3)])
        assert list(one.trajectories()) == [t]
        assert len(list(one.scores())) == 1
        assert list(other.trajectories()) == [], "each has a memory of its own"
        one.delete(t.id)
        assert list(one.trajectories()) == []
        one.write(Began(plain(0)))
        for found in one.trajectories():
            one.set_outcome(1.0, id=found.id)
