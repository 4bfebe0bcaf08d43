"""One episode step by step, and rows to train on."""

import pytest
from credit_world import LABELS, OLD, episode, fill

from agentprm import Action, Scores, ToolCall
from agentprm.credit import timeline, training_set
from agentprm.errors import NoSuchTrajectory
from agentprm.types import new_id


def test_a_timeline_has_a_column_for_every_other_scorer(store):
    (t,) = fill(store, episode(["a", "b"], [0.5, 0.9], 1.0))
    store.add([Scores(t.id, OLD, "value", (None, 0.3), sees="action"), Scores(t.id, LABELS, "value", (1.0, 1.0))])
    fill(store, episode(["a"], [0.1], 0.0))
    table = timeline(store, t.id, "model")
    assert table.scorer == f"model@{OLD.digest[:8]}", "the newest of that name"
    others = table.columns[6:]
    assert [name.split("@")[0] for name in others] == ["temporal", "model"]
    assert [row[6:] for row in table.rows] == [(1.0, 0.5), (1.0, 0.9)]
    assert [row["score"] for row in table] == [None, 0.3]


def test_an_episode_is_found_by_the_last_digits_of_its_id(store):
    a, b = fill(store, episode(["a"], [0.5], 1.0), episode(["b"], [0.5], 1.0))
    digits = a.id.hex[-12:]
    assert timeline(store, digits).title == timeline(store, str(a.id)).title == f"Episode {a.id}"
    with pytest.raises(NoSuchTrajectory, match="no trajectory's id"):
        timeline(store, "xyz!")
    with pytest.raises(NoSuchTrajectory, match="holds no trajectory"):
        timeline(store, new_id())
    with pytest.raises(NoSuchTrajectory, match="no trajectory's id"):
        timeline(store, a.id.hex[-2:])
    twin = type(b.id)(int=b.id.int ^ (1 << 100))
    fill(store, episode(["c"], [0.5], 1.0))
    clone = b._with(id=twin)
    store.add(clone)
    with pytest.raises(NoSuchTrajectory, match="give more digits"):
        timeline(store, b.id.hex[-12:])


def test_rows_to_train_on_have_all_that_came_before(store):
    call = Action(plan="look it up", tool_calls=(ToolCall("search"),))
    (t,) = fill(store, episode(["go a", call, "stop"], [0.1, 0.2, 0.3], 1.0, seen=["s0", "s1", "s2", "s3"]))
    store.add(Scores(t.id, LABELS, "value", (None, 0.5, 1.0)))
    table = training_set(store)
    assert table.scorer.startswith("temporal@"), "labels come before scores"
    second, third = table
    assert (second["prefix"], second["action"], second["target"], second["weight"]) == (
        "s0\n> go a\ns1",
        "search",
        0.5,
        0.5,
    )
    assert third["prefix"] == "s0\n> go a\ns1\n> search\ns2"
    assert (third["policy"], third["outcome"], third["task"]) == ("p", 1.0, t.task.key)
    assert training_set(store, "model").rows[0][3] == "s0"


def test_rows_to_train_on_are_limited_by_episodes(store):
    fill(store, *(episode(["a", "b"], [0.1, 0.2], 1.0) for _ in range(4)))
    assert len({row["trajectory"] for row in training_set(store, limit=3)}) == 3
    assert len(training_set(store, limit=None)) == 8
