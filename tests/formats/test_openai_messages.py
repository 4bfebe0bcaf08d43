"""OpenAI chat messages: foreign lines come back as they were, ours equal; what a conversation means."""

import io
import json
from dataclasses import replace

import pytest
from records import ODD, PICTURE, PIXEL, PLAIN, TOOL, answer, called, copy

from agentprm import formats
from agentprm.errors import InvalidFormat, InvalidTrajectory
from agentprm.formats import openai_messages
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Action, Image, Observation, Scores, Spec, Step, Task, ToolCall


def reading(*records):
    return list(openai_messages.read(io.BytesIO("\n".join(map(json.dumps, records)).encode())))


def only(record):
    (trajectory,) = reading(record)
    return trajectory


def writing(*items, **options):
    file = io.BytesIO()
    openai_messages.write(file, items, **options)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def talk(*messages, **more):
    return {"messages": list(messages), **more}


USER = {"role": "user", "content": "hi"}
SAID = {"role": "assistant", "content": "hello"}


def test_a_conversation_is_a_trajectory():
    trajectory = only(PLAIN)
    assert trajectory.task == Task("The capital of Peru?")
    assert trajectory.meta == {"system": "Be brief.", "tools": [TOOL]}
    assert trajectory.steps == (
        Step(
            Observation("The capital of Peru?"),
            Action(
                tool_calls=(
                    ToolCall("search", {"q": "x"}, "a", "Lima", "ok", 1),
                    ToolCall("search", "not {json", "b", "bad arguments", "ok", 1),
                )
            ),
        ),
        Step(Observation(), Action("Lima.")),
    )
    assert (trajectory.last, trajectory.ending.status, trajectory.outcome) == (Observation(), "completed", None)


@pytest.mark.parametrize("record", [PLAIN, ODD, PICTURE], ids=["plain", "odd", "picture"])
def test_a_foreign_line_comes_back_as_it_was(record):
    assert writing(*reading(record)) == [record]


def test_parallel_calls_are_matched_by_id_whatever_the_order():
    calls = [called("a"), called("b")]
    line = talk(USER, {"role": "assistant", "content": None, "tool_calls": calls}, answer("b", "B"), answer("a", "A"))
    trajectory = only(line)
    assert [c.output for c in trajectory.steps[0].action.tool_calls] == ["A", "B"]
    assert writing(trajectory) == [line]


def test_one_id_twice_is_answered_in_order_and_a_third_answer_is_seen():
    calls = [called("a"), called("a")]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    trajectory = only(talk(USER, asked, answer("a", "1"), answer("a", "2"), answer("a", "3"), SAID))
    assert [c.output for c in trajectory.steps[0].action.tool_calls] == ["1", "2"]
    assert trajectory.steps[1].observation.text == "3"


def test_an_id_used_again_later_is_answered_where_it_was_asked_last():
    asked = {"role": "assistant", "content": None, "tool_calls": [called("a")]}
    first, second = only(talk(USER, asked, asked, answer("a", "late"))).steps
    assert [s.action.tool_calls[0].output for s in (first, second)] == [None, "late"]


def test_a_call_that_nobody_answered_leaves_the_episode_incomplete():
    trajectory = only(talk(USER, {"role": "assistant", "content": "wait", "tool_calls": [called("a")]}))
    (call,) = trajectory.steps[0].action.tool_calls
    assert (call.status, call.attempts, call.output) == ("pending", 0, None)
    assert (trajectory.ending.status, trajectory.steps[0].action.plan) == ("incomplete", "wait")


def test_arguments_that_are_no_json_are_kept_to_the_letter():
    trajectory = only(talk({"role": "assistant", "tool_calls": [called("a", arguments="{broken")]}))
    (call,) = trajectory.steps[0].action.tool_calls
    assert (call.arguments, call.status) == ("{broken", "rejected")


def test_reasoning_is_the_plan_and_a_refusal_the_text():
    thought = {"role": "assistant", "content": "4", "reasoning_content": "2 + 2"}
    refused = {"role": "assistant", "content": None, "refusal": "no"}
    first, second = only(talk(USER, thought, USER, refused)).steps
    assert (first.action.plan, first.action.text, second.action.text) == ("2 + 2", "4", "no")


def test_pictures_are_bytes():
    trajectory = only(PICTURE)
    assert trajectory.steps[0].observation == Observation(
        "What is this?", None, (Image("image/png", b"\x89PNG\r\n\x1a\n"),)
    )
    broken = copy(PICTURE)
    broken["messages"][0]["content"][1]["image_url"]["url"] = f"data:image/png;base64,{PIXEL}*"
    with pytest.raises(InvalidFormat, match=r"messages\[0\]\.content\[1\]\.image_url: expected a picture in base64"):
        reading(broken)


