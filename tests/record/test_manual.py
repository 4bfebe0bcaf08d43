"""A loop of one's own, recorded as it happens."""

import asyncio
import threading

import pytest

from agentprm import Store, Task
from agentprm.errors import InvalidTrajectory
from agentprm.record.manual import episode
from agentprm.record.tool import tool
from agentprm.types import Began, Ended, Stepped


class Sink(list):
    """What a store is to a recorder."""

    write = list.append


def test_a_turn_is_a_plan_its_calls_and_an_act():
    sink = Sink()
    with episode("find the capital", sink, policy="v1", meta={"run": 7}) as ep:
        ep.observe("Peru?")
        ep.plan("look it up")
        ep.tool("search", {"q": "Peru"}, output="Lima")
        ep.tool("search", {"q": "Peru capital"}, output="Lima", id="b")
        ep.observe("Lima, twice")
        ep.act("Lima", reward=1.0, info={"sure": True})
        ep.end(outcome=1.0)
    assert [type(event) for event in sink] == [Began, Stepped, Stepped, Ended]
    first, second = ep.trajectory.steps
    assert (first.observation.text, first.action.plan, first.action.kind) == ("Peru?", "look it up", "tool")
    assert [call.id for call in first.action.tool_calls] == [None, "b"]
    assert (second.observation.text, second.action.text, second.reward) == ("Lima, twice", "Lima", 1.0)
    assert second.action.kind == "message"
    assert ep.trajectory.ending.status == "completed"
    assert (ep.trajectory.policy, ep.trajectory.meta, ep.trajectory.outcome) == ("v1", {"run": 7}, 1.0)


def test_a_plan_after_calls_and_an_act_after_an_act_open_new_turns():
    with episode("t") as ep:
        ep.tool("a", {})
        ep.plan("then b")
        ep.tool("b", {})
        ep.act("done")
        ep.act("really")
    assert [(s.action.plan, len(s.action.tool_calls), s.action.text) for s in ep.trajectory.steps] == [
        ("", 1, ""),
        ("then b", 1, "done"),
        ("", 0, "really"),
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("x"), "failed"), (KeyboardInterrupt(), "aborted"), (asyncio.CancelledError(), "aborted")],
    ids=["error", "interruption", "cancellation"],
)
def test_an_exception_ends_the_episode_and_goes_on_its_way(error, status):
    sink = Sink()
    with pytest.raises(type(error)), episode("t", sink) as ep:
        ep.act("half")
        raise error
    assert sink[-1].ending.status == status
    assert len(ep.trajectory) == 1


def test_nothing_happened_is_an_episode_too():
    sink = Sink()
    with episode("t", sink):
        pass
    assert [type(event) for event in sink] == [Began, Ended]


def test_more_after_the_end_is_refused():
    with episode("t") as ep:
        ep.end(outcome=0.0)
        with pytest.raises(InvalidTrajectory, match="ended"):
            ep.act("late")
        with pytest.raises(InvalidTrajectory, match="ended"):
            ep.end()
    assert ep.trajectory.outcome == 0.0


def test_two_observations_in_a_row_are_refused():
    with episode("t") as ep:
        ep.observe("a")
        ep.act("b")
        ep.observe("c")
        with pytest.raises(InvalidTrajectory, match="two observations"):
            ep.observe("d")


def test_decorated_tools_report_arguments_output_and_errors():
    @tool
    def divide(a, b=1):
        return a / b

    assert divide(4) == 4, "outside an episode it is the function itself"
    with episode("t") as ep:
        divide(6, b=3)
        ep.plan("again")
        with pytest.raises(ZeroDivisionError):
            divide(1, 0)
    (good,), (bad,) = (step.action.tool_calls for step in ep.trajectory.steps)
    assert (good.name, good.arguments, good.output, good.status) == ("divide", {"a": 6, "b": 3}, 2.0, "ok")
    assert (bad.arguments, bad.status) == ({"a": 1, "b": 0}, "error")
    assert "ZeroDivisionError" in bad.output


def test_coroutines_report_when_they_have_ended_and_parallel_ones_are_one_turn():
    @tool
    async def fetch(page, delay=0.0):
        await asyncio.sleep(delay)
        return f"<{page}>"

    async def run():
        assert await fetch("before") == "<before>", "outside an episode it is the function itself"
        with episode("t") as ep:
            assert await asyncio.gather(fetch("a", 0.02), fetch(page="b")) == ["<a>", "<b>"]
            ep.plan("again")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(fetch("c", 60), 0.01)
        return ep.trajectory

    assert asyncio.iscoroutinefunction(fetch)
    both, cut = asyncio.run(run()).steps
    assert [(c.arguments, c.output) for c in both.action.tool_calls] == [
        ({"page": "b"}, "<b>"),
        ({"page": "a", "delay": 0.02}, "<a>"),
    ]
    (call,) = cut.action.tool_calls
    assert (call.status, call.output) == ("error", "CancelledError()")


def test_a_call_that_does_not_fit_the_function_is_an_error_of_the_call():
    @tool
    def add(a, b):
        return a + b

    with episode("t") as ep, pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        add(1, c=2)
    (call,) = ep.trajectory.steps[0].action.tool_calls
    assert (call.arguments, call.status) == ({"args": [1], "c": 2}, "error")


def test_an_interruption_inside_a_tool_is_recorded_and_goes_on_its_way():
    @tool
    def wait():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), episode("t") as ep:
        wait()
    assert [c.status for c in ep.trajectory.steps[0].action.tool_calls] == ["error"]
    assert ep.trajectory.ending.status == "aborted"


@pytest.mark.parametrize("reward", ["much", None, [1]])
def test_a_reward_that_is_no_number_is_refused_and_leaves_the_turn_as_it_was(reward):
    with episode("t") as ep:
        ep.plan("p")
        with pytest.raises(InvalidTrajectory, match="a reward is a number, not"):
            ep.act("x", reward=reward)
        ep.act("y", reward=1)
    assert [(s.action.plan, s.action.text, s.reward) for s in ep.trajectory.steps] == [("p", "y", 1.0)]


def test_tools_may_report_from_several_threads():
    with episode("t") as ep:
        threads = [threading.Thread(target=ep.tool, args=("f", {"i": i})) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (step,) = ep.trajectory.steps
    assert sorted(call.arguments["i"] for call in step.action.tool_calls) == list(range(20))


def test_it_comes_back_from_a_store(tmp_path):
    path = tmp_path / "runs.db"
    with episode(Task("t", "key"), str(path), external_id="run-1", group="g", seed=3) as ep:
        ep.observe("a", native={"x": 1.5})
        ep.plan("p")
        ep.tool("f", {"x": 1}, output={"y": [1, 2]})
        ep.observe("b")
        ep.act("c")
    with Store(path) as store:
        assert list(store.trajectories(external_id="run-1")) == [ep.trajectory]


def test_what_is_no_text_is_a_native_value(tmp_path):
    path = tmp_path / "runs.db"
    with episode("t", str(path)) as ep:
        ep.observe({"a": 1})
        ep.plan(3)
        ep.act(4)
        ep.observe([1, 2])
        ep.act("done")
    with Store(path) as store:
        (back,) = store.trajectories()
    assert back == ep.trajectory
    first = back.steps[0]
    assert (first.observation.native, first.action.native, first.action.plan) == ({"a": 1}, 4, "3")
    assert back.steps[1].observation.native == [1, 2]
