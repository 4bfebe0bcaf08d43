"""Agents, tools and models inside each other, on their own, and in loops written by hand."""

import asyncio
import contextvars
import threading
from typing import Annotated

import pytest

pytest.importorskip("langchain")


from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from langchain_puppets import (
    Puppet,
    ask,
    boom,
    calc,
    call,
    calls_then,
    only,
    rebuilt,
    told,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from agentprm.types import Stepped


def n_steps(events):
    return sum(isinstance(e, Stepped) for e in events)


def nested(name):
    agent = create_agent(Puppet(reply=calls_then("inner done", call("calc", "d1", x=3))), [calc], name=name)

    @tool
    def delegate(question: str) -> str:
        """Ask another agent."""
        return agent.invoke(ask(question))["messages"][-1].text

    return delegate


@pytest.mark.parametrize("name", ["clerk", None, "boss"])
def test_an_agent_inside_a_tool_is_a_child_of_that_call(name, config, events):
    reply = calls_then("done", call("calc", "c1", x=1), call("delegate", "c2", question="sub?"))
    create_agent(Puppet(reply=reply), [calc, nested(name)], name="boss").invoke(ask(), config)
    outer, inner = rebuilt(events)
    assert told(outer) == [("c1", "ok", 1, "2"), ("c2", "ok", 1, "inner done")]
    assert (inner.parent.trajectory_id, inner.parent.index, inner.parent.call) == (outer.id, 0, "c2")
    assert told(inner) == [("d1", "ok", 1, "6")]
    assert (inner.task.text, inner.ending.status, len(inner), len(outer)) == ("sub?", "completed", 2, 2)
    assert inner.external_id != outer.external_id


def test_an_agent_inside_an_async_tool_is_a_child(config, events):
    agent = create_agent(Puppet(reply=calls_then("inner", call("calc", "d1", x=3))), [calc])

    @tool
    async def delegate(question: str) -> str:
        """Ask another agent."""
        return (await agent.ainvoke(ask(question)))["messages"][-1].text

    outer_agent = create_agent(Puppet(reply=calls_then("done", call("delegate", "c1", question="sub?"))), [delegate])
    asyncio.run(outer_agent.ainvoke(ask(), config))
    outer, inner = rebuilt(events)
    assert inner.parent.trajectory_id == outer.id
    assert inner.parent.call == "c1"


def test_agents_three_deep_know_their_parents(config, events):
    middle = create_agent(Puppet(reply=calls_then("mid", call("delegate", "m1", question="low?"))), [nested("low")])

    @tool
    def manage(question: str) -> str:
        """Ask the middle."""
        return middle.invoke(ask(question))["messages"][-1].text

    create_agent(Puppet(reply=calls_then("top", call("manage", "t1", question="mid?"))), [manage]).invoke(ask(), config)
    top, mid, low = rebuilt(events)
    assert [t.parent and (t.parent.trajectory_id, t.parent.call) for t in (top, mid, low)] == [
        None,
        (top.id, "t1"),
        (mid.id, "m1"),
    ]


def test_a_named_agent_as_a_node_is_a_child_without_a_call(config, events):
    worker = create_agent(Puppet(reply=calls_then("done", call("calc", "c1", x=1))), [calc], name="worker")
    graph = StateGraph(MessagesState)
    graph.add_node("worker", worker)
    graph.add_edge(START, "worker")
    graph.compile().invoke(ask(), config)
    outer, inner = rebuilt(events)
    assert (len(outer), len(inner)) == (0, 2)
    assert (inner.parent.trajectory_id, inner.parent.index, inner.parent.call) == (outer.id, 0, None)


def test_a_chain_around_one_agent_is_that_agent(config, events):
    agent = create_agent(Puppet(reply=calls_then("done", call("calc", "c1", x=1))), [calc], name="worker")
    (RunnableLambda(ask) | agent).invoke("what?", config)
    trajectory = only(events)
    assert (trajectory.task.text, len(trajectory)) == ("what?", 2)


def test_a_model_that_a_tool_asks_is_no_turn(config, events):
    @tool
    def summarise(text: str) -> str:
        """Ask a model, in a chain."""
        prompt = ChatPromptTemplate.from_template("{text}")
        return (prompt | Puppet(reply=lambda m: AIMessage("short")) | StrOutputParser()).invoke({"text": text})

    create_agent(Puppet(reply=calls_then("done", call("summarise", "c1", text="long"))), [summarise]).invoke(
        ask(), config
    )
    trajectory = only(events)
    assert told(trajectory) == [("c1", "ok", 1, "short")]
    assert len(trajectory) == 2


def test_a_bare_tool_is_one_step(config, events):
    calc.invoke({"x": 4}, config)
    calc.invoke(call("calc", "c9", x=5), config)
    plain, called = rebuilt(events)
    assert plain.task.text == 'calc({"x": 4})'
    assert told(plain) == [(None, "ok", 1, 8)]
    assert told(called) == [("c9", "ok", 1, "10")]
    assert {plain.ending.status, called.ending.status} == {"completed"}


def test_a_bare_tool_keeps_what_it_returns_as_it_was(config, events):
    kept = {"rows": [1, 2]}
    tool("lookup", description="look up")(lambda x: kept).invoke({"x": 1}, config)
    kept["rows"].append(3)
    tool("raw", description="bytes")(lambda x: b"\x00").invoke({"x": 1}, config)
    lookup, raw = rebuilt(events)
    assert told(lookup)[0][3] == {"rows": [1, 2]}
    assert told(raw)[0][3] == b"\x00"


def test_a_bare_tool_that_raises_failed(config, events):
    with pytest.raises(ValueError, match="boom"):
        boom.invoke({"x": 1}, config)
    assert only(events).ending.status == "failed"
    assert told(only(events)) == [(None, "error", 1, "ValueError: boom")]


def test_a_bare_chat_model_is_one_step(config, events):
    Puppet(reply=lambda m: AIMessage("Lima")).invoke("the capital of Peru?", config)
    trajectory = only(events)
    assert trajectory.task.text == "the capital of Peru?"
    assert [s.action.text for s in trajectory.steps] == ["Lima"]


def test_a_chain_without_a_graph_takes_a_turn_per_model_answer(config, events):
    model = Puppet(reply=lambda m: AIMessage(m[-1].text + "!"))
    chain = ChatPromptTemplate.from_template("{q}") | model | StrOutputParser() | model
    chain.invoke({"q": "hey"}, config)
    trajectory = only(events)
    assert trajectory.task.text == "hey"
    assert [s.action.text for s in trajectory.steps] == ["hey!", "hey!!"]


def test_a_loop_written_by_hand_records_calls_with_their_turns(config, events):
    model = Puppet(reply=calls_then("done", call("calc", "c1", x=1)))

    def loop(question):
        messages = [HumanMessage(question), model.invoke([HumanMessage(question)])]
        messages += [calc.invoke(c) for c in messages[-1].tool_calls]
        assert n_steps(events) == 1, "a turn goes out as soon as its calls have ended"
        return model.invoke(messages).text

    RunnableLambda(loop).invoke("hi", config)
    trajectory = only(events)
    assert told(trajectory) == [("c1", "ok", 1, "2")]
    assert [s.action.kind for s in trajectory.steps] == ["tool", "message"]


def test_a_loop_inside_one_node_records_calls_with_their_turns(config, events):
    model = Puppet(reply=calls_then("done", call("calc", "c1", x=1)))

    @task
    def think(messages):
        return model.invoke(messages)

    @entrypoint()
    def flow(question):
        messages = [HumanMessage(question), think([HumanMessage(question)]).result()]
        messages += [calc.invoke(c["args"]) and ToolMessage("2", tool_call_id=c["id"]) for c in messages[-1].tool_calls]
        return model.invoke(messages).text

    flow.invoke("hi", config)
    trajectory = only(events)
    assert told(trajectory) == [("c1", "ok", 1, 2)]
    assert trajectory.steps[1].action.text == "done"


def test_a_tool_run_in_the_node_that_its_model_spoke_in_begins_the_turn(config, events):
    model = Puppet(reply=calls_then("done", call("calc", "c1", x=1), words="let me see"))

    @entrypoint()
    def flow(question):
        messages = [HumanMessage(question), model.invoke(question)]
        messages += [calc.invoke(c) for c in messages[-1].tool_calls]
        return model.invoke(messages).text

    flow.invoke("hi", config)
    trajectory = only(events)
    assert told(trajectory) == [("c1", "ok", 1, "2")]
    assert [(s.action.plan, s.action.text) for s in trajectory.steps] == [("let me see", ""), ("", "done")]


def test_a_node_that_answers_no_call_ends_those_that_ran_in_it(config, events):
    model = Puppet(reply=lambda m: AIMessage("", tool_calls=[call("calc", "c1", x=1)]))
    seen = []
    graph = StateGraph(MessagesState)
    graph.add_node("think", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("act", lambda state: calc.invoke({"x": 1}) and {"messages": []})
    graph.add_node("look", lambda state: seen.append(n_steps(events)))
    for a, b in ((START, "think"), ("think", "act"), ("act", "look")):
        graph.add_edge(a, b)
    graph.compile().invoke(ask(), config)
    assert seen == [1]
    assert told(only(events)) == [("c1", "ok", 1, 2)]


def test_a_raw_thread_that_carries_the_context_is_inside(config, events):
    @tool
    def threaded(x: int) -> int:
        """Call another tool in a thread."""
        context, found = contextvars.copy_context(), []
        thread = threading.Thread(target=context.run, args=(lambda: found.append(calc.invoke({"x": x})),))
        thread.start()
        thread.join()
        return found[0]

    create_agent(Puppet(reply=calls_then("done", call("threaded", "c1", x=2))), [threaded]).invoke(ask(), config)
    assert told(only(events)) == [("c1", "ok", 1, "4")]
    assert len(only(events)) == 2


def test_a_tool_inside_a_tool_is_not_its_end(config, events):
    @tool
    def confirm(x: int) -> int:
        """Call another tool, then ask a person."""
        calc.invoke({"x": x})
        return interrupt("sure?")

    model = Puppet(reply=calls_then("done", call("confirm", "c1", x=2)))
    agent = create_agent(model, [confirm], checkpointer=InMemorySaver())
    agent.invoke(ask(), {**config, "configurable": {"thread_id": "T"}})
    assert told(only(events)) == [("c1", "pending", 1, None)]


def test_a_model_that_a_bare_tool_asks_is_no_turn(config, events):
    @tool
    def summarise(text: str) -> str:
        """Ask a model."""
        return Puppet(reply=lambda m: AIMessage("short")).invoke(text).text

    summarise.invoke({"text": "long"}, config)
    assert told(only(events)) == [(None, "ok", 1, "short")]
    assert len(only(events)) == 1


def test_a_handoff_to_another_agent_is_no_failure(config, events):
    @tool
    def to_bob(tool_call_id: Annotated[str, InjectedToolCallId]):
        """Hand over."""
        update = {"messages": [ToolMessage("transferred", tool_call_id=tool_call_id)]}
        return Command(goto="bob", graph=Command.PARENT, update=update)

    alice = create_agent(
        Puppet(reply=lambda m: AIMessage("", tool_calls=[call("to_bob", "c1")])), [to_bob], name="alice"
    )
    bob = create_agent(Puppet(reply=lambda m: AIMessage("bob here")), [calc], name="bob")
    graph = StateGraph(MessagesState)
    graph.add_node("alice", alice)
    graph.add_node("bob", bob)
    graph.add_edge(START, "alice")
    graph.compile().invoke(ask(), config)
    root, first, second = rebuilt(events)
    assert [t.ending.status for t in (root, first, second)] == ["completed"] * 3
    assert told(first) == [("c1", "ok", 1, "transferred")]
    assert (first.policy, second.policy, second.parent.trajectory_id) == ("alice", "bob", root.id)


def test_a_retriever_is_no_trajectory(config, events):
    class Library(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [Document(query)]

    Library().invoke("books", config)
    assert events == []


def test_a_text_model_is_recorded_too(config, events):
    FakeListLLM(responses=["Lima"]).invoke("Peru?", config)
    trajectory = only(events)
    assert (trajectory.task.text, trajectory.steps[0].action.text) == ("Peru?", "Lima")
