"""One root run, whatever way it is called: the same steps, each once, and nothing that grows."""

import asyncio
import copy
import gc

import pytest

pytest.importorskip("langchain")

from concurrent.futures import ThreadPoolExecutor

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_puppets import (
    Puppet,
    Streaming,
    ask,
    boom,
    calc,
    call,
    calls_then,
    only,
    rebuilt,
    search,
    soft,
    timeless,
    told,
)

from agentprm.record._langchain_episode import Call, Episode, Turn
from agentprm.record._langchain_runs import Node, Run
from agentprm.record._langchain_tree import Tree
from agentprm.record.langchain import LangChainRecorder

THREE = calls_then("done", call("search", "c1", query="a"), call("calc", "c2", x=1), call("soft", "c3", x=1))


async def consume(stream):
    async for _ in stream:
        pass


CALLS = {
    "invoke": lambda agent, config: agent.invoke(ask(), config),
    "ainvoke": lambda agent, config: asyncio.run(agent.ainvoke(ask(), config)),
    "batch": lambda agent, config: agent.batch([ask()], config),
    "abatch": lambda agent, config: asyncio.run(agent.abatch([ask()], config)),
    "astream_events": lambda agent, config: asyncio.run(consume(agent.astream_events(ask(), config, version="v2"))),
    **{
        f"stream {mode}": lambda agent, config, mode=mode: list(agent.stream(ask(), config, stream_mode=mode))
        for mode in ("values", "updates", "messages")
    },
    **{
        f"astream {mode}": lambda agent, config, mode=mode: asyncio.run(
            consume(agent.astream(ask(), config, stream_mode=mode))
        )
        for mode in ("values", "updates", "messages")
    },
}


@pytest.mark.parametrize("model", [Puppet, Streaming])
@pytest.mark.parametrize("how", CALLS)
def test_every_way_of_calling_records_the_same_steps(how, model, config, events):
    plain = []
    create_agent(Puppet(reply=THREE), [search, calc, soft]).invoke(
        ask(), {"callbacks": [LangChainRecorder(plain.append)]}
    )
    CALLS[how](create_agent(model(reply=THREE), [search, calc, soft]), config)
    trajectory = only(events)
    assert timeless(trajectory) == timeless(only(plain))
    assert trajectory.ending.status == "completed"
    assert trajectory.task.text == "hi"


def echo(messages):
    """Call as many tools as asked for, one per turn; a function of the messages alone."""
    n = int(next(m for m in messages if isinstance(m, HumanMessage)).text)
    done = sum(isinstance(m, ToolMessage) for m in messages)
    return AIMessage(f"{n} done") if done == n else AIMessage("", tool_calls=[call("calc", f"c{done}", x=done)])


def test_a_batch_is_one_trajectory_per_input(config, events):
    create_agent(Puppet(reply=echo), [calc]).batch([ask(str(n)) for n in range(5)], config)
    assert sorted((t.task.text, len(t)) for t in rebuilt(events)) == [(str(n), n + 1) for n in range(5)]


def test_sixteen_threads_record_every_step_once_and_change_nothing(recorder, config, events):
    agent = create_agent(Puppet(reply=echo), [calc])

    def work(worker):
        results = [agent.invoke(ask(str(n % 4)), config)["messages"] for n in range(20)]
        return [[(m.type, m.text) for m in messages] for messages in results]

    without = [[(m.type, m.text) for m in agent.invoke(ask(str(n % 4)))["messages"]] for n in range(20)]
    with ThreadPoolExecutor(16) as pool:
        assert all(result == without for result in pool.map(work, range(16)))
    trajectories = rebuilt(events)
    assert len(trajectories) == 320
    assert all(len(t) == int(t.task.text) + 1 and t.ending.status == "completed" for t in trajectories)
    assert all(told(t, i) == [(f"c{i}", "ok", 1, str(2 * i))] for t in trajectories for i in range(len(t) - 1))
    assert recorder.inflight == 0


def test_many_tasks_on_one_loop_are_kept_apart(config, events):
    agent = create_agent(Puppet(reply=echo), [calc])

    async def many():
        await asyncio.gather(*(agent.ainvoke(ask(str(n % 4)), config) for n in range(40)))

    asyncio.run(many())
    assert sorted(len(t) for t in rebuilt(events)) == sorted(n % 4 + 1 for n in range(40))


