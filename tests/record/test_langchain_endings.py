"""How a run stops: waiting for a person, abandoned, cancelled, failed, with children that come late."""

import asyncio
import gc
import threading

import pytest

pytest.importorskip("langchain")


from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_puppets import (
    Puppet,
    ask,
    boom,
    calc,
    call,
    calls_then,
    only,
    rebuilt,
    search,
    slow,
    told,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt


def test_an_interrupted_run_and_its_resume_are_two_roots_of_one_thread(config, events):
    @tool
    def confirm(question: str) -> str:
        """Ask a person."""
        return "the person said " + interrupt(question)

    reply = calls_then("done", call("confirm", "c1", question="sure?"), call("calc", "c2", x=1))
    agent = create_agent(Puppet(reply=reply), [confirm, calc], checkpointer=InMemorySaver())
    config = {**config, "configurable": {"thread_id": "T"}}
    agent.invoke(ask(), config)
    agent.invoke(Command(resume="yes"), config)
    first, second = rebuilt(events)
    assert first.ending.status == "interrupted"
    assert told(first) == [("c1", "pending", 1, None), ("c2", "ok", 1, "2")]
    assert second.ending.status == "completed"
    assert told(second) == [("c1", "ok", 1, "the person said yes")]
    assert second.steps[0].observation.text == "yes"
    assert [s.action.text for s in second.steps] == ["", "done"]
    assert first.meta["thread_id"] == second.meta["thread_id"] == "T"
    assert first.task == second.task


def test_a_stop_before_the_tools_is_an_interruption(config, events):
    model = Puppet(reply=calls_then("done", call("calc", "c1", x=1)))
    agent = create_agent(model, [calc], checkpointer=InMemorySaver(), interrupt_before=["tools"])
    config = {**config, "configurable": {"thread_id": "T"}}
    agent.invoke(ask(), config)
    agent.invoke(None, config)
    first, second = rebuilt(events)
    assert (first.ending.status, told(first)) == ("interrupted", [("c1", "pending", 0, None)])
    assert (second.ending.status, told(second)) == ("completed", [("c1", "ok", 1, "2")])


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        ({"type": "approve"}, ("c1", "ok", 1)),
        ({"type": "reject", "message": "no"}, ("c1", "rejected", 0)),
        ({"type": "edit", "edited_action": {"name": "calc", "args": {"x": 9}}}, ("c1", "ok", 1)),
    ],
)
def test_what_a_person_decides_about_a_call_is_recorded(decision, expected, config, events):
    agent = create_agent(
        Puppet(reply=calls_then("done", call("calc", "c1", x=1))),
        [calc],
        checkpointer=InMemorySaver(),
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"calc": True})],
    )
    config = {**config, "configurable": {"thread_id": "T"}}
    agent.invoke(ask(), config)
    agent.invoke(Command(resume={"decisions": [decision]}), config)
    first, second = rebuilt(events)
    assert first.ending.status == "interrupted"
    assert told(second)[0][:3] == expected
    assert len(second) == 2


def test_a_graph_that_ends_with_a_call_on_purpose_completed(config, events):
    model = Puppet(reply=lambda m: AIMessage("", tool_calls=[call("route", "c1", to="sales")]))
    graph = StateGraph(MessagesState)
    graph.add_node("route", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "route")
    graph.add_edge("route", END)
    graph.compile().invoke(ask(), config)
    assert only(events).ending.status == "completed"
    assert told(only(events)) == [("c1", "pending", 0, None)]


def test_an_abandoned_stream_is_aborted(config, events):
    agent = create_agent(Puppet(reply=calls_then("done", call("calc", "c1", x=1))), [calc])
    for _ in agent.stream(ask(), config):
        break
    gc.collect()
    assert only(events).ending.status == "aborted"


def test_an_abandoned_async_stream_is_aborted(config, events):
    agent = create_agent(Puppet(reply=calls_then("done", call("calc", "c1", x=1))), [calc])

    async def leave_early():
        async for _ in agent.astream(ask(), config):
            break

    asyncio.run(leave_early())
    assert only(events).ending.status == "aborted"


def test_a_cancelled_run_is_aborted_and_its_calls_pending(recorder, config, events):
    agent = create_agent(Puppet(reply=calls_then("done", call("slow", "c1", x=1))), [slow])

    async def cut_short():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agent.ainvoke(ask(), config), 0.1)
        assert recorder.inflight == 0
        await asyncio.sleep(0.3)

    asyncio.run(cut_short())
    assert only(events).ending.status == "aborted"
    assert told(only(events)) == [("c1", "pending", 1, None)]


def test_children_that_end_after_the_roots_error_change_nothing(recorder, config, events):
    agent = create_agent(
        Puppet(reply=calls_then("done", call("boom", "c1", x=1), call("search", "c2", query="a"))), [boom, search]
    )

    async def fail():
        with pytest.raises(ValueError, match="boom"):
            await agent.ainvoke(ask(), config)
        assert recorder.inflight == 0
        await asyncio.sleep(0.2)

    asyncio.run(fail())
    assert only(events).ending.status == "failed"
    assert told(only(events))[0] == ("c1", "error", 1, "ValueError: boom")
    assert told(only(events))[1][:2] in [("c2", "pending"), ("c2", "ok")]


def test_an_agent_started_by_a_late_child_is_not_taken_for_a_root(recorder, config, events):
    inner = create_agent(Puppet(reply=lambda m: AIMessage("late")), [])
    done = threading.Event()

    @tool
    def linger(x: int) -> str:
        """Go on in a thread, after everybody has left."""
        done.wait(1)
        return inner.invoke(ask())["messages"][-1].text

    agent = create_agent(
        Puppet(reply=calls_then("done", call("boom", "c1", x=1), call("linger", "c2", x=1))), [boom, linger]
    )

    async def fail():
        with pytest.raises(ValueError, match="boom"):
            await agent.ainvoke(ask(), config)
        done.set()
        await asyncio.sleep(0.3)

    asyncio.run(fail())
    assert only(events).ending.status == "failed"
    assert recorder.inflight == 0


def test_a_failing_model_fails_the_run(config, events):
    def reply(messages):
        raise ConnectionError("no route")

    with pytest.raises(ConnectionError):
        create_agent(Puppet(reply=reply), []).invoke(ask(), config)
    assert (only(events).ending.status, len(only(events))) == ("failed", 0)


def test_too_many_turns_fail_the_run(config, events):
    agent = create_agent(Puppet(reply=lambda m: AIMessage("", tool_calls=[call("calc", "c", x=1)])), [calc])
    with pytest.raises(GraphRecursionError):
        agent.invoke(ask(), {**config, "recursion_limit": 6})
    assert only(events).ending.status == "failed"
    assert len(only(events)) >= 2
