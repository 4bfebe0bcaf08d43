"""Which messages of a run are turns: what the agent went on with, each once."""

import operator
from typing import Annotated, Any

import pytest

pytest.importorskip("langchain")

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_puppets import Puppet, ask, calc, call, calls_then, only, told
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from agentprm.record.langchain import LangChainRecorder


class BestOfThree(AgentMiddleware):
    def wrap_model_call(self, request, handler):
        answers = [handler(request) for _ in range(3)]
        return answers[1]


def test_the_losers_of_best_of_n_are_no_steps(run, events):
    n_asked = iter(range(100))

    def reply(messages):
        n = next(n_asked)
        return AIMessage(f"answer {n}") if n > 2 else AIMessage("", tool_calls=[call("calc", f"c{n}", x=n)])

    run(reply, [calc], middleware=[BestOfThree()])
    trajectory = only(events)
    assert told(trajectory) == [("c1", "ok", 1, "2")]
    assert trajectory.steps[1].action.text == "answer 4"
    assert [s.info["model_calls"] for s in trajectory.steps] == [3, 3]


class Changing(AgentMiddleware):
    def after_model(self, state, runtime):
        last = state["messages"][-1]
        if last.tool_calls:
            return {"messages": [AIMessage("", id=last.id, tool_calls=[call("calc", "c1", x=50)])]}
        return None


def test_a_decision_changed_before_it_was_carried_out_is_recorded_as_carried_out(run, events):
    run(calls_then("done", call("calc", "c1", x=1)), [calc], middleware=[Changing()])
    trajectory = only(events)
    assert [c.arguments for c in trajectory.steps[0].action.tool_calls] == [{"x": 50}]
    assert told(trajectory) == [("c1", "ok", 1, "100")]
    assert len(trajectory) == 2


class Stopping(AgentMiddleware):
    @hook_config(can_jump_to=["end"])
    def before_model(self, state, runtime):
        if len(state["messages"]) > 1:
            return {"jump_to": "end", "messages": [AIMessage("enough")]}
        return None


def test_an_early_stop_says_the_last_word(run, events):
    run(calls_then("done", call("calc", "c1", x=1)), [calc], middleware=[Stopping()])
    assert [s.action.text for s in only(events).steps] == ["", "enough"]


class Answer(BaseModel):
    """A number."""

    value: int


def test_a_structured_answer_is_a_call_that_went_well(run, events):
    run(calls_then("done", call("Answer", "s1", value=3)), [calc], response_format=ToolStrategy(Answer))
    ((call_id, status, attempts, _),) = told(only(events))
    assert (call_id, status, attempts) == ("s1", "ok", 1)


def test_call_ids_that_repeat_in_every_turn_are_told_apart(run, events):
    def reply(messages):
        n = sum(isinstance(m, ToolMessage) for m in messages)
        return AIMessage("done") if n == 3 else AIMessage("", tool_calls=[call("calc", "same", x=n)])

    run(reply, [calc])
    trajectory = only(events)
    assert [told(trajectory, i) for i in range(3)] == [[("same", "ok", 1, str(2 * n))] for n in range(3)]


def test_the_same_words_twice_are_two_turns(run, events):
    def reply(messages):
        n = sum(isinstance(m, ToolMessage) for m in messages)
        return AIMessage("on") if n == 2 else AIMessage("on", tool_calls=[call("calc", f"c{n}", x=1)])

    run(reply, [calc])
    assert len(only(events)) == 3


def test_earlier_turns_of_a_conversation_are_seen_and_not_taken_again(run, events):
    history = [
        HumanMessage("1?"),
        AIMessage("one", tool_calls=[call("calc", "c1", x=1)]),
        ToolMessage("2", tool_call_id="c1"),
    ]
    run(lambda m: AIMessage("two"), [calc], inputs={"messages": [*history, AIMessage("one"), HumanMessage("and 2?")]})
    trajectory = only(events)
    assert [s.action.text for s in trajectory.steps] == ["two"]
    assert trajectory.task.text == "and 2?"
    assert trajectory.steps[0].observation.text == "human: 1?\nai: one\ntool: 2\nai: one\nhuman: and 2?"


