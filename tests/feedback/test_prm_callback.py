"""The callback: every turn recorded, scored as soon as the scorer may see it, and an agent that never notices."""

import asyncio
import runpy
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

from agentprm import PRMCallbackHandler, Store
from agentprm.errors import SightError
from agentprm.types import Began, Ended, Observation, Scores, Spec, Stepped

ASK = {"messages": [("user", "double one")]}


class Puppet(BaseChatModel):
    """Call `calc` as often as it is told, then answer."""

    n_calls: int = 1

    @property
    def _llm_type(self):
        return "puppet"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        n = sum(isinstance(m, ToolMessage) for m in messages)
        call = {"name": "calc", "args": {"x": n}, "id": f"c{n}", "type": "tool_call"}
        message = AIMessage("done") if n == self.n_calls else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=[str(t) for t in tools])


class Events(list):
    write = list.append


@tool
def calc(x: int) -> int:
    """Double a number."""
    return x * 2


def agent(n_calls=1, tools=(calc,)):
    return create_agent(Puppet(n_calls=n_calls), list(tools))


@dataclass
class Spy:
    """A scorer that remembers what it was shown; fails, or says nothing, at the turns it is told."""

    sees: str = "action"
    fails_at: int = -1
    silent_at: int = -1
    unit: ClassVar[str] = "value"
    spec: ClassVar[Spec] = Spec("spy", {})

    def __post_init__(self):
        self.shown = []

    def __call__(self, trajectories, /):
        (trajectory,) = trajectories
        self.shown.append(trajectory)
        t = len(trajectory) - 1
        if t == self.fails_at:
            raise ConnectionError("the server is away")
        values = [None if i == self.silent_at else 0.1 * (i + 1) for i in range(t + 1)]
        notes = [f"step {i}" for i in range(t + 1)]
        return [
            Scores(
                trajectory.id, self.spec, "value", tuple(values), 0, {"spread": tuple(values)}, tuple(notes), self.sees
            )
        ]


def invoke(agent, handler):
    """Run an agent once, and wait for its scores."""
    try:
        return agent.invoke(ASK, {"callbacks": [handler]})
    finally:
        handler.flush()


@pytest.fixture
def events():
    return Events()


def steps(events):
    return [e for e in events if isinstance(e, Stepped)]


def test_each_step_carries_its_own_score(events):
    scorer = Spy()
    handler = PRMCallbackHandler(events, scorer)
    invoke(agent(2), handler)
    id = events[0].trajectory.id
    assert [e.scores for e in steps(events)] == [
        (Scores(id, scorer.spec, "value", (v,), i, {"spread": (v,)}, (f"step {i}",), "action"),)
        for i, v in enumerate([0.1, 0.2, 0.1 * 3])
    ]


def test_a_scorer_of_actions_is_asked_before_the_tools_have_ended(events):
    spy, n_shown = Spy("action"), []

    @tool("calc")
    def looking(x: int) -> int:
        """Wait for the scores of all turns so far; note how often the scorer was asked."""
        assert handler.wait(5)
        n_shown.append(len(spy.shown))
        return x

    handler = PRMCallbackHandler(events, spy)

    invoke(agent(2, [looking]), handler)
    assert n_shown == [1, 2]
    first = spy.shown[0]
    assert [c.status for c in first.steps[0].action.tool_calls] == ["pending"]
    assert first.steps[0].observation == Observation("double one")
    assert (first.ending, first.steps[0].info) == (None, {})


def test_a_scorer_of_results_sees_what_the_tools_gave(events):
    spy = Spy("result")
    invoke(agent(2), PRMCallbackHandler(events, spy))
    assert [len(t) for t in spy.shown] == [1, 2, 3]
    assert [t.steps[-1].action.tool_calls and t.steps[-1].action.tool_calls[0].output for t in spy.shown] == [
        "0",
        "2",
        (),
    ]
    assert all(len(e.scores) == 1 for e in steps(events))


@pytest.mark.parametrize("sees", ["action", "result"])
def test_what_a_live_scorer_is_shown_is_what_training_slices(sees, events):
    spy = Spy(sees)
    invoke(agent(3), PRMCallbackHandler(events, spy))
    whole = events[0].trajectory
    for event in steps(events):
        whole = whole.append(event.step, event.result)
    assert spy.shown == [whole.seen(t, sees) for t in range(4)]


def test_a_failing_scorer_is_counted_and_the_step_recorded_without_a_score(events, caplog):
    handler = PRMCallbackHandler(events, Spy(fails_at=1))
    result = invoke(agent(2), handler)
    assert result["messages"][-1].text == "done"
    assert [len(e.scores) for e in steps(events)] == [1, 0, 1]
    assert (handler.dropped, dict(handler.failures)) == (1, {"score": 1})
    assert len(caplog.records) == 1


def test_no_opinion_is_none(events):
    invoke(agent(1), PRMCallbackHandler(events, Spy(silent_at=1)))
    assert [e.scores[0].values for e in steps(events)] == [(0.1,), (None,)]


