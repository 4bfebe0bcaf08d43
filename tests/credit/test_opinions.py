"""Two scorers, people and what people should look at next, by hand."""

from datetime import UTC, datetime

import pytest
from credit_world import HUMAN, NEW, OLD, episode, fill

from agentprm import Scores, Spec
from agentprm.credit import disagreement, first_errors, label_next
from agentprm.store import tables
from agentprm.types import new_id


def opinion(t, scorer, *values, sees="action"):
    return Scores(t.id, scorer, "value", values, sees=sees)


def test_the_widest_differences_come_first_and_the_note_is_about_all(store):
    (t,) = fill(store, episode(["x", "y", "z"], [0.5, 0.5, None], 1.0, scorer=OLD))
    store.add(opinion(t, NEW, 0.4, 0.9, 0.1))
    table = disagreement(store, limit=1)
    assert [(row["step"], row["a"], row["b"]) for row in table] == [(1, 0.5, 0.9)]
    assert table.note == "both scored 2 steps; b − a is +0.150 on average, 0.250 in size"
    turned = disagreement(store, NEW, OLD)
    assert [row["difference"] for row in turned] == pytest.approx([-0.4, 0.1])
    version = f"model@{OLD.digest[:6]}"
    assert disagreement(store, version).title.startswith(f"Where a = model@{OLD.digest[:8]}")


def test_one_scorer_cannot_disagree(store):
    fill(store, episode(["x"], [0.5], 1.0))
    assert "one scorer only" in disagreement(store).note


def test_the_first_error_is_compared_with_the_first_that_people_marked(store):
    cases = {  # scores, marks: verdict
        "error found": ([0.9, 0.2, 0.1], (1.0, 0.0, 0.0)),
        "found too early": ([0.2, 0.2, 0.1], (1.0, 0.0, None)),
        "found too late": ([0.9, 0.9, 0.1], (None, 0.0, 0.0)),
        "error missed": ([0.9, 0.9, 0.9], (1.0, 0.0, 0.0)),
        "no error, none found": ([0.9, 0.9, 0.9], (1.0, 1.0, 1.0)),
        "no error, one found": ([0.9, 0.4, 0.9], (1.0, 1.0, 1.0)),
    }
    for scores, marks in cases.values():
        (t,) = fill(store, episode(["x"] * 3, scores, 1.0))
        store.add(opinion(t, HUMAN, *marks, sees="episode"))
    (t,) = fill(store, episode(["x"] * 3, [0.9, 0.1, 0.1], 1.0))
    store.add(opinion(t, HUMAN, None, None, 0.0, sees="episode"))
    fill(store, episode(["x"], [0.1], 1.0))
    table = first_errors(store)
    assert {row["verdict"]: row["n"] for row in table} == {**dict.fromkeys(cases, 1), "found too early": 2}
    assert table.rows[0][:3] == ("found too early", 2, pytest.approx(2 / 7))
    assert "F1 0.286: right on 20% of episodes with an error, on 50% of those without" in table.note


def test_labels_that_stand_are_marks_too(store):
    (t,) = fill(store, episode(["x"] * 3, [0.9, 0.2, 0.9], 0.0))
    now = int(datetime.now(UTC).timestamp() * 1e6)
    first, second = new_id(), new_id()
    with store.connection() as connection:
        for key, idx, replaced in ((first, 0, None), (second, 1, first)):
            row = {
                "id": key,
                "trajectory_id": t.id,
                "idx": idx,
                "annotator": "eva",
                "code": "decisive",
                "created_at": now,
            }
            connection.execute(tables.label.insert().values(**row, supersedes=replaced))
        connection.commit()
    assert [row["verdict"] for row in first_errors(store)] == ["error found"]
    assert [row["verdict"] for row in first_errors(store, truth="eva")] == ["error found"]
    assert len(first_errors(store, truth="adam")) == 0


def test_what_to_label_next_takes_kinds_of_action_in_turn_and_leaves_out_what_is_labelled(store):
    (t,) = fill(store, episode(["go 1", "go 2", "take 3", "take 4"], [0.5, 0.52, 0.8, 0.9], 1.0, scorer=Spec("only")))
    assert [row["step"] for row in label_next(store)] == [0, 2, 1, 3]
    with store.connection() as connection:
        row = {"id": new_id(), "trajectory_id": t.id, "idx": 0, "annotator": "eva", "code": "ok", "created_at": 0}
        connection.execute(tables.label.insert().values(**row))
        connection.commit()
    assert [row["step"] for row in label_next(store)] == [1, 2, 3]
    store.add(opinion(t, NEW, 0.5, 0.5, 0.1, 0.95))
    assert [row["step"] for row in label_next(store, limit=2)] == [2, 1]
