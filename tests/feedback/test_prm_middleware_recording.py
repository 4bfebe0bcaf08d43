"""What is recorded of an agent with the middleware: the turns that ran, with the scores of all candidates."""

import asyncio

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from sampler import ASK, Likes, Sampler, calc, call, offers

from agentprm import PRMCallbackHandler, PRMMiddleware, Store
from agentprm.feedback import recording


@pytest.fixture
def store():
    with Store(":memory:") as store:
        yield store


def agent(middleware, *numbers, tools=(calc,), **options):
    return create_agent(Sampler(offer=offers(*numbers)), list(tools), middleware=[middleware], **options)


def recorded(store):
    (trajectory,) = store.trajectories()
    return trajectory


def calls(trajectory):
    return [(c.arguments["x"], c.status, c.attempts) for s in trajectory.steps for c in s.action.tool_calls]


def test_only_the_turn_that_ran_is_a_step(store):
    agent(PRMMiddleware(Likes(), n=3), 1, 3, 2).invoke(ASK, {"callbacks": [PRMCallbackHandler(store)]})
    trajectory = recorded(store)
    assert [s.action.kind for s in trajectory.steps] == ["tool", "message"]
    assert calls(trajectory) == [(3, "ok", 1)]
    assert trajectory.steps[0].info["model_calls"] == 3
    assert trajectory.steps[0].info["prm"] == {
        "PRMMiddleware": {"decision": "taken", "extra_calls": 2, "score": 0.3, "candidates": [0.1, 0.3, 0.2]}
    }


def test_its_score_is_a_score_and_the_others_are_noted(store):
    agent(PRMMiddleware(Likes(), n=3), 1, 3, 2).invoke(ASK, {"callbacks": [PRMCallbackHandler(store)]})
    (scores,) = store.scores(recorded(store).id)
    assert (scores.source, scores.unit, scores.values) == (Likes.spec, "value", (0.3, 0.5))
    assert scores.notes == ("taken: best of 3 (0.1, 0.3, 0.2)", "taken: best of 3 (0.5, 0.5, 0.5)")


def test_a_handler_with_the_same_scorer_does_not_ask_it_again(store):
    scorer, told = Likes(), []
    handler = PRMCallbackHandler(store, scorer, on_score=told.append)
    agent(PRMMiddleware(scorer, n=2), 1, 3).invoke(ASK, {"callbacks": [handler]})
    handler.flush()
    assert len(scorer.shown) == 2
    assert [s.values for s in told] == [(0.3,), (0.5,)]
    assert [s.values for s in store.scores()] == [(0.3, 0.5)]


def test_a_handler_with_another_scorer_adds_its_own(store):
    handler = PRMCallbackHandler(store, "constant:value=0.25")
    agent(PRMMiddleware(Likes(), n=2), 1, 3).invoke(ASK, {"callbacks": [handler]})
    handler.flush()
    assert {s.source.name: s.values for s in store.scores()} == {"likes": (0.3, 0.5), "constant": (0.25, 0.25)}


def test_a_scorer_that_failed_leaves_no_score(store):
    agent(PRMMiddleware(Likes(fails=True), n=2), 1, 3).invoke(ASK, {"callbacks": [PRMCallbackHandler(store)]})
    assert calls(recorded(store)) == [(1, "ok", 1)]
    assert list(store.scores()) == []


def test_a_veto_is_a_step_whose_calls_were_rejected(store):
    rules = {"threshold": 0.3, "on_low": "veto"}
    agent(PRMMiddleware(Likes(), **rules), 1, 5).invoke(ASK, {"callbacks": [PRMCallbackHandler(store)]})
    trajectory = recorded(store)
    assert calls(trajectory) == [(1, "rejected", 0), (5, "ok", 1)]
    assert trajectory.steps[0].action.tool_calls[0].output == "Not executed: this turn was scored 0.1, below 0.3."
    assert [s.values for s in store.scores()] == [(0.1, 0.5, 0.5)]


def test_a_stop_is_the_last_message(store):
    rules = {"threshold": 0.3, "on_low": "stop"}
    agent(PRMMiddleware(Likes(), **rules), 1).invoke(ASK, {"callbacks": [PRMCallbackHandler(store)]})
    trajectory = recorded(store)
    assert calls(trajectory) == [(1, "rejected", 0)]
    assert trajectory.steps[1].action.text == "I stopped here: this turn was scored 0.1, below 0.3."
    assert trajectory.ending.status == "completed"


def test_a_run_that_waits_for_a_person_is_interrupted(store):
    guard = PRMMiddleware(Likes(), store, threshold=0.3, on_low="interrupt")
    graph = agent(guard, 1, 5, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "T"}}
    graph.invoke(ASK, thread)
    graph.invoke(Command(resume="too small"), thread)
    first, second = store.trajectories()
    assert [t.ending.status for t in (first, second)] == ["interrupted", "completed"]
    assert (calls(first), calls(second)) == ([(1, "pending", 0)], [(5, "ok", 1)])
    assert second.meta["tools"] == first.meta["tools"]


def test_a_resume_that_begins_with_tools_knows_the_prompt_of_what_it_resumes(store):
    guard = PRMMiddleware(Likes(), store, threshold=0.3, on_low="interrupt")
    graph = agent(guard, 1, checkpointer=InMemorySaver(), system_prompt="be brief")
    thread = {"configurable": {"thread_id": "T"}}
    graph.invoke(ASK, thread)
    graph.invoke(Command(resume=True), thread)
    _, second = store.trajectories()
    assert (second.meta["system"], calls(second)) == ("be brief", [(1, "ok", 1)])


