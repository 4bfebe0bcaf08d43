"""LangSmith's traces, made by its own tracer: what is imported is what our recorder saw in the same run."""

import io
import json
from contextlib import suppress
from types import SimpleNamespace

import pytest

pytest.importorskip("langchain")
pytest.importorskip("langsmith")

from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.tracers import LangChainTracer
from langchain_puppets import Puppet, ask, boom, calc, call, calls_then, rebuilt, search, soft, timeless
from langsmith import Client
from test_langchain_nested import nested

from agentprm import formats
from agentprm.errors import InvalidFormat
from agentprm.record.langchain import LangChainRecorder
from agentprm.types import Scores, Trajectory


@pytest.fixture
def traced(service):
    """Run something with both; return what the service got and what our recorder saw."""

    def run(runnable, inputs, **config):
        events = []
        url = f"http://127.0.0.1:{service.server_port}"
        client = Client(api_url=url, api_key="none", auto_batch_tracing=False)
        watched = {"callbacks": [LangChainTracer(client=client), LangChainRecorder(events.append)], **config}
        with suppress(ValueError):
            runnable.invoke(inputs, watched)
        client.cleanup()
        return SimpleNamespace(runs=list(service.runs.values()), seen=rebuilt(events))

    return run


def reading(*records, form="langsmith"):
    lines = "\n".join(json.dumps(record) for record in records)
    return list(formats.read(io.BytesIO(lines.encode()), form))


def trajectories(items):
    return [item for item in items if isinstance(item, Trajectory)]


def agent():
    asked = (call("calc", "c1", x=1), call("delegate", "c2", question="sub?"), call("soft", "c3", x=1))
    reply = calls_then("done", *asked, words="let me see")
    return create_agent(Puppet(reply=reply), [calc, nested("clerk"), soft], name="boss", system_prompt="be brief")


def failing():
    return create_agent(Puppet(reply=calls_then("done", call("boom", "c1", x=1))), [boom])


def asking_for_nothing_there():
    return create_agent(
        Puppet(reply=calls_then("done", call("nothing", "c1"), call("search", "c2", query="q"))), [search]
    )


AGENTS = {
    "parallel calls, an agent in a tool, a polite error": (agent, ask("what is it?")),
    "a tool that raises": (failing, ask()),
    "a tool that is not there": (asking_for_nothing_there, ask()),
    "a chat model alone": (lambda: FakeListChatModel(responses=["Lima"]), "The capital of Peru?"),
    "a text model alone": (lambda: FakeListLLM(responses=["Lima"]), "The capital of Peru?"),
    "a tool alone": (lambda: calc, {"x": 4}),
}


@pytest.mark.parametrize("name", AGENTS)
def test_what_is_imported_is_what_was_recorded(traced, name):
    make, inputs = AGENTS[name]
    got = traced(make(), inputs, metadata={"task_id": "t1"}, tags=["night"])
    made = trajectories(reading(*got.runs))
    assert len(made) == len(got.seen) >= 1
    for theirs, ours in zip(made, got.seen, strict=True):
        assert timeless(theirs) == timeless(ours)
        for field in ("task", "last", "external_id", "policy", "meta"):
            assert getattr(theirs, field) == getattr(ours, field), field
        assert theirs.ending.status == ours.ending.status
        assert (theirs.parent is None) == (ours.parent is None)
        if ours.parent:
            assert (theirs.parent.index, theirs.parent.call) == (ours.parent.index, ours.parent.call)
            assert theirs.parent.trajectory_id == made[0].id


def test_the_order_of_runs_in_a_file_and_trees_change_nothing(traced):
    runs = traced(agent(), ask()).runs
    made = reading(*runs)
    assert reading(*runs[::-1]) == made
    assert reading(*sorted(runs, key=lambda run: run["id"], reverse=True)) == made
    assert reading(tree(runs)) == made


def tree(runs):
    """The same runs, each inside of its parent, without the keys that say so."""
    by_id = {run["id"]: {k: v for k, v in run.items() if k not in ("parent_run_id",)} for run in runs}
    root = None
    for run in runs:
        if parent := run.get("parent_run_id"):
            by_id[parent].setdefault("child_runs", []).append(by_id[run["id"]])
        else:
            root = by_id[run["id"]]
    return root


def test_times_are_those_of_the_runs(traced):
    runs = traced(agent(), ask()).runs
    (root,) = (run for run in runs if not run.get("parent_run_id"))
    first = reading(*runs)[0]
    assert first.started_at.isoformat() == root["start_time"]
    assert first.ending.ended_at.isoformat() == root["end_time"]


