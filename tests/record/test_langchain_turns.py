"""What one turn of an agent becomes: calls in the model's order, with what came back."""

from typing import Any

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ToolRetryMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_puppets import Puppet, ask, boom, calc, call, calls_then, only, search, soft, told
from langgraph.types import Command

from agentprm.record._langchain_values import Shown
from agentprm.record.langchain import LangChainRecorder
from agentprm.types import Observation, Stepped


def test_parallel_calls_stand_in_the_models_order_although_they_end_in_another(run, events):
    run(
        calls_then("done", call("search", "c1", query="a"), call("calc", "c2", x=1), call("calc", "c3", x=2)),
        [search, calc],
    )
    trajectory = only(events)
    assert told(trajectory) == [("c1", "ok", 1, "found a"), ("c2", "ok", 1, "2"), ("c3", "ok", 1, "4")]
    assert [c.arguments for c in trajectory.steps[0].action.tool_calls] == [{"query": "a"}, {"x": 1}, {"x": 2}]
    assert [s.action.kind for s in trajectory.steps] == ["tool", "message"]
    assert trajectory.steps[1].action.text == "done"


def test_the_first_turn_sees_the_task_and_later_ones_nothing_beside_the_tool_outputs(run, events):
    run(calls_then("done", call("calc", "c1", x=1)), [calc], inputs=ask("double one"))
    trajectory = only(events)
    assert trajectory.task.text == "double one"
    assert trajectory.observations == (Observation("double one"), Observation(), Observation())


def test_a_turn_goes_out_when_its_last_call_has_ended(events):
    seen = []
    reply = calls_then("done", call("calc", "c1", x=1))

    def looking(messages):
        seen.append([type(e).__name__ for e in events])
        return reply(messages)

    create_agent(Puppet(reply=looking), [calc]).invoke(ask(), {"callbacks": [LangChainRecorder(events.append)]})
    assert seen == [["Began"], ["Began", "Stepped"]]
    assert [type(e).__name__ for e in events] == ["Began", "Stepped", "Stepped", "Ended"]


def test_words_before_the_calls_and_reasoning_are_the_plan(run, events):
    thinking = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I look it up"}]
    run(lambda m: AIMessage("7") if len(m) > 1 else AIMessage(thinking, tool_calls=[call("calc", "c1", x=1)]), [calc])
    first, last = only(events).steps
    assert (first.action.plan, first.action.text) == ("hm\nI look it up", "")
    assert (last.action.plan, last.action.text) == ("", "7")


def test_a_soft_failure_is_an_error(run, events):
    run(calls_then("done", call("soft", "c1", x=1)), [soft])
    assert told(only(events)) == [("c1", "error", 1, "no such number")]


def test_a_raising_tool_is_an_error_of_its_step_and_of_the_run(run, events):
    with pytest.raises(ValueError, match="boom"):
        run(calls_then("done", call("boom", "c1", x=1), call("calc", "c2", x=2)), [boom, calc])
    trajectory = only(events)
    assert told(trajectory) == [("c1", "error", 1, "ValueError: boom"), ("c2", "ok", 1, "4")]
    assert trajectory.ending.status == "failed"


def test_an_unknown_tool_is_rejected_and_its_answer_kept(run, events):
    run(calls_then("done", call("nope", "c1", x=1), call("calc", "c2", x=2)), [calc])
    (rejected, ok) = told(only(events))
    assert rejected[:3] == ("c1", "rejected", 0)
    assert "nope is not a valid tool" in rejected[3]
    assert ok == ("c2", "ok", 1, "4")


def test_bad_arguments_are_an_error_of_the_call(run, events):
    run(calls_then("done", call("calc", "c1", x="many")), [calc])
    ((_, status, attempts, output),) = told(only(events))
    assert (status, attempts) == ("error", 1)
    assert "valid integer" in output


class Veto(AgentMiddleware):
    def wrap_tool_call(self, request, handler):
        if request.tool_call["name"] == "calc":
            return ToolMessage("not today", tool_call_id=request.tool_call["id"])
        return handler(request)


def test_a_vetoed_call_is_rejected(run, events):
    run(
        calls_then("done", call("calc", "c1", x=1), call("search", "c2", query="a")),
        [calc, search],
        middleware=[Veto()],
    )
    assert told(only(events)) == [("c1", "rejected", 0, "not today"), ("c2", "ok", 1, "found a")]


def test_retries_are_attempts_of_one_call(run, events):
    n_left = [2]

    @tool
    def flaky(x: int) -> int:
        """Work the third time."""
        n_left[0] -= 1
        if n_left[0] >= 0:
            raise ValueError("not yet")
        return x

    retry = ToolRetryMiddleware(initial_delay=0, backoff_factor=0, jitter=False)
    run(calls_then("done", call("flaky", "c1", x=7)), [flaky], middleware=[retry])
    assert told(only(events)) == [("c1", "ok", 3, "7")]