def test_a_scorer_that_forgets_a_step_is_counted(events):
    class Short(Spy):
        def __call__(self, trajectories, /):
            return [Scores(trajectories[0].id, self.spec, "value", (0.5,), sees="action")]

    handler = PRMCallbackHandler(events, Short())
    invoke(agent(1), handler)
    assert dict(handler.failures) == {"score": 1}
    assert [len(e.scores) for e in steps(events)] == [1, 0]


def test_a_scorer_that_sees_the_episode_is_refused(events):
    with pytest.raises(SightError):
        PRMCallbackHandler(events, Spy("episode"))


def test_on_score_is_told_each_score_and_may_fail(events):
    told = []

    def on_score(scores):
        told.append((scores.start, scores.values))
        raise RuntimeError

    handler = PRMCallbackHandler(events, "constant:value=0.25", on_score=on_score)
    invoke(agent(1), handler)
    assert told == [(0, (0.25,)), (1, (0.25,))]
    assert [e.scores[0].values for e in steps(events)] == [(0.25,), (0.25,)]
    assert dict(handler.failures) == {"on_score": 2}


@pytest.mark.parametrize("sees", ["action", "result"])
def test_a_step_cut_short_is_scored_as_far_as_it_was_seen(sees, events):
    @tool("calc")
    async def slow(x: int) -> int:
        """Take a while."""
        await asyncio.sleep(1)
        return x

    async def cut_short():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agent(1, [slow]).ainvoke(ASK, {"callbacks": [handler]}), 0.1)

    handler = PRMCallbackHandler(events, Spy(sees))
    asyncio.run(cut_short())
    handler.flush()
    assert [len(e.scores) for e in steps(events)] == [1 if sees == "action" else 0]
    assert events[-1].ending.status == "aborted"


def test_a_tool_that_raises_is_a_result_too(events):
    @tool("calc")
    def boom(x: int) -> int:
        """Fail."""
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        invoke(agent(1, [boom]), PRMCallbackHandler(events, Spy("result")))
    assert [len(e.scores) for e in steps(events)] == [1]


@pytest.mark.parametrize("sees", ["action", "result"])
def test_sync_and_async_runs_are_scored_alike(sees):
    def run(call):
        events = Events()
        handler = PRMCallbackHandler(events, Spy(sees))
        call(agent(2), {"callbacks": [handler]})
        handler.flush()
        return [[(s.values, s.start, s.sees) for s in e.scores] for e in steps(events)]

    async def consume(stream):
        async for _ in stream:
            pass

    expected = run(lambda a, c: a.invoke(ASK, c))
    assert run(lambda a, c: asyncio.run(a.ainvoke(ASK, c))) == expected
    assert run(lambda a, c: list(a.stream(ASK, c))) == expected
    assert run(lambda a, c: asyncio.run(consume(a.astream(ASK, c)))) == expected
    assert run(lambda a, c: a.batch([ASK], c)) == expected
    assert run(lambda a, c: asyncio.run(a.abatch([ASK], c))) == expected


def test_a_slow_scorer_does_not_hold_up_another_run(events):
    class Sleepy(Spy):
        def __call__(self, trajectories, /):
            barrier.wait(5)
            return super().__call__(trajectories)

    barrier = threading.Barrier(4)
    handler = PRMCallbackHandler(events, Sleepy())
    agent(0).batch([ASK] * 4, {"callbacks": [handler]})
    handler.flush()
    assert handler.dropped == 0
    assert len(steps(events)) == 4


def test_it_records_into_a_store_and_survives_a_reopening(tmp_path):
    path = tmp_path / "runs.db"
    handler = PRMCallbackHandler(path, "constant:value=0.5", outcome=lambda outputs: 1.0, task="double")
    invoke(agent(1), handler)
    handler.flush()
    handler.store.close()
    store = Store(path)
    (trajectory,) = store.trajectories()
    assert (trajectory.task.text, trajectory.ending.status, trajectory.outcome) == ("double", "completed", 1.0)
    assert [c.output for c in trajectory.steps[0].action.tool_calls] == ["0"]
    assert trajectory.steps[1].action.text == "done"
    assert sorted((s.start, v) for s in store.scores() for v in s.values)[0] == (0, 0.5)
    assert store.dropped == 0
    store.close()


def test_an_outcome_that_comes_later_can_be_set_by_the_root_run(tmp_path):
    store = Store(tmp_path / "runs.db")
    run_id = uuid4()
    agent(1).invoke(ASK, {"callbacks": [PRMCallbackHandler(store)], "run_id": run_id})
    store.set_outcome(external_id=str(run_id), value=0.75)
    assert [t.outcome for t in store.trajectories()] == [0.75]
    store.close()


def test_the_example_tells_good_turns_from_bad_ones(tmp_path, capsys):
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "02_langchain.py"))
    example["main"](tmp_path / "runs.db")
    printed = capsys.readouterr().out
    assert printed.count("outcome 1") == 2
    assert printed.count("  0.9  ") == 6
    assert "price(tea) error: no price for tea" in printed
    assert printed.count("  0.2  ") == 3


def test_events_come_in_order(events):
    invoke(agent(1), PRMCallbackHandler(events))
    assert [type(e) for e in events] == [Began, Stepped, Stepped, Ended]
    assert all(e.scores == () for e in steps(events))
    PRMCallbackHandler(events).flush()
