"""Sums of finished episodes: as the facts say, of nothing that can still change, and gone with their episode."""

import os
import random
from itertools import pairwise

import pytest
import sqlalchemy as sa
from credit_world import NEW, episode, fill
from test_questions import NAMED, alike, asked

from agentprm import Action, Observation, Scores, Spec, Step, Store, Task, Trajectory
from agentprm.credit import sums, value_by_action
from agentprm.credit.asking import choose
from agentprm.store import tables as t
from agentprm.types import new_id


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request):
    """The world on each engine."""
    return request.getfixturevalue("lite") if request.param == "sqlite" else request.getfixturevalue("elephant")[0]


@NAMED
def test_sums_and_facts_give_the_same_answer(question, engine, made, monkeypatch):
    kept = asked(question, engine, made)
    monkeypatch.setattr(sums, "_without", lambda _: sa.select(t.trajectory.c.id))
    monkeypatch.setattr("agentprm.credit.asking.add_up", lambda *_: False)
    hidden = sa.literal(False)  # no row of the sums is read
    monkeypatch.setattr(sums, "kept_of", lambda table, _: hidden)
    facts = asked(question, engine, made)
    assert (kept.columns, kept.note, len(kept)) == (facts.columns, facts.note, len(facts))
    for row, other in zip(kept.rows, facts.rows, strict=True):
        assert all(map(alike, row, other)), (row, other)


LOOPED = Spec("looped")


def reference(values):
    """Return what a row of sums holds of an episode's scores, by a loop over them."""
    given = [(i, v) for i, v in enumerate(values) if v is not None]
    numbers = [v for _, v in given]
    changes = [(b - a, i, a, b) for (_, a), (i, b) in pairwise(given)]
    _, worst, before, after = min(changes, default=(None, None, None, None))
    bins = [[v for v in numbers if min(9, sum(v >= (i + 1) / 10 for i in range(9))) == j] for j in range(10)]
    row = {"n": len(numbers), "total": sum(numbers) if numbers else None, "least": min(numbers, default=None)}
    row |= {"first": numbers[0] if numbers else None, "last": numbers[-1] if numbers else None}
    row |= {"last_idx": given[-1][0] if given else None, "worst_idx": worst, "before": before, "after": after}
    row |= {f"n_{i}": len(b) for i, b in enumerate(bins)}
    return row | {f"total_{i}": sum(b) if b else None for i, b in enumerate(bins)}


def test_sums_are_those_of_a_loop(engine):
    rng, expected = random.Random(3), {}
    for _ in range(40):
        values = [rng.choice([None, 0.0, 0.1, 0.3, 0.7, 1.0, round(rng.random(), 2)]) for _ in range(rng.randint(1, 9))]
        (done,) = fill(engine, episode(["x"] * len(values), values, 1.0, scorer=LOOPED))
        expected[done.id] = reference(values)
    choose(engine, LOOPED)
    c = t.episode_score.c
    with engine.connection() as connection:
        mine = sa.select(t.episode_score).join(t.scorer).where(t.scorer.c.digest == LOOPED.digest)
        rows = connection.execute(mine.where(c.trajectory_id.in_(expected))).mappings().all()
    engine.delete(*expected)
    assert len(rows) == len(expected)
    for row in rows:
        for name, value in expected[row["trajectory_id"]].items():
            assert alike(row[name], value), name


def test_what_can_still_change_is_not_added_up(store):
    running = Trajectory(
        new_id(), Task("t"), (Step(Observation("a"), Action("go", native="go")),) * 2, Observation("b")
    )
    done, partly = fill(store, episode(["go"] * 3, [0.2, 0.8, 0.1], 1.0), episode(["go"] * 3, outcome=0.0))
    scores = (Scores(key, NEW, "value", (0.5, 0.1), sees="action") for key in (partly.id, running.id))
    store.add([running, *scores])
    by = choose(store)
    assert not by.is_added_up
    with store.connection() as connection:
        assert list(connection.scalars(sa.select(t.episode_score.c.trajectory_id))) == [done.id]
    (row,) = value_by_action(store)
    assert (row["n"], row["episodes"]) == (4, 3)
    store.add(Scores(partly.id, NEW, "value", (0.9,), start=2, sees="action"))
    assert value_by_action(store).to_dicts()[0]["n"] == 5


def test_sums_go_with_their_episode(store):
    done, other = fill(store, episode(["go"] * 2, [0.2, 0.8], 1.0), episode(["go"] * 2, [0.3, 0.4], 1.0))
    choose(store)
    store.delete(done.id)
    with store.connection() as connection:
        for table in (t.episode_score, t.action_score):
            assert list(connection.scalars(sa.select(table.c.trajectory_id))) == [other.id]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_who_may_only_read_is_answered_from_the_facts(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        fill(store, episode(["go"] * 2, [0.2, 0.8], 1.0))
    path.chmod(0o444)
    with Store(path) as store:
        assert len(value_by_action(store)) == 1
        assert not choose(store).is_added_up


def test_nothing_is_added_up_twice_by_two_who_ask_at_once(store):
    fill(store, episode(["go"] * 2, [0.2, 0.8], 1.0))
    by = choose(store)
    with store.connection() as connection:
        ids = list(connection.scalars(sa.select(t.trajectory.c.id)))
    with store._database.migrating() as connection:
        sums._add_up(connection, by.id, ids)
    assert choose(store).is_added_up
    assert value_by_action(store).to_dicts()[0]["n"] == 1