def test_retries_in_vain_are_an_error(run, events):
    retry = ToolRetryMiddleware(max_retries=1, initial_delay=0, backoff_factor=0, jitter=False)
    run(calls_then("done", call("boom", "c1", x=7)), [boom], middleware=[retry])
    ((_, status, attempts, _),) = told(only(events))
    assert (status, attempts) == ("error", 2)


class Live:
    def __repr__(self):
        return "<a socket>"


BIG = "x" * 10_000_000


@tool
def odd(kind: str):
    """Return something that is no text."""
    blocks = [{"type": "text", "text": "look"}, {"type": "image", "base64": "AAAA", "mime_type": "image/png"}]
    return {"bytes": b"\x00\xff", "object": Live(), "big": BIG, "dict": {"a": [1, None]}, "blocks": blocks}[kind]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bytes", "b'\\x00\\xff'"),
        ("object", "<a socket>"),
        ("big", BIG),
        ("dict", '{"a": [1, null]}'),
        (
            "blocks",
            [{"type": "text", "text": "look"}, {"type": "image", "base64": "AAAA", "mime_type": "image/png"}],
        ),
    ],
)
def test_outputs_of_any_kind_are_kept_as_the_model_reads_them(run, events, kind, expected):
    run(calls_then("done", call("odd", "c1", kind=kind)), [odd])
    ((_, status, _, output),) = told(only(events))
    assert status == "ok"
    assert output == expected


@tool
def remember(x: int):
    """Update the state directly."""
    return Command(update={"messages": [ToolMessage("noted", tool_call_id="c1")]})


def test_a_tool_that_returns_a_command_is_answered_by_its_message(run, events):
    run(calls_then("done", call("remember", "c1", x=1)), [remember])
    assert told(only(events)) == [("c1", "ok", 1, "noted")]


def test_arguments_that_are_no_json_are_a_rejected_call(run, events):
    broken = [{"name": "calc", "args": '{"x": ', "id": "c1", "error": "no JSON", "type": "invalid_tool_call"}]
    run(lambda messages: AIMessage("", invalid_tool_calls=broken), [calc])
    trajectory = only(events)
    assert told(trajectory) == [("c1", "rejected", 0, "no JSON")]
    assert trajectory.steps[0].action.tool_calls[0].arguments == '{"x": '


def test_a_call_that_cannot_run_does_not_hold_up_its_turn(events):
    broken = [{"name": "calc", "args": '{"x": ', "id": "c1", "error": "no JSON", "type": "invalid_tool_call"}]
    n_sent = []

    def reply(messages):
        n_sent.append(sum(isinstance(e, Stepped) for e in events))
        if len(messages) > 1:
            return AIMessage("done")
        return AIMessage("", tool_calls=[call("calc", "c2", x=1)], invalid_tool_calls=broken)

    create_agent(Puppet(reply=reply), [calc]).invoke(ask(), {"callbacks": [LangChainRecorder(events.append)]})
    assert n_sent == [0, 1]
    assert told(only(events)) == [("c2", "ok", 1, "2"), ("c1", "rejected", 0, "no JSON")]


def test_arguments_are_copied_before_a_tool_can_change_them(run, events):
    @tool
    def wreck(items: list[int]) -> int:
        """Empty a list."""
        items.clear()
        return 0

    run(calls_then("done", call("wreck", "c1", items=[1, 2])), [wreck])
    assert only(events).steps[0].action.tool_calls[0].arguments == {"items": [1, 2]}


def test_a_step_knows_its_model_tokens_and_latency(run, events):
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    run(lambda m: AIMessage("hi", usage_metadata=usage, response_metadata={"model_name": "m-1"}), [])
    info = only(events).steps[0].info
    assert info["tokens"] == {"input": 3, "output": 4, "total": 7}
    assert info["model"] == "m-1"
    assert 0 <= info["latency"] < 60


def test_pictures_of_a_task_are_kept(run, events):
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image", "base64": "AAEC", "mime_type": "image/jpeg"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AwQ="}},
    ]
    run(lambda m: AIMessage("noise"), [], inputs={"messages": [HumanMessage(content)]})
    first = only(events).steps[0].observation
    assert first.text == "what is this?"
    assert [(i.media_type, i.data) for i in first.images] == [("image/jpeg", b"\0\1\2"), ("image/png", b"\3\4")]


def test_arguments_that_are_no_json_values_are_kept(events):
    @tool
    def take(data: Any) -> int:
        """Take anything."""
        return 1

    take.invoke({"data": [b"\x00", Live(), float("nan")]}, {"callbacks": [LangChainRecorder(events.append)]})
    blob, live, number = only(events).steps[0].action.tool_calls[0].arguments["data"]
    assert (blob, live) == (b"\x00", Shown("<a socket>"))
    assert number != number


def test_each_step_is_sent_once(run, events):
    run(calls_then("done", *(call("calc", f"c{i}", x=i) for i in range(5))), [calc])
    assert sum(isinstance(e, Stepped) for e in events) == 2
