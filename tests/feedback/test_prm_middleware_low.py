"""A turn below the threshold: tried again, vetoed, stopped, put to a person, or given to a stronger model."""

import asyncio

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel
from sampler import ASK, Likes, Sampler, calc, call, noted, offers, said

from agentprm import PRMMiddleware

RUN = {"sync": lambda a, x, c=None: a.invoke(x, c), "async": lambda a, x, c=None: asyncio.run(a.ainvoke(x, c))}


class City(BaseModel):
    name: str


@pytest.fixture(params=RUN)
def run(request):
    return RUN[request.param]


def guarded(numbers, model=None, tools=(calc,), checkpointer=None, **rules):
    middleware = PRMMiddleware(Likes(), threshold=rules.pop("threshold", 0.3), **rules)
    model = model or Sampler(offer=offers(*numbers))
    return model, create_agent(model, list(tools), middleware=[middleware], checkpointer=checkpointer)


def decisions(result):
    return [
        noted(m)["decision"] for m in result["messages"] if isinstance(m, AIMessage) and "prm" in m.response_metadata
    ]


# --- retry


def test_a_low_turn_is_tried_again(run):
    model, agent = guarded([1, 2, 5])
    result = run(agent, ASK)
    assert said(result)[1:] == ["ai: calc(5)", "tool: 10", "ai: done"]
    assert noted(result["messages"][1]) == {
        "decision": "retried",
        "extra_calls": 2,
        "score": 0.5,
        "candidates": [0.1, 0.2, 0.5],
        "scorer": {"name": "likes", "params": {}},
        "unit": "value",
    }
    assert model.n_asked == 4


def test_a_turn_that_stays_low_ends_the_run(run):
    model, agent = guarded([1, 2], retries=3)
    result = run(agent, ASK)
    assert said(result)[1:] == [
        "ai: calc(2)",
        "tool: Not executed: this turn was scored 0.2, below 0.3.",
        "ai: I stopped here: this turn was scored 0.2, below 0.3.",
    ]
    assert (model.n_asked, decisions(result)) == (4, ["stopped"])


def test_a_retry_asks_for_n_candidates_each_time(run):
    model, agent = guarded([1, 1, 1, 5], n=2)
    assert noted(run(agent, ASK)["messages"][1])["candidates"] == [0.1, 0.1, 0.1, 0.5]
    assert model.n_asked == 4 + 2


def test_at_the_threshold_is_not_below_it(run):
    _, agent = guarded([3], on_low="stop")
    assert decisions(run(agent, ASK)) == ["taken", "taken"]


def test_a_low_answer_is_tried_again_and_then_given_as_it_is(run):
    model, agent = guarded([7], threshold=0.6, retries=1)
    result = run(agent, ASK)
    assert said(result)[-1] == "ai: done"
    assert decisions(result) == ["taken", "retried"]
    assert noted(result["messages"][-1])["candidates"] == [0.5, 0.5]
    assert model.n_asked == 3


# --- veto


def test_a_veto_tells_the_model_why(run):
    _, agent = guarded([1, 5], on_low="veto")
    result = run(agent, ASK)
    assert said(result)[1:] == [
        "ai: calc(1)",
        "tool: Not executed: this turn was scored 0.1, below 0.3.",
        "ai: calc(5)",
        "tool: 10",
        "ai: done",
    ]
    assert result["messages"][2].status == "error"
    assert decisions(result) == ["vetoed", "taken", "taken"]


def test_vetoes_in_a_row_are_bounded(run):
    model, agent = guarded([1], on_low="veto", retries=2)
    result = run(agent, ASK)
    assert decisions(result) == ["vetoed", "vetoed", "stopped"]
    assert model.n_asked == 3
    assert said(result)[-1].startswith("ai: I stopped here")


def test_a_turn_between_starts_the_count_of_vetoes_anew(run):
    def offer(messages, k):
        n = sum(isinstance(m, ToolMessage) for m in messages)
        return AIMessage("", tool_calls=[call((1, 9, 1, 9)[n])]) if n < 4 else AIMessage("done")

    _, agent = guarded([], model=Sampler(offer=offer), on_low="veto", retries=1)
    assert decisions(run(agent, ASK)) == ["vetoed", "taken", "vetoed", "taken", "taken"]


# --- stop