class Judging(AgentMiddleware):
    """Asks a second model before each turn and around each call."""

    judge = Puppet(reply=lambda messages: AIMessage("seems fine"))

    def before_model(self, state, runtime):
        self.judge.invoke("may it go on?")

    def wrap_tool_call(self, request, handler):
        self.judge.invoke("may it be called?")
        return handler(request)


def test_a_model_that_middleware_asks_is_no_turn(run, events):
    run(calls_then("done", call("calc", "c1", x=1)), [calc], middleware=[Judging()])
    trajectory = only(events)
    assert told(trajectory) == [("c1", "ok", 1, "2")]
    assert [s.action.text for s in trajectory.steps] == ["", "done"]


def test_turns_of_an_agent_elsewhere_are_taken_from_its_node(events):
    there = [AIMessage("", tool_calls=[call("far", "c", x=1)]), ToolMessage("2", tool_call_id="c")]
    again = [AIMessage("", tool_calls=[call("far", "c", x=2)]), ToolMessage("4", tool_call_id="c", status="error")]
    graph = StateGraph(MessagesState)
    graph.add_node("remote", lambda state: {"messages": [*there, *again, AIMessage("done")]})
    graph.add_edge(START, "remote")
    graph.compile().invoke(ask(), {"callbacks": [LangChainRecorder(events.append)]})
    trajectory = only(events)
    assert told(trajectory, 0) == [("c", "ok", 1, "2")]
    assert told(trajectory, 1) == [("c", "error", 1, "4")]
    assert trajectory.steps[2].action.text == "done"


def test_a_model_that_repeats_its_messages_ids_takes_a_turn_each_time(events):
    class State(TypedDict):
        messages: Annotated[list[Any], operator.add]

    model = Puppet(reply=lambda messages: AIMessage("again", id="cached"))
    graph = StateGraph(State)
    for name in "ab":
        graph.add_node(name, lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.compile().invoke({"messages": [HumanMessage("hi")]}, {"callbacks": [LangChainRecorder(events.append)]})
    assert [s.action.text for s in only(events).steps] == ["again", "again"]


def test_parallel_branches_take_their_turns_in_some_order_and_each_once(events):
    def branch(answer):
        model = Puppet(reply=lambda messages: AIMessage(answer))
        return lambda state: {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    for name in "abc":
        graph.add_node(name, branch(name))
    graph.add_edge(START, "a")
    graph.add_edge(START, "b")
    graph.add_edge(["a", "b"], "c")
    graph.compile().invoke(ask(), {"callbacks": [LangChainRecorder(events.append)]})
    texts = [s.action.text for s in only(events).steps]
    assert sorted(texts[:2]) == ["a", "b"]
    assert texts[2:] == ["c"]


ASKED = AIMessage("old", tool_calls=[call("calc", "c0", x=1)])


@pytest.mark.parametrize(
    "history",
    [
        [HumanMessage("hi")],
        [HumanMessage("hi"), ASKED, ToolMessage("2", tool_call_id="c0"), AIMessage("older"), HumanMessage("and?")],
        [HumanMessage("hi"), AIMessage("a prefix")],
    ],
)
def test_a_node_that_returns_the_whole_history_adds_only_what_is_new(history, events):
    class State(TypedDict):
        messages: list[Any]

    n = len(history)
    model = Puppet(reply=lambda messages: AIMessage(f"{len(messages) - n}"))

    def speak(state):
        return {"messages": [*state["messages"], model.invoke(state["messages"])]}

    graph = StateGraph(State)
    graph.add_node("first", speak)
    graph.add_node("second", speak)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.compile().invoke({"messages": history}, {"callbacks": [LangChainRecorder(events.append)]})
    assert [s.action.text for s in only(events).steps] == ["0", "1"]


def test_a_node_that_puts_out_no_messages_has_decided_what_its_model_said_last(events):
    class State(TypedDict):
        question: str
        route: str

    model = Puppet(reply=lambda messages: AIMessage("sales"))
    graph = StateGraph(State)
    graph.add_node("router", lambda state: {"route": model.invoke(state["question"]).text})
    graph.add_edge(START, "router")
    graph.compile().invoke({"question": "price?"}, {"callbacks": [LangChainRecorder(events.append)]})
    trajectory = only(events)
    assert (trajectory.task.text, [s.action.text for s in trajectory.steps]) == ("price?", ["sales"])
