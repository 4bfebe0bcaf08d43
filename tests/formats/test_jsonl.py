"""Our own form: what is wrong in it is named, nothing odd becomes a trajectory."""

import io
import json

import pytest

from agentprm import formats
from agentprm.errors import InvalidFormat
from agentprm.formats import _exact
from agentprm.formats._exact import amended, difference, plain
from agentprm.testing.trajectories import episode
from agentprm.types import Observation, Spec, Step, ToolCall

SCORES = {"trajectory_id": "0" * 32, "source": {"name": "x"}, "unit": "value", "values": [1.0]}


def reading(**record):
    return list(formats.read(io.BytesIO(json.dumps({"agentprm": 1, **record}).encode()), "jsonl"))


WRONG = {
    "task.text": 7, "task.key": True, "steps": {}, "steps[0].reward": "1", "steps[0].info": [], "last": "words",
    "steps[0].action.text": 7, "steps[0].action.tool_calls": [{"name": "f", "attempts": "x"}],
    "steps[0].observation.images": [{"media_type": "image/png", "data": "AA=="}], "ending": {"status": 7},
    "seed": 1.5, "policy": 7, "parent": {"trajectory_id": "x", "index": 0}, "started_at": "noon", "id": 7, "meta": 7,
    "external_id": ["x"], "colour": "red",
}  # fmt: skip


@pytest.mark.parametrize("place", WRONG)
def test_a_field_of_another_type_is_named(place):
    trajectory = plain(episode(("a", "b"), outcome=1.0))
    at, *path = place.replace("[0]", ".0").split(".")[::-1]
    inside = trajectory
    for key in path[::-1]:
        inside = inside[int(key) if key.isdigit() else key]
    inside[at] = WRONG[place]
    with pytest.raises(InvalidFormat, match=rf"line 1, trajectory\.{place.replace('[', '.').replace(']', '.')}"):
        reading(trajectory=trajectory)


@pytest.mark.parametrize(
    "change",
    [{"values": ["x"]}, {"values": 1}, {"unit": "euro"}, {"source": "x"}, {"start": -1}, {"start": 0.5}, {"notes": [7]},
     {"parts": {"x": [1, 2]}}, {"values": [{"$float": "nan"}]}, {"sees": "all"}, {"trajectory_id": "x"}],
    ids=str,
)  # fmt: skip
def test_scores_that_cannot_be_are_refused(change):
    assert len(reading(scores=SCORES)) == 1
    with pytest.raises(InvalidFormat, match="line 1"):
        reading(scores=SCORES | change)


def test_a_file_of_a_newer_version_is_refused():
    with pytest.raises(InvalidFormat, match="written by a newer agentprm"):
        list(formats.read(io.BytesIO(b'{"agentprm": 2, "scores": {}}'), "jsonl"))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (Observation("a"), Observation("b", native=None)),
        (Observation("a", 1), Observation("a", 1.0)),
        (Observation("a", True), Observation("a", 1)),
        (Observation("a", {"x": 1}), Observation("a", {"y": 1})),
        (Observation("a\0"), Observation("b\ud800")),
        (ToolCall("f", {"x": 1}), ToolCall("f", None)),
        (ToolCall("f", {"-": ["x"]}, "1"), ToolCall("f", {"x": {"-": []}})),
    ],
    ids=str,
)
def test_a_difference_makes_one_of_the_other(given, wanted):
    before, after = plain(given), plain(wanted)
    change = difference(before, after)
    assert change
    assert _exact.same_json(amended(before, change), after)
    assert _exact.same_json(amended(after, difference(after, before)), before)


def test_a_difference_is_no_longer_than_what_differs():
    t = episode(("a", "b"), ("c", "d"))
    other = t._with(steps=(t.steps[0], Step(t.steps[1].observation, t.steps[1].action, 1.0)))
    assert difference(plain(t), plain(other)) == {"steps": {"1": {"reward": 1.0}}}
    assert difference(plain(Spec("a", {"x": [1]})), plain(Spec("a", {"x": [2]}))) == {"params": {"x": [2]}}