def test_a_stop_answers_every_call(run):
    def offer(messages, k):
        return AIMessage("", tool_calls=[call(1, call_id="a"), call(2, call_id="b"), call(2, call_id="c")])

    ran = []

    @tool("calc")
    def noting(x: int) -> int:
        """Note that it ran."""
        ran.append(x)
        return x

    model, agent = guarded([], model=Sampler(offer=offer), tools=[noting], on_low="stop")
    result = run(agent, ASK)
    assert [m.tool_call_id for m in result["messages"] if isinstance(m, ToolMessage)] == ["a", "b", "c"]
    assert isinstance(result["messages"][-1], AIMessage)
    assert not result["messages"][-1].tool_calls
    assert (ran, model.n_asked) == ([], 1)


# --- interrupt


def paused(run, numbers=(1, 5), **options):
    model, agent = guarded(numbers, on_low="interrupt", checkpointer=InMemorySaver(), **options)
    thread = {"configurable": {"thread_id": "T"}}
    return model, agent, thread, run(agent, ASK, thread)


def test_a_person_is_asked_about_a_low_turn(run):
    _, _, _, result = paused(run)
    (asked,) = result["__interrupt__"]
    assert asked.value == {
        "type": "prm_low_score",
        "score": 0.1,
        "threshold": 0.3,
        "tool_calls": [{"name": "calc", "args": {"x": 1}, "id": "calc-1"}],
        "decisions": ["approve", "reject", "stop"],
    }


@pytest.mark.parametrize("answer", [True, "approve", {"type": "approve"}], ids=["true", "word", "dict"])
def test_what_is_approved_runs_and_the_model_is_not_asked_again(run, answer):
    model, agent, thread, _ = paused(run)
    assert model.n_asked == 1
    result = run(agent, Command(resume=answer), thread)
    assert said(result)[1:] == ["ai: calc(1)", "tool: 2", "ai: done"]
    assert model.n_asked == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (False, "a person refused"),
        ("reject", "a person refused"),
        ("too dear", "too dear"),
        ({"type": "reject", "message": "too dear"}, "too dear"),
        ({"type": "aprove"}, "aprove"),
    ],
    ids=["false", "word", "words", "dict", "typo"],
)
def test_whatever_is_no_approval_is_told_to_the_model(run, answer, words):
    _, agent, thread, _ = paused(run)
    result = run(agent, Command(resume=answer), thread)
    assert said(result)[2:] == [f"tool: Not executed: {words}.", "ai: calc(5)", "tool: 10", "ai: done"]


def test_a_person_may_end_the_run(run):
    model, agent, thread, _ = paused(run)
    result = run(agent, Command(resume={"type": "stop", "message": "enough"}), thread)
    assert said(result)[2:] == ["tool: Not executed: enough.", "ai: I stopped here: enough."]
    assert model.n_asked == 1


def test_nobody_is_asked_about_a_good_turn(run):
    _, _, _, result = paused(run, numbers=(5,))
    assert said(result)[1:] == ["ai: calc(5)", "tool: 10", "ai: done"]


def test_a_subclass_asks_too(run):
    class Mine(PRMMiddleware):
        pass

    guard = Mine(Likes(), threshold=0.3, on_low="interrupt")
    agent = create_agent(Sampler(offer=offers(1)), [calc], middleware=[guard], checkpointer=InMemorySaver())
    assert "__interrupt__" in run(agent, ASK, {"configurable": {"thread_id": "T"}})
    assert isinstance(guard, Mine)


def test_a_call_that_is_answered_already_is_not_asked_about(run):
    def offer(messages, k):
        city = {"name": "City", "args": {"name": "Lima", "x": 1}, "id": "s", "type": "tool_call"}
        return AIMessage("", tool_calls=[city, call(1)])

    guard = PRMMiddleware(Likes(), threshold=0.3, on_low="interrupt")
    agent = create_agent(
        Sampler(offer=offer),
        [calc],
        middleware=[guard],
        checkpointer=InMemorySaver(),
        response_format=ToolStrategy(City),
    )
    thread = {"configurable": {"thread_id": "T"}}
    asked = run(agent, ASK, thread)["__interrupt__"][0].value
    assert [c["id"] for c in asked["tool_calls"]] == ["calc-1"]
    result = run(agent, Command(resume="stop"), thread)
    assert [m.tool_call_id for m in result["messages"] if isinstance(m, ToolMessage)] == ["s", "calc-1"]