def test_feedback_is_scores_of_the_step_that_its_run_belongs_to(traced):
    runs = traced(agent(), ask()).runs
    models = sorted((r for r in runs if r["run_type"] == "llm"), key=lambda r: r["dotted_order"])
    tools = {r["extra"]["tool_call_id"]: r["id"] for r in runs if r["run_type"] == "tool"}
    (root,) = (run for run in runs if not run.get("parent_run_id"))
    feedback = [
        {"run_id": models[0]["id"], "key": "helpful", "score": 0.25, "comment": "slow"},
        {"run_id": models[-1]["id"], "key": "helpful", "score": True},
        {"run_id": tools["d1"], "key": "exact", "score": 3, "value": "very"},
        {"run_id": root["id"], "key": "won", "score": 0.75},
        {"run_id": root["id"], "key": "tone", "score": None, "value": "polite"},
    ]
    items = reading(*runs, *feedback)
    outer, inner = trajectories(items)
    assert (outer.outcome, [f["key"] for f in outer.meta["feedback"]]) == (0.75, ["won", "tone"])
    helpful, exact = (item for item in items if isinstance(item, Scores))
    assert (helpful.trajectory_id, helpful.values, helpful.notes) == (outer.id, (0.25, 1.0), ("slow", None))
    assert (exact.trajectory_id, exact.values, exact.notes) == (inner.id, (3.0, None), ("very", None))
    assert (helpful.unit, helpful.source.params["key"]) == ("reward", "helpful")
    for item in feedback:
        next(run for run in runs if run["id"] == item["run_id"]).setdefault("feedback", []).append(item)
    assert reading(*runs) == items, "feedback inside of its run is the same"
    named = reading(*runs, form="langsmith:outcome=won,unit=correctness")
    assert (named[0].outcome, {s.unit for s in named if isinstance(s, Scores)}) == (0.75, {"correctness"})


def test_a_trace_that_stops_is_kept_without_an_ending(traced):
    runs = traced(agent(), ask()).runs
    last = max((r for r in runs if r["run_type"] == "llm"), key=lambda r: r["dotted_order"])
    for run in runs:
        if not run.get("parent_run_id") or run["id"] in (last["id"], last["parent_run_id"]):
            run.pop("end_time")
            run.pop("outputs")
    outer, inner = trajectories(reading(*runs))
    assert (len(outer), outer.ending) == (1, None)
    assert len(inner) == 2


def test_openais_own_form_of_messages_is_read():
    tool = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    asked = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1 + 1?"}]}
    said = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [tool]}}]}
    runs = [
        run(1, None, "chain", 0, 9, {"question": "1 + 1?"}, {"output": "2"}),
        run(2, 1, "llm", 1, 2, asked, said),
        run(3, 1, "tool", 3, 4, {"a": 1}, {"output": "2"}, name="add", extra={"tool_call_id": "c1"}),
        run(4, 1, "llm", 5, 6, asked, {"role": "assistant", "content": "2"}),
    ]
    (made,) = reading(*runs)
    first, second = made.steps
    (asked_for,) = first.action.tool_calls
    assert (asked_for.name, asked_for.arguments, asked_for.output) == ("add", {"a": 1}, "2")
    assert (second.action.text, made.task.text) == ("2", "1 + 1?")


def test_clocks_may_be_as_coarse_as_they_like(traced):
    runs = traced(agent(), ask()).runs
    fine = trajectories(reading(*runs))
    for one in runs:
        one["start_time"] = one["end_time"] = "2026-01-01T00:00:00"
    coarse = trajectories(reading(*runs))
    assert [t.steps for t in coarse] == [t.steps for t in fine]


def run(number, parent, kind, start, end, inputs, outputs, **more):
    key = "00000000-0000-0000-0000-{:012d}".format
    return {
        "id": key(number), "parent_run_id": parent and key(parent), "run_type": kind, "name": kind, "inputs": inputs,
        "outputs": outputs, "start_time": f"2026-01-01T00:00:{start:02d}", "end_time": f"2026-01-01T00:00:{end:02d}",
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"}, {"run_type": 7}, {"start_time": "noon"}, {"inputs": {"messages": 7}}, {"inputs": "words"},
        {"outputs": {"generations": [[{"message": {"type": "ai", "content": 7}}]]}}, {"outputs": []},
        {"parent_run_id": "x"}, {"extra": 7}, {"extra": {"metadata": 7}}, {"tags": 7}, {"child_runs": 7},
        {"outputs": {"generations": 7}}, {"inputs": {"messages": [[{"type": "human"}]]}}, {"feedback": [{}]},
        {"id": "00000000-0000-0000-0000-000000000001"},
        {"parent_run_id": "00000000-0000-0000-0000-000000000002"}, {"error": "Odd(("}, {"error": {"a": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name_or_read(change):
    good = run(
        2, 1, "llm", 1, 2, {"messages": [{"role": "user", "content": "hi"}]}, {"content": "x", "role": "assistant"}
    )
    try:
        reading(run(1, None, "chain", 0, 9, {}, {}), good | change)
    except InvalidFormat as error:
        assert error.line  # noqa: PT017


def test_an_error_is_known_by_its_name(traced):
    runs = [run(1, None, "chain", 0, 9, {"input": "x"}, None, error="CancelledError()"),
            run(2, 1, "llm", 1, 2, {"prompts": ["hi"]}, {"generations": [[{"text": "ho"}]]})]  # fmt: skip
    assert reading(*runs)[0].ending.status == "aborted"
    runs[0]["error"] = "GraphInterrupt((Interrupt(value='ok?'),))Traceback (most recent call last):\n x"
    assert reading(*runs)[0].ending.status == "interrupted"
    runs[0]["error"] = "KeyError('x')"
    assert reading(*runs)[0].ending.status == "failed"


def test_a_trace_is_guessed_and_a_wrong_run_is_left_out(traced, tmp_path):
    path, told = tmp_path / "trace.json", []
    runs = traced(agent(), ask()).runs
    path.write_text(json.dumps(runs, indent=1))
    assert formats.guess(path) == "langsmith"
    assert list(formats.read(path)) == reading(*runs)
    path.write_text(json.dumps([{"run_type": 7}, *runs]))
    assert list(formats.read(path, "langsmith", on_bad=told.append)) == reading(*runs)
    assert len(told) == 1