def test_nothing_grows_over_many_runs(recorder, config):
    good, bad = (
        create_agent(Puppet(reply=calls_then("x", call(name, "c", x=1))), [calc, boom]) for name in ("calc", "boom")
    )

    def cycle(n):
        for _ in range(n):
            good.invoke(ask(), config)
            with pytest.raises(ValueError):
                bad.invoke(ask(), config)
        gc.collect()
        return sum(type(o) in (Run, Node, Tree, Episode, Turn, Call) for o in gc.get_objects())

    recorder._watch._sink = lambda event: None
    assert cycle(3) == cycle(30) == 0


def test_the_root_run_names_its_trajectory(config, events):
    agent = create_agent(Puppet(reply=echo), [calc], name="clerk")
    agent.invoke(ask("1"), {**config, "metadata": {"customer": 7, "task_id": "one"}, "tags": ["vip"], "run_name": "r"})
    trajectory = only(events)
    assert trajectory.meta == {
        "customer": 7,
        "task_id": "one",
        "tags": ["vip"],
        "run_name": "r",
        "lc_agent_name": "clerk",
        "tools": [
            {
                "name": "calc",
                "description": "Double a number.",
                "parameters": {"properties": {"x": {"type": "integer"}}, "required": ["x"], "type": "object"},
            }
        ],
    }
    assert trajectory.policy == "clerk"
    assert trajectory.task.key == "one"
    assert len(trajectory.external_id) == 36


@pytest.mark.parametrize(
    ("given", "expected"),
    [("fixed", "fixed"), (lambda inputs: inputs["messages"][0][1].upper(), "HI"), (lambda inputs: None, "hi")],
)
def test_the_task_can_be_given(given, expected, events):
    recorder = LangChainRecorder(events.append, task=given)
    create_agent(Puppet(reply=lambda m: AIMessage("x")), []).invoke(ask(), {"callbacks": [recorder]})
    assert only(events).task.text == expected


def test_the_outcome_is_a_function_of_the_final_outputs(events):
    recorder = LangChainRecorder(events.append, outcome=lambda outputs: outputs["messages"][-1].text == "x")
    agent = create_agent(Puppet(reply=lambda m: AIMessage("x")), [])
    agent.invoke(ask(), {"callbacks": [recorder]})
    list(agent.stream(ask(), {"callbacks": [recorder]}))
    assert [t.outcome for t in rebuilt(events)] == [1.0, 1.0]


@pytest.mark.parametrize("outcome", [lambda outputs: 7.0, lambda outputs: 1 / 0, lambda outputs: float("nan")])
def test_an_outcome_that_is_none_is_counted_and_left_open(outcome, events):
    recorder = LangChainRecorder(events.append, outcome=outcome)
    create_agent(Puppet(reply=lambda m: AIMessage("x")), []).invoke(ask(), {"callbacks": [recorder]})
    assert only(events).ending.status == "completed"
    assert only(events).outcome is None
    assert recorder.failures == {"outcome": 1}


def test_a_recorder_attached_twice_records_once(recorder, config, events):
    agent = create_agent(Puppet(reply=THREE), [search, calc, soft]).with_config(callbacks=[recorder])
    agent.invoke(ask(), config)
    assert len(only(events)) == 2
    assert len(events) == 4


def test_a_recorder_on_a_model_alone_records_its_answers(recorder, events):
    model = Puppet(reply=calls_then("done", call("calc", "c1", x=1)), callbacks=[recorder])
    create_agent(model, [calc]).invoke(ask())
    assert [len(t) for t in rebuilt(events)] == [1, 1]


def test_a_copied_configuration_still_reports_to_the_recorder(recorder, config, events):
    create_agent(Puppet(reply=THREE), [search, calc, soft]).invoke(ask(), copy.deepcopy(config))
    assert len(only(events)) == 2


def test_a_failing_sink_never_reaches_the_agent(caplog):
    def sink(event):
        raise OSError("disk full")

    recorder = LangChainRecorder(sink)
    agent = create_agent(Puppet(reply=THREE), [search, calc, soft])
    assert agent.invoke(ask(), {"callbacks": [recorder]})["messages"][-1].text == "done"
    assert recorder.dropped == 4
    assert recorder.inflight == 0
    assert [r.name for r in caplog.records] == ["agentprm.record.langchain"]