def test_several_messages_before_a_decision_are_one_observation():
    first, second = {"role": "user", "name": "ann", "content": "a"}, {"role": "user", "name": "bob", "content": "b"}
    trajectory = only(talk(first, second, SAID))
    assert trajectory.steps[0].observation == Observation("ann: a\nbob: b", [first, second])
    assert trajectory.task.text == "b"


def test_what_a_trajectory_holds_beyond_messages_stands_under_one_key():
    trajectory = corridors(1, seed=2)[0]
    scores = Scores(trajectory.id, Spec("judge"), "value", tuple(0.5 for _ in trajectory.steps))
    (line,) = writing(trajectory, scores)
    assert line.keys() == {"messages", "info", "agentprm"}
    assert line["messages"][0]["content"].startswith(trajectory.task.text)
    assert line["agentprm"]["scores"] == [
        {"source": {"name": "judge"}, "unit": "value", "values": [0.5] * len(trajectory)}
    ]
    assert reading(line) == [trajectory, scores]


def test_a_line_without_the_key_is_read_all_the_same():
    (line,) = writing(*corridors(1, seed=2))
    del line["agentprm"]
    assert [s.action.text for s in only(line).steps] == [s.action.text for s in corridors(1, seed=2)[0].steps]


def test_bare_lines_hold_messages_and_tools_only():
    (trajectory,) = reading(PLAIN)
    line = writing(replace(trajectory, meta={**trajectory.meta, "thread": 1}), bare=True)[0]
    assert line == PLAIN


def test_a_schema_as_recorders_keep_it_is_wrapped_as_openai_wants_it():
    trajectory = replace(episode(("x", "y")), meta={"tools": [TOOL["function"]], "system": "be brief"})
    (line,) = writing(trajectory)
    assert line["tools"] == [TOOL]
    assert line["messages"][0] == {"role": "system", "content": "be brief"}
    assert reading(line) == [trajectory]


def test_what_was_seen_may_look_like_messages_and_be_none():
    odd = [{"role": "user", "content": 5}]
    trajectory = episode(("x", "y"))
    trajectory = replace(trajectory, steps=(Step(Observation("", odd), Action("y")),))
    assert reading(*writing(trajectory)) == [trajectory]


def test_a_value_without_an_exact_form_is_refused():
    with pytest.raises(InvalidTrajectory, match="only their repr"):
        writing(replace(episode(("x", "y")), meta={"socket": object()}))


def test_the_same_line_is_the_same_trajectory_and_another_is_another():
    other = copy(PLAIN) | {"id": "x"}
    first, again, third = reading(PLAIN, PLAIN, other)
    assert first == again
    assert first.id != third.id
    assert (third.external_id, third.meta["id"]) == ("x", "x")


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"role": "user"}, {"content": "x"}], r"line 1, messages\[1\]\.role: expected a value, not nothing"),
        ([{"role": 3}], r"messages\[0\]\.role: expected a text, not 3"),
        ([{"role": "assistant", "content": 3}], r"messages\[0\]\.content: expected a list, not 3"),
        ([{"role": "assistant", "tool_calls": [{}]}], r"messages\[0\]\.tool_calls\[0\]\.name: expected a value"),
        ("words", r"messages: expected a list, not 'words'"),
    ],
    ids=["no role", "role no text", "content no text", "call without function", "no list"],
)
def test_what_is_wrong_is_named_with_its_field(messages, says):
    with pytest.raises(InvalidFormat, match=says):
        reading({"messages": messages})


@pytest.mark.parametrize(
    "beside",
    [
        {"trajectory": {"id": "no"}}, {"trajectory": {"steps": {"0": {"action": {"text": 7}}}}}, {"scores": [{}]},
        {"trajectory": {"colour": "red"}}, {"trajectory": {"steps": [7]}}, {"scores": [{"source": {}}]}, 7,
        {"trajectory": {"ending": {"status": "gone"}}},
        {"trajectory": {"meta": {"$array": ["<f8", [10**9], "AA=="]}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_key_of_ours_is_refused(beside):
    with pytest.raises(InvalidFormat, match="line 1"):
        reading(talk(USER, SAID, agentprm=beside))


def test_a_line_of_ten_megabytes(tmp_path):
    long = talk({"role": "user", "content": "word " * 2_000_000}, SAID)
    assert len(only(long).task.text) == 10_000_000
    assert writing(*reading(long)) == [long]
    assert formats.write(tmp_path / "x.jsonl.gz", reading(long), "openai_messages") == 1
    assert list(formats.read(tmp_path / "x.jsonl.gz")) == reading(long)
