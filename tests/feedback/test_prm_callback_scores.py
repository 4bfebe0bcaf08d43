"""Live scores where others hear of them, and stores and scorers that fail while an agent runs."""

import asyncio
import sqlite3
import threading
from collections import Counter
from dataclasses import dataclass
from uuid import uuid4

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.types import Command
from sampler import ASK, Likes, Sampler, calc, offers, soft

from agentprm import PRMCallbackHandler, Store
from agentprm.errors import StoreError
from agentprm.record import _langchain_judging


def agent(*numbers, tools=(calc,)):
    return create_agent(Sampler(offer=offers(*numbers)), list(tools))


@pytest.fixture
def store():
    with Store(":memory:") as store:
        yield store


class Listening(BaseCallbackHandler):
    def __init__(self):
        self.heard = []

    def on_custom_event(self, name, data, *, run_id, **kwargs):
        self.heard.append((name, run_id, data))


async def consume(stream):
    return [item async for item in stream]


# --- the custom event


@pytest.mark.parametrize("how", ["sync", "async"])
def test_other_handlers_hear_of_every_score(how, store):
    listening, run_id = Listening(), uuid4()
    handler = PRMCallbackHandler(store, Likes(), patience=5)
    config = {"callbacks": [handler, listening], "run_id": run_id}
    graph = agent(7)
    graph.invoke(ASK, config) if how == "sync" else asyncio.run(graph.ainvoke(ASK, config))
    (trajectory,) = store.trajectories()
    assert [(name, run) for name, run, _ in listening.heard] == [("prm_score", run_id)] * 2
    assert [(d["step"], d["score"]) for _, _, d in listening.heard] == [(0, 0.7), (1, 0.5)]
    assert listening.heard[0][2] == {
        "run_id": str(run_id),
        "trajectory_id": str(trajectory.id),
        "step": 0,
        "score": 0.7,
        "unit": "value",
        "scorer": "likes",
        "sees": "action",
        "parts": {},
        "note": None,
    }


def test_scores_are_events_of_astream_events(store):
    handler = PRMCallbackHandler(store, Likes(), patience=5)
    events = asyncio.run(consume(agent(7).astream_events(ASK, {"callbacks": [handler]}, version="v2")))
    scored = [e for e in events if e["event"] == "on_custom_event"]
    assert [(e["name"], e["data"]["score"]) for e in scored] == [("prm_score", 0.7), ("prm_score", 0.5)]


def test_async_handlers_hear_of_it_too(store):
    heard = []

    class Waiting(AsyncCallbackHandler):
        async def on_custom_event(self, name, data, *, run_id, **kwargs):
            await asyncio.sleep(0)
            heard.append(data["score"])

    handler = PRMCallbackHandler(store, Likes(), patience=5)
    asyncio.run(agent(7).ainvoke(ASK, {"callbacks": [handler, Waiting()]}))
    assert heard == [0.7, 0.5]


def test_a_score_that_comes_after_the_run_is_stored_and_no_event(store):
    may_speak = threading.Event()

    @dataclass
    class Slow(Likes):
        def __call__(self, trajectories, /):
            assert may_speak.wait(5)
            return super().__call__(trajectories)

    listening, told = Listening(), []
    handler = PRMCallbackHandler(store, Slow(), on_score=told.append)
    result = agent(7).invoke(ASK, {"callbacks": [handler, listening]})
    assert result["messages"][-1].text == "done", "the agent did not wait"
    assert (handler.inflight, listening.heard, told, handler.wait(0.01)) == (0, [], [], False)
    may_speak.set()
    handler.flush()
    assert [s.values for s in store.scores()] == [(0.7, 0.5)]
    assert (len(told), listening.heard, handler.dropped) == (2, [], 0)


def test_a_listener_that_fails_is_its_own_problem(store):
    class Rude(Listening):
        def on_custom_event(self, *args, **kwargs):
            raise RuntimeError

    handler = PRMCallbackHandler(store, Likes(), patience=5)
    agent(7).invoke(ASK, {"callbacks": [Rude(), handler]})
    assert handler.dropped == 0
    assert len(list(store.scores())) == 1


