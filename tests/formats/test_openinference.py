"""Traces for collectors: the tree of spans, the names of the conventions; read by the real protocol."""

import base64
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from records import PLAIN

from agentprm import formats
from agentprm.errors import OneWayFormat
from agentprm.testing.trajectories import episode, hostile
from agentprm.types import Action, Ending, Fork, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory, new_id

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


def told():
    calls = (
        ToolCall("search", {"q": "Perú"}, "a", "Lima", "ok", 1),
        ToolCall("search", "{broken", "b", "no JSON", "error", 1),
        ToolCall("ask", {}, "c", None, "rejected", 0),
    )
    info = {"model": "gpt-x", "tokens": {"input": 10, "output": 5, "total": 15}}
    steps = (Step(Observation("The capital?"), Action(plan="hm", tool_calls=calls), info=info),
             Step(Observation(), Action("Lima")))  # fmt: skip
    ending = Ending("completed", outcome=1.0, ended_at=END)
    meta = {"system": "be brief", "tools": PLAIN["tools"], "thread_id": "T"}
    return Trajectory(
        new_id(), Task("The capital?"), steps, Observation(), ending, policy="boss", started_at=START, meta=meta
    )


def lines(*items):
    file = io.BytesIO()
    formats.write(file, items, "openinference")
    return [json.loads(line) for line in file.getvalue().splitlines()]


def spans(*items):
    return [s for line in lines(*items) for s in line["resourceSpans"][0]["scopeSpans"][0]["spans"]]


def about(span):
    return {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}


def test_an_agent_span_holds_a_span_per_step_and_per_call_that_ran():
    root, first, one, two, second = spans(told())
    assert [s["name"] for s in (root, first, one, two, second)] == [
        "invoke_agent boss", "chat", "execute_tool search", "execute_tool search", "chat",
    ]  # fmt: skip
    assert "parentSpanId" not in root
    assert {s["parentSpanId"] for s in (first, one, two, second)} == {root["spanId"]}
    assert len({s["spanId"] for s in (root, first, one, two, second)}) == 5
    assert [s["status"]["code"] for s in (root, one, two)] == [1, 1, 2]


def test_steps_share_out_the_time_of_their_episode():
    made = spans(told())
    keys = ("startTimeUnixNano", "endTimeUnixNano")
    seconds = [tuple(int(span[key]) / 1e9 - START.timestamp() for key in keys) for span in made]
    assert seconds == [(0, 10), (0, 2.5), (2.5, 5), (2.5, 5), (5, 7.5)]


def test_attributes_have_the_names_of_both_conventions():
    root, first, one, _, _ = map(about, spans(told()))
    assert (root["openinference.span.kind"], root["agent.name"], root["session.id"]) == ("AGENT", "boss", "T")
    assert (root["input.value"], root["output.value"]) == ("The capital?", "Lima")
    assert (root["gen_ai.operation.name"], first["gen_ai.operation.name"]) == ("invoke_agent", "chat")
    assert first["llm.input_messages.0.message.role"] == "system"
    assert first["llm.input_messages.1.message.content"] == "The capital?"
    assert first["llm.output_messages.0.message.content"] == "hm"
    assert first["llm.output_messages.0.message.tool_calls.1.tool_call.function.arguments"] == "{broken"
    assert json.loads(first["llm.tools.0.tool.json_schema"]) == PLAIN["tools"][0]
    assert (first["llm.model_name"], first["gen_ai.request.model"]) == ("gpt-x", "gpt-x")
    assert (first["llm.token_count.prompt"], first["gen_ai.usage.output_tokens"]) == ("10", "5")
    assert one["tool_call.function.arguments"] == one["gen_ai.tool.call.arguments"] == '{"q": "Perú"}'
    assert (one["gen_ai.tool.call.id"], one["gen_ai.tool.call.result"], one["tool.name"]) == ("a", "Lima", "search")


def test_a_score_is_an_annotation_and_an_event_of_its_step():
    trajectory = told()
    scores = Scores(trajectory.id, Spec("human", {"x": 1}), "correctness", (0.25,), 1, {"rating": (-1,)}, ("why",))
    judge = Scores(trajectory.id, Spec("judge"), "value", (None, 0.5))
    bench = Scores(trajectory.id, Spec("bench", {"by": "human"}), "correctness", (None, 0.5))
    root, *_, second = spans(trajectory, scores, judge, bench)
    noted = about(second)
    assert noted["annotations.0.annotation.name"] == "human"
    assert (noted["annotations.0.annotation.score"], noted["annotations.1.annotation.score"]) == (0.25, 0.5)
    assert noted["annotations.0.annotation.explanation"] == "why"
    kinds = [noted[f"annotations.{i}.annotation.annotator_kind"] for i in (0, 1, 2)]
    assert kinds == ["HUMAN", "CODE", "HUMAN"]
    assert json.loads(noted["annotations.0.annotation.metadata"])["parts"] == {"rating": -1.0}
    assert [event["name"] for event in second["events"]] == ["gen_ai.evaluation.result"] * 3
    assert about(second["events"][0]) == {
        "gen_ai.evaluation.name": "human",
        "gen_ai.evaluation.score.value": 0.25,
        "gen_ai.evaluation.explanation": "why",
    }
    assert about(root["events"][0]) == {"gen_ai.evaluation.name": "outcome", "gen_ai.evaluation.score.value": 1.0}


def test_an_agent_in_a_tool_is_in_the_trace_of_its_caller_below_the_call():
    outer = told()
    inner = replace(episode(("sub", "done")), parent=Fork(outer.id, 0, "a"))
    deeper = replace(episode(("sub", "done")), parent=Fork(inner.id, 0))
    made = spans(outer, inner, deeper)
    assert {s["traceId"] for s in made} == {outer.id.hex}
    by_name = {s["name"]: s for s in made[:5] if "execute" in s["name"]} | {"first": made[2]}
    assert made[5]["parentSpanId"] == by_name["first"]["spanId"]
    assert made[7]["parentSpanId"] == made[5]["spanId"]


def test_it_is_not_read():
    with pytest.raises(OneWayFormat, match="openinference is only written: to read, choose one of agentprocessbench, "):
        formats.read("x.jsonl", "openinference")


def test_the_real_protocol_takes_it():
    pytest.importorskip("opentelemetry.proto", reason="opentelemetry-proto is not installed")
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for line in lines(told(), *hostile()):
        for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            for key in {"traceId", "spanId", "parentSpanId"} & span.keys():  # OTLP says hex, protobuf's JSON base64
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
        assert ParseDict(line, ExportTraceServiceRequest()).resource_spans[0].scope_spans[0].spans
