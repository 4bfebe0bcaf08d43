from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentprm import Store
from agentprm.errors import InvalidSpec
from agentprm.testing.trajectories import corridors, episode, hostile
from agentprm.text.render import PLAIN, Segment, Template, obstacles, render, samples
from agentprm.types import Action, Image, Observation, Step, Task, ToolCall, Trajectory, new_id

SIGHTS = ("action", "result")
ALL = [*corridors(3), *hostile(), *samples(PLAIN)]

words = st.text(max_size=8) | st.sampled_from(PLAIN.markers)
calls = st.builds(
    ToolCall,
    words,
    st.dictionaries(words, words, max_size=2),
    output=st.none() | words,
    status=st.sampled_from(["ok", "error", "pending"]),
)
steps = st.builds(Step, st.builds(Observation, words), st.builds(Action, words, words, st.lists(calls, max_size=2)))
trajectories = st.builds(
    lambda task, taken, last: Trajectory(new_id(), Task(task), tuple(taken), Observation(last)),
    words,
    st.lists(steps, max_size=4),
    words,
)


def kinds(segments):
    return [(s.role, s.step, s.text) for s in segments]


def test_a_turn_is_what_was_seen_planned_done_and_returned():
    calls = (ToolCall("search", {"q": "Peru"}, output="Lima"), ToolCall("open", {}, output="gone", status="error"))
    step = Step(Observation("a desk"), Action("Let me see.", plan="think", tool_calls=calls))
    trajectory = Trajectory(new_id(), Task("capital?"), (step,), Observation("a screen"))
    assert kinds(render(trajectory, "result")) == [
        ("task", None, "capital?"),
        ("observation", 0, "a desk"),
        ("plan", 0, "think"),
        ("action", 0, 'Let me see.\nsearch({"q": "Peru"})\nopen({})'),
        ("result", 0, "Lima"),
        ("result", 0, "error: gone"),
        ("observation", 1, "a screen"),
    ]
    assert kinds(render(trajectory)) == kinds(render(trajectory, "result"))[:-1]


def test_system_prompt_and_tools_open_it_where_they_were_recorded():
    tools = [{"type": "function", "function": {"name": "search"}}, {"name": "café"}]
    trajectory = Trajectory(new_id(), Task("t"), (), Observation("a"), meta={"system": "Be brief.", "tools": tools})
    first = render(trajectory)[0]
    assert (first.role, first.step) == ("system", None)
    assert first.text.splitlines() == [
        "Be brief.",
        '{"type": "function", "function": {"name": "search"}}',
        '{"name": "café"}',
    ]
    assert PLAIN.text(render(trajectory)).startswith("<|system|>Be brief.\n")
    for meta in ({}, {"system": "", "tools": []}, {"tools": "none"}, {"other": 1}):
        assert render(replace(trajectory, meta=meta))[0].role == "task"


@pytest.mark.parametrize("sees", SIGHTS)
@pytest.mark.parametrize("trajectory", ALL, ids=range(len(ALL)))
def test_every_step_ends_at_one_segment_in_order(trajectory, sees):
    ending = [s for s in render(trajectory, sees) if s.scored]
    role, shift = ("action", 0) if sees == "action" else ("observation", 1)
    assert [(s.role, s.step) for s in ending] == [(role, t + shift) for t in range(len(trajectory))]


@given(trajectories)
@settings(max_examples=60, deadline=None)
def test_what_was_seen_at_a_step_is_the_beginning_of_the_episode_and_ends_where_the_step_does(trajectory):
    for sees in SIGHTS:
        whole = render(trajectory, sees)
        ends = [i for i, segment in enumerate(whole) if segment.scored]
        for t in range(len(trajectory)):
            assert render(trajectory.seen(t, sees), sees) == whole[: ends[t] + 1]


@given(trajectories)
@settings(max_examples=60, deadline=None)
def test_a_growing_episode_only_appends(trajectory):
    for sees in SIGHTS:
        grown = Trajectory(trajectory.id, trajectory.task, (), trajectory.observations[0])
        for step, following in zip(trajectory.steps, trajectory.observations[1:], strict=True):
            before = [replace(s, scored=False) for s in render(grown, sees)]
            grown = grown.append(step, following)
            assert [replace(s, scored=False) for s in render(grown, sees)][: len(before)] == before


@pytest.mark.parametrize("trajectory", ALL, ids=range(len(ALL)))
def test_the_result_begins_with_all_that_the_action_saw(trajectory):
    action, result = ([replace(s, scored=False) for s in render(trajectory, sees)] for sees in SIGHTS)
    assert result[: len(action)] == action
    assert len(result) == len(action) + 1


def test_the_text_is_the_segments_one_behind_the_other():
    segments = render(episode(("a door", "open it"), last="a garden"))
    assert PLAIN.text(segments) == "".join(PLAIN.spell(s) for s in segments)
    assert PLAIN.text(segments) == ("<|task|>leave the house<|observation|>a door<|action|>open it<|step|>")


def test_what_the_store_gives_back_reads_the_same(tmp_path):
    given = [*samples(PLAIN), *hostile()]
    with Store(str(tmp_path / "runs.db")) as store:
        store.add(given)
        again = {trajectory.id: trajectory for trajectory in store.trajectories()}
    for trajectory in given:
        for sees in SIGHTS:
            assert render(again[trajectory.id], sees) == render(trajectory, sees)


def test_native_values_have_words():
    step = Step(Observation(native=np.array([1.0, 2.5])), Action(native=3))
    trajectory = Trajectory(new_id(), Task("t"), (step,), Observation(native={"a": 1}))
    assert [s.text for s in render(trajectory, "result")] == ["t", "[1, 2.5]", "3", "a: 1"]


def test_an_empty_action_is_an_obstacle_and_only_there():
    trajectory = episode(("a", "go"), ("b", ""), ("c", "go"))
    assert obstacles(trajectory) == [None, "step 1 has an empty action", None]
    plans = Trajectory(new_id(), Task("t"), (Step(Observation("a"), Action(plan="think")),), Observation())
    assert obstacles(plans) == [None]


def test_nothing_is_judged_after_a_picture():
    picture = Observation("look", images=(Image("image/png", b"x"),))
    steps = (Step(Observation("a"), Action("go")), Step(picture, Action("go")), Step(Observation("c"), Action("go")))
    trajectory = Trajectory(new_id(), Task("t"), steps, Observation("d"))
    note = "observation 1 holds a picture, and this model reads text only"
    assert obstacles(trajectory) == [None, note, note]
    assert obstacles(trajectory, "result") == [note, note, note]
    for sees in SIGHTS:
        assert [obstacles(trajectory.seen(t, sees), sees)[t] for t in range(3)] == obstacles(trajectory, sees)


def test_a_template_is_named_by_what_it_makes_of_trajectories():
    assert PLAIN.digest == Template().digest != Template(gap="<|cut|>").digest
    assert Template(name="other").digest != PLAIN.digest
    # A change of this name is a change of what every saved model reads: make it only on purpose.
    assert PLAIN.digest == "c97ca0940dba6d9da721d219f29963e0"


def test_a_change_of_wording_changes_the_name_of_the_template(monkeypatch):
    old = Template(name="fresh 1").digest
    monkeypatch.setattr("agentprm.text.render.action_text", lambda action: action.text)
    assert Template(name="fresh 2").digest != old
    assert Segment("action", 0, "x").text == "x"


@pytest.mark.parametrize("bad", [{"gap": ""}, {"gap": "<|step|>"}])
def test_markers_are_different_and_not_empty(bad):
    with pytest.raises(InvalidSpec, match="markers"):
        Template(**bad)