def test_only_where_a_person_is_to_be_asked_the_graph_has_a_node_more():
    nodes = {rule: set(guarded([1], on_low=rule)[1].nodes) for rule in ("retry", "interrupt")}
    assert nodes["interrupt"] - nodes["retry"] == {"PRMMiddleware.after_model"}
    assert nodes["retry"] == {"__start__", "model", "tools"}


# --- escalate


def test_a_low_turn_is_given_to_the_stronger_model(run):
    strong = Sampler(offer=offers(8))
    _, agent = guarded([1], on_low="escalate", stronger=strong)
    result = run(agent, ASK)
    assert said(result)[1:] == ["ai: calc(8)", "tool: 16", "ai: done"]
    assert decisions(result) == ["escalated", "taken"]
    assert strong.n_asked == 1


def test_the_better_of_both_is_taken_even_if_it_is_low(run):
    _, agent = guarded([2], on_low="escalate", stronger=Sampler(offer=offers(1)))
    assert said(run(agent, ASK))[1:] == ["ai: calc(2)", "tool: 4", "ai: done"]


def test_without_budget_nobody_stronger_is_asked(run):
    strong = Sampler(offer=offers(8))
    _, agent = guarded([1], on_low="escalate", stronger=strong, budget=0)
    assert said(run(agent, ASK))[1:] == ["ai: calc(1)", "tool: 2", "ai: done"]
    assert strong.n_asked == 0


def test_a_stronger_model_that_fails_changes_nothing(run):
    def offer(messages, k):
        raise ConnectionError

    _, agent = guarded([1], on_low="escalate", stronger=Sampler(offer=offer))
    assert said(run(agent, ASK))[1:] == ["ai: calc(1)", "tool: 2", "ai: done"]


# --- budget: model calls of a run beyond the one of each turn


def turns(n):
    """Call `calc` n times, then answer; candidate k calls it with k."""

    def offer(messages, k):
        done = sum(isinstance(m, ToolMessage) for m in messages)
        return AIMessage("done") if done == n else AIMessage("", tool_calls=[call(k, call_id=f"{done}-{k}")])

    return Sampler(offer=offer)


@pytest.mark.parametrize(
    ("budget", "per_turn"),
    [(None, [3, 3, 3, 3]), (0, [1, 1, 1, 1]), (3, [3, 2, 1, 1]), (4, [3, 3, 1, 1]), (100, [3, 3, 3, 3])],
)
def test_the_budget_is_spent_in_order_and_never_exceeded(run, budget, per_turn):
    model = turns(3)
    agent = create_agent(model, [calc], middleware=[PRMMiddleware(Likes(), n=3, budget=budget)])
    result = run(agent, ASK)
    assert [len(noted(m)["candidates"]) for m in result["messages"] if isinstance(m, AIMessage)] == per_turn
    assert model.n_asked == sum(per_turn)


def test_every_run_has_a_budget_of_its_own(run):
    agent = create_agent(
        turns(1), [calc], middleware=[PRMMiddleware(Likes(), n=2, budget=1)], checkpointer=InMemorySaver()
    )
    for thread in ("A", "A", "B"):
        result = run(agent, ASK, {"configurable": {"thread_id": thread}})
        latest = [m for m in result["messages"] if isinstance(m, AIMessage)]
        assert sum(noted(m)["extra_calls"] for m in latest) == (2 if latest != latest[-2:] and thread == "A" else 1)


def test_retries_stop_where_the_budget_ends(run):
    model, agent = guarded([1], budget=1, retries=5)
    assert decisions(run(agent, ASK)) == ["stopped"]
    assert model.n_asked == 2


def test_a_veto_costs_the_call_that_follows_it(run):
    model, agent = guarded([1], on_low="veto", budget=1, retries=5)
    assert decisions(run(agent, ASK)) == ["vetoed", "stopped"]
    assert model.n_asked == 2


def test_runs_side_by_side_do_not_share_a_budget():
    model = turns(2)
    agent = create_agent(model, [calc], middleware=[PRMMiddleware(Likes(), n=2, budget=2)])
    results = agent.batch([{"messages": [("user", f"number {n}")]} for n in range(8)])
    assert {sum(noted(m)["extra_calls"] for m in r["messages"] if isinstance(m, AIMessage)) for r in results} == {2}
    assert model.n_asked == 8 * (3 + 2)
