"""ATIF: what its steps mean, subagents, and that what we write is what its own models take."""

import io
import json
from datetime import UTC, datetime

import pytest
from filled import full

from agentprm import formats
from agentprm.errors import InvalidFormat
from agentprm.testing.format import FormatContract
from agentprm.testing.trajectories import corridors, hostile
from agentprm.types import Action, Image, Observation

RUN = {
    "schema_version": "ATIF-v1.7", "session_id": "s", "trajectory_id": "outer",
    "agent": {"name": "terminus", "version": "2", "tool_definitions": [{"name": "run"}]},
    "steps": [
        {"step_id": 1, "source": "system", "message": "Be brief."},
        {"step_id": 2, "source": "user", "message": [{"type": "text", "text": "Do it."},
            {"type": "image", "source": {"media_type": "image/png", "path": "data:image/png;base64,AAEC"}}]},
        {"step_id": 3, "timestamp": "2026-01-01T00:00:01Z", "source": "agent", "model_name": "m", "message": "first",
         "reasoning_content": "hm", "tool_calls": [
             {"tool_call_id": "a", "function_name": "run", "arguments": {"x": 1}},
             {"tool_call_id": "b", "function_name": "ask", "arguments": {}}],
         "observation": {"results": [
             {"source_call_id": "b", "content": "asked", "subagent_trajectory_ref": [{"trajectory_id": "inner"}]},
             {"source_call_id": "a", "content": "ran"}, {"content": "a bell"}]},
         "metrics": {"prompt_tokens": 7, "completion_tokens": 3, "cost_usd": 0.1}},
        {"step_id": 4, "timestamp": "2026-01-01T00:00:09Z", "source": "agent", "message": "done",
         "is_copied_context": True},
    ],
    "subagent_trajectories": [
        {"schema_version": "ATIF-v1.7", "trajectory_id": "inner", "agent": {"name": "clerk", "version": "1"},
         "steps": [{"step_id": 1, "source": "user", "message": "sub?"},
                   {"step_id": 2, "source": "agent", "message": "yes"}]},
    ],
    "extra": {"theirs": 1},
}  # fmt: skip


class TestATIF(FormatContract):
    name = "atif"

    def make_records(self):
        return [RUN]


def reading(record):
    return list(formats.read(io.BytesIO(json.dumps(record).encode()), "atif"))


def writing(*items):
    file = io.BytesIO()
    formats.write(file, items, "atif")
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_steps_of_agents_are_steps():
    outer, _ = reading(RUN)
    first, second = outer.steps
    assert first.observation == Observation("Do it.", None, (Image("image/png", b"\x00\x01\x02"),))
    assert first.action.plan == "hm\nfirst"
    assert [(c.id, c.arguments, c.output) for c in first.action.tool_calls] == [
        ("a", {"x": 1}, "ran"),
        ("b", {}, "asked"),
    ]
    assert (first.info["model"], first.info["tokens"]) == ("m", {"input": 7, "output": 3})
    assert (second.observation.text, second.action, second.info["is_copied_context"]) == (
        "a bell",
        Action("done"),
        True,
    )
    assert (outer.policy, outer.external_id, outer.meta["system"]) == ("terminus", "outer", "Be brief.")
    assert outer.started_at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert outer.meta["atif"]["extra"] == {"theirs": 1}


def test_an_embedded_subagent_is_a_child_of_the_call_that_refers_to_it():
    outer, inner = reading(RUN)
    assert (inner.parent.trajectory_id, inner.parent.index, inner.parent.call) == (outer.id, 0, "b")
    assert inner.steps[0].action.text == "yes"


def test_what_was_foreign_keeps_what_it_had():
    (written, _) = writing(*reading(RUN))
    assert written["schema_version"] == "ATIF-v1.8"
    assert written["extra"]["theirs"] == 1
    assert (written["agent"], written["session_id"]) == (RUN["agent"], "s")
    assert written["steps"][2]["metrics"] == RUN["steps"][2]["metrics"]
    assert [s["source"] for s in written["steps"]] == ["system", "user", "agent", "user", "agent"]


def test_a_result_of_no_call_is_seen_and_answers_none():
    asked = {"tool_call_id": "a", "function_name": "run", "arguments": {}}
    step = {"step_id": 1, "source": "agent", "message": "", "tool_calls": [asked],
            "observation": {"results": [{"content": "a bell"}]}}  # fmt: skip
    (trajectory,) = reading(RUN | {"steps": [step], "subagent_trajectories": []})
    assert trajectory.steps[0].action.tool_calls[0].status == "pending"
    assert (trajectory.last.text, trajectory.ending.status) == ("a bell", "incomplete")


def test_another_version_is_refused():
    with pytest.raises(InvalidFormat, match=r"schema_version: expected ATIF-v1\.0 to ATIF-v1\.8, not 'ATIF-v2\.0'"):
        reading(RUN | {"schema_version": "ATIF-v2.0"})


def test_its_own_models_take_what_we_write():
    atif = pytest.importorskip("atif", reason="the package atif is not installed")
    for line in writing(*reading(RUN), *corridors(3), *hostile(), full()):
        atif.Trajectory.model_validate(line)