def test_a_run_that_a_person_ends_is_recorded_too(store):
    guard = PRMMiddleware(Likes(), store, threshold=0.3, on_low="interrupt")
    graph = agent(guard, 1, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "T"}}
    graph.invoke(ASK, thread)
    graph.invoke(Command(resume="stop"), thread)
    _, second = store.trajectories()
    assert [s.action.text[:9] for s in second.steps] == ["I stopped"]


# --- a store of its own


RUNS = {
    "invoke": lambda a: a.invoke(ASK),
    "ainvoke": lambda a: asyncio.run(a.ainvoke(ASK)),
    "stream": lambda a: list(a.stream(ASK)),
    "batch": lambda a: a.batch([ASK]),
}


def facts(trajectory):
    steps = [(s.observation, s.action, {**s.info, "latency": 0}) for s in trajectory.steps]
    meta = {k: v for k, v in trajectory.meta.items() if k != "run_name"}
    return trajectory.task, steps, trajectory.ending.status, meta


@pytest.mark.parametrize("mode", RUNS)
def test_with_a_store_it_records_by_itself_what_a_handler_would(mode, store):
    RUNS[mode](agent(PRMMiddleware(Likes(), store, n=2), 1, 3))
    with Store(":memory:") as other:
        handler = PRMCallbackHandler(other)
        agent(PRMMiddleware(Likes(), n=2), 1, 3).invoke(ASK, {"callbacks": [handler]})
        assert facts(recorded(store)) == facts(recorded(other))
    assert [s.values for s in store.scores()] == [(0.3, 0.5)]


def test_a_run_that_fails_is_recorded_as_failed(store):
    @tool("calc")
    def boom(x: int) -> int:
        """Fail."""
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        agent(PRMMiddleware(Likes(), store), 1, tools=[boom]).invoke(ASK)
    assert recorded(store).ending.status == "failed"
    assert calls(recorded(store)) == [(1, "error", 1)]


def test_runs_of_other_agents_are_not_recorded(store):
    guarded = agent(PRMMiddleware(Likes(), store), 1)
    create_agent(Sampler(offer=offers(1)), [calc]).invoke(ASK)
    guarded.invoke(ASK)
    assert len(list(store.trajectories())) == 1
    assert recording.bystander().inflight == 0


def test_with_a_handler_on_the_same_store_a_run_is_recorded_once(tmp_path):
    with Store(tmp_path / "runs.db") as store, Store(tmp_path / "runs.db") as same:
        agent(PRMMiddleware(Likes(), store), 1).invoke(ASK, {"callbacks": [PRMCallbackHandler(same)]})
        assert len(list(store.trajectories())) == 1


def test_with_a_handler_on_the_very_store_a_run_is_recorded_once(store):
    agent(PRMMiddleware(Likes(), store), 1).invoke(ASK, {"callbacks": [PRMCallbackHandler(store)]})
    assert len(recorded(store)) == 2


def test_with_a_handler_on_another_store_each_records(store):
    with Store(":memory:") as other:
        agent(PRMMiddleware(Likes(), store), 1).invoke(ASK, {"callbacks": [PRMCallbackHandler(other)]})
        assert len(recorded(other)) == len(recorded(store)) == 2


def test_two_middlewares_of_one_store_record_once():
    class Events(list):
        write = list.append
        __eq__, __hash__ = object.__eq__, object.__hash__

    events = Events()
    both = [PRMMiddleware(Likes(), events, name="a"), PRMMiddleware(Likes(), events, name="b")]
    create_agent(Sampler(offer=offers(1)), [calc], middleware=both).invoke(ASK)
    assert [type(event).__name__ for event in events] == ["Began", "Stepped", "Stepped", "Ended"]


def test_an_agent_inside_another_brings_the_whole_run_in(store):
    inner = agent(PRMMiddleware(Likes(), store), 3)

    @tool
    def delegate(x: int) -> str:
        """Ask another agent."""
        return inner.invoke({"messages": [("user", f"double {x}")]})["messages"][-1].text

    def offer(messages, k):
        return AIMessage("ok") if len(messages) > 1 else AIMessage("", tool_calls=[call(5, "delegate")])

    create_agent(Sampler(offer=offer), [delegate]).invoke(ASK)
    outer, child = sorted(store.trajectories(), key=lambda t: t.parent is not None)
    assert (child.parent.trajectory_id, child.parent.call) == (outer.id, "delegate-5")
    assert [len(outer), len(child)] == [2, 2]


def test_a_store_that_is_closed_does_not_break_the_agent(caplog):
    store = Store(":memory:")
    guarded = agent(PRMMiddleware(Likes(), store), 1)
    store.close()
    assert guarded.invoke(ASK)["messages"][-1].text == "done"
    assert store.dropped == 2


def test_a_url_is_a_store(tmp_path):
    middleware = PRMMiddleware(Likes(), tmp_path / "runs.db")
    agent(middleware, 1).invoke(ASK)
    middleware.store.close()
    with Store(tmp_path / "runs.db") as store:
        assert calls(recorded(store)) == [(1, "ok", 1)]