# --- reading them back


def test_the_scores_of_a_run_are_read_by_its_id(store):
    handler, run_id = PRMCallbackHandler(store, Likes()), uuid4()
    agent(7).invoke(ASK, {"callbacks": [handler], "run_id": run_id})
    (scores,) = handler.scores(run_id)
    assert scores.values == (0.7, 0.5)
    assert handler.scores(str(run_id)) == [scores]
    assert handler.scores(uuid4()) == []


def test_scores_of_what_is_no_store_cannot_be_read():
    class Sink:
        def write(self, event):
            pass

    with pytest.raises(StoreError, match="records into a Sink: give one"):
        PRMCallbackHandler(Sink()).scores(uuid4())


# --- many turns wait


def test_turns_of_one_run_are_scored_in_their_order(store):
    scorer = Likes()
    handler = PRMCallbackHandler(store, scorer)
    agent(7).batch([{"messages": [("user", str(n))]} for n in range(20)], {"callbacks": [handler]})
    handler.flush()
    seen = {}
    for (shown,) in scorer.shown:
        seen.setdefault(shown.id, []).append(len(shown))
    assert list(seen.values()) == [[1, 2]] * 20


def test_a_scorer_that_falls_behind_for_ever_is_not_waited_for(store, monkeypatch):
    monkeypatch.setattr(_langchain_judging, "_MOST_WAITING", 3)
    may_speak = threading.Event()

    @dataclass
    class Stuck(Likes):
        def __call__(self, trajectories, /):
            assert may_speak.wait(5)
            return super().__call__(trajectories)

    handler = PRMCallbackHandler(store, Stuck())
    for n in range(5):
        agent(7).invoke({"messages": [("user", str(n))]}, {"callbacks": [handler]})
    assert handler.failures == {"score": 7}
    may_speak.set()
    handler.flush()
    assert Counter(t.ending.status for t in store.trajectories()) == {"completed": 5}
    assert sum(v is not None for s in store.scores() for v in s.values) == 3


# --- stores that fail


def test_a_store_that_is_locked_delays_nobody_for_ever_and_loses_nothing(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        handler = PRMCallbackHandler(store, Likes())
        other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        running = threading.Thread(target=lambda: agent(7).invoke(ASK, {"callbacks": [handler]}))
        running.start()
        other.execute("COMMIT")
        running.join()
        handler.flush()
        assert [len(t) for t in store.trajectories()] == [2]
        other.close()


def test_a_store_whose_tables_are_gone_does_not_break_the_agent(tmp_path):
    store = Store(tmp_path / "runs.db")
    handler = PRMCallbackHandler(store, Likes())
    with sqlite3.connect(tmp_path / "runs.db") as other:
        for view in ("v_score", "v_tool_call", "v_step", "v_trajectory"):
            other.execute(f"DROP VIEW IF EXISTS {view}")
        other.execute("DROP TABLE step")
    other.close()
    assert agent(7).invoke(ASK, {"callbacks": [handler]})["messages"][-1].text == "done"
    handler.wait()
    assert (handler.inflight, handler.dropped) == (0, 0)
    store.close()


def test_a_closed_store_does_not_break_the_agent():
    store = Store(":memory:")
    handler = PRMCallbackHandler(store, Likes())
    store.close()
    assert agent(7).invoke(ASK, {"callbacks": [handler]})["messages"][-1].text == "done"
    handler.wait()
    assert (store.dropped, handler.inflight) == (2, 0)
    with pytest.raises(StoreError):
        handler.flush()


def test_a_sink_that_raises_is_counted(caplog):
    class Broken:
        def write(self, event):
            raise OSError("disk full")

    handler = PRMCallbackHandler(Broken(), Likes())
    agent(7).invoke(ASK, {"callbacks": [handler]})
    handler.flush()
    assert handler.failures == {"record": 4}
    assert len(caplog.records) == 1


# --- values that no JSON knows


@dataclass
class Thing:
    name: str


def outputs(tool_, args, store):
    handler = PRMCallbackHandler(store)
    asked = {"name": tool_.name, "args": args, "id": "c1", "type": "tool_call"}

    def offer(messages, k):
        return AIMessage("done") if len(messages) > 1 else AIMessage("", tool_calls=[asked])

    result = create_agent(Sampler(offer=offer), [tool_]).invoke(ASK, {"callbacks": [handler]})
    handler.flush()
    assert (handler.failures, store.dropped, result["messages"][-1].text) == ({}, 0, "done")
    (trajectory,) = store.trajectories()
    return trajectory.steps[0].action.tool_calls[0]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"\xff\x00", "b'\\xff\\x00'"),
        (Thing("a"), "Thing(name='a')"),
        ("x" * 10_000_000, "x" * 10_000_000),
        (float("nan"), "NaN"),
        ({"a": {1: 2}}, '{"a": {"1": 2}}'),
        ("\ud800\x00", "\ud800\x00"),
        (None, "null"),
    ],
    ids=["bytes", "object", "10 MB", "nan", "keys", "surrogate", "nothing"],
)
def test_whatever_a_tool_returns_is_recorded_as_the_model_reads_it(value, told, store):
    @tool
    def give(x: int) -> object:
        """Return something."""
        return value

    given = outputs(give, {"x": 1}, store)
    assert (given.output, given.status) == (told, "ok")


