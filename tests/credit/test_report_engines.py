"""What a page shows is the same on both engines, down to the last label."""

import pytest
import sqlalchemy as sa

from agentprm.credit.report.episodes import plain_episodes
from agentprm.credit.report.look import first_look
from agentprm.store import tables as t
from agentprm.types import new_id

NOT_THE_SAME = ("store", "written")


def test_the_first_look(lite, elephant):
    one, other = (
        {k: v for k, v in first_look(s, limit=50).items() if k not in NOT_THE_SAME} for s in (lite, elephant[0])
    )
    assert one["episodes"] == other["episodes"]
    assert len(one["episodes"]) == 50
    assert one["total"] == other["total"] > 50
    for name, table in one["tables"].items():
        assert table["columns"] == other["tables"][name]["columns"]
        for a, b in zip(table["rows"], other["tables"][name]["rows"], strict=True):
            assert [pytest.approx(x) if isinstance(x, float) else x for x in a] == b


def test_filters_reach_the_list(lite, elephant):
    for store in (lite, elephant[0]):
        data = first_look(store, policy="ppo@1", outcome="failure")
        assert {episode["policy"] for episode in data["episodes"]} == {"ppo@1"}
        assert {episode["outcome"] for episode in data["episodes"]} == {0.0}


def test_episodes(lite, elephant, made):
    ids = [trajectory.id for trajectory, _ in made[:90]]
    one, other = ({e["id"]: e for e in plain_episodes(store, ids)} for store in (lite, elephant[0]))
    assert len(one) == 90
    for key, episode in one.items():
        for said in (episode, other[key]):
            said["opinions"].sort(key=lambda opinion: opinion["label"])
        assert episode == other[key]


def test_labels_of_people_are_told_but_not_those_replaced(store):
    from credit_world import episode, fill

    [trajectory] = fill(store, episode(["a", "b"], (0.5, 0.4), 0.0))
    old, new, whole = new_id(), new_id(), new_id()
    rows = [
        {"id": old, "idx": 0, "code": "right", "value": 1.0, "comment": None, "supersedes": None},
        {"id": new, "idx": 0, "code": "wrong", "value": 0.0, "comment": "looked again", "supersedes": old},
        {"id": whole, "idx": None, "code": "rude", "value": None, "comment": None, "supersedes": None},
    ]
    with store._database.migrating() as connection:
        for row in rows:
            named = {"trajectory_id": trajectory.id, "annotator": "ana", "created_at": 0}
            connection.execute(sa.insert(t.label).values(**named, **row))
    [told] = plain_episodes(store, [trajectory.id])
    by_step = {label["step"]: label for label in told["labels"]}
    assert (by_step[0]["code"], by_step[0]["comment"], by_step[0]["who"]) == ("wrong", "looked again", "ana")
    assert by_step[None]["code"] == "rude"
    assert len(told["labels"]) == 2
    assert first_look(store)["episodes"][0]["marked"] == 0