def test_a_command_is_recorded_as_its_message(store):
    @tool
    def give(x: int) -> Command:
        """Change the state."""
        return Command(update={"messages": [ToolMessage("changed", tool_call_id="c1")]})

    assert outputs(give, {"x": 1}, store).output == "changed"


@pytest.mark.parametrize(
    "args",
    [{"x": 1, "y": b"\xff"}, {"x": 1, "y": float("inf")}, {"x": 1, "y": Thing("a")}, {"x": 1, "y": {1, 2}}],
    ids=["bytes", "inf", "object", "set"],
)
def test_arguments_that_are_no_json_are_recorded(args, store):
    @tool
    def give(x: int) -> str:
        """Return something."""
        return "fine"

    assert outputs(give, args, store).output == "fine"


# --- what the model was told


def test_the_system_prompt_and_the_tools_come_back_from_the_store(store):
    graph = create_agent(Sampler(offer=offers(1)), [calc, soft], system_prompt="be brief")
    graph.invoke(ASK, {"callbacks": [PRMCallbackHandler(store)]})
    (trajectory,) = store.trajectories()
    assert trajectory.meta["system"] == "be brief"
    parameters = {"properties": {"x": {"type": "integer"}}, "required": ["x"], "type": "object"}
    assert trajectory.meta["tools"] == [
        {"name": "calc", "description": "Double a number.", "parameters": parameters},
        {"name": "soft", "description": "Fail politely.", "parameters": parameters},
    ]


def test_metadata_of_the_callers_own_of_that_name_stands(store):
    graph = create_agent(Sampler(offer=offers(1)), [calc], system_prompt="be brief")
    graph.invoke(ASK, {"callbacks": [PRMCallbackHandler(store)], "metadata": {"system": "v3"}})
    (trajectory,) = store.trajectories()
    assert trajectory.meta["system"] == "v3"


def test_a_model_on_its_own_has_a_prompt_too(store):
    model = Sampler(offer=lambda messages, k: AIMessage("fine")).bind_tools([calc])
    model.invoke([("system", "be brief"), ("user", "how are you?")], {"callbacks": [PRMCallbackHandler(store)]})
    (trajectory,) = store.trajectories()
    assert trajectory.meta["system"] == "be brief"
    assert [schema["name"] for schema in trajectory.meta["tools"]] == ["calc"]


def test_a_run_that_ends_before_any_model_is_asked_is_recorded(store):
    def fail(inputs):
        return RunnableLambda(lambda x: 1 / 0).invoke(inputs)

    with pytest.raises(ZeroDivisionError):
        RunnableLambda(fail).invoke("hello", {"callbacks": [PRMCallbackHandler(store)]})
    (trajectory,) = store.trajectories()
    assert (trajectory.task.text, len(trajectory), trajectory.ending.status) == ("hello", 0, "failed")
