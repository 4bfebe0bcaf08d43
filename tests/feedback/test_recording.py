"""Recording without `config`: the runs of a block, and those of a process whose environment names a store."""

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from sampler import ASK, Likes, Sampler, calc, offers

import agentprm
from agentprm import Store


@pytest.fixture
def store():
    with Store(":memory:") as store:
        yield store


def agent(tools=(calc,), **options):
    return create_agent(Sampler(offer=offers(1)), list(tools), **options)


def recorded(store):
    return [(len(t), t.ending.status) for t in store.trajectories()]


WAYS = {
    "invoke": lambda a: a.invoke(ASK),
    "ainvoke": lambda a: asyncio.run(a.ainvoke(ASK)),
    "stream": lambda a: list(a.stream(ASK)),
    "batch": lambda a: a.batch([ASK]),
    "abatch": lambda a: asyncio.run(a.abatch([ASK])),
}


@pytest.mark.parametrize("way", WAYS)
def test_runs_inside_the_block_are_recorded_and_no_others(way, store):
    WAYS[way](agent())
    with agentprm.recording(store) as handler:
        WAYS[way](agent())
    WAYS[way](agent())
    assert recorded(store) == [(2, "completed")]
    assert (handler.inflight, handler.dropped) == (0, 0)


def test_at_the_end_every_score_is_there(tmp_path):
    with agentprm.recording(tmp_path / "runs.db", Likes(), outcome=lambda outputs: 1.0) as handler:
        agent().invoke(ASK)
    with Store(tmp_path / "runs.db") as store:
        assert [s.values for s in store.scores()] == [(0.1, 0.5)]
        assert [t.outcome for t in store.trajectories()] == [1.0]
    assert handler.dropped == 0


def test_a_store_that_was_given_stays_open(store):
    with agentprm.recording(store):
        pass
    assert recorded(store) == []


def test_the_block_ends_with_its_error(store):
    with pytest.raises(RuntimeError, match="mine"), agentprm.recording(store):
        agent().invoke(ASK)
        raise RuntimeError("mine")
    agent().invoke(ASK)
    assert recorded(store) == [(2, "completed")]


def test_a_store_that_was_closed_meanwhile_raises_nothing():
    store = Store(":memory:")
    with agentprm.recording(store) as handler:
        agent().invoke(ASK)
        store.close()
    assert handler.failures == {"record": 1}


def test_of_nested_blocks_the_inner_one_records(store):
    with Store(":memory:") as other:
        with agentprm.recording(store):
            with agentprm.recording(other):
                agent().invoke(ASK)
            assert (len(recorded(store)), len(recorded(other))) == (0, 1)
            agent().invoke(ASK)
        assert (len(recorded(store)), len(recorded(other))) == (1, 1)


def test_a_block_inside_a_tool_records_the_agent_in_there(store):
    @tool("calc")
    def delegate(x: int) -> str:
        """Ask another agent."""
        with agentprm.recording(other):
            return agent().invoke(ASK)["messages"][-1].text

    with Store(":memory:") as other:
        with agentprm.recording(store):
            agent([delegate]).invoke(ASK)
        assert sorted(t.parent is None for t in store.trajectories()) == [False, True]
        assert recorded(other) == [(2, "completed")]


def test_the_same_handler_given_twice_records_once(store):
    with agentprm.recording(store) as handler:
        agent().invoke(ASK, {"callbacks": [handler]})
    assert recorded(store) == [(2, "completed")]


def test_tasks_that_began_in_the_block_are_recorded(store):
    async def main():
        with agentprm.recording(store):
            task = asyncio.create_task(agent().ainvoke(ASK))
        await agent().ainvoke(ASK)
        await task

    asyncio.run(main())
    assert recorded(store) == [(2, "completed")]


def test_two_blocks_side_by_side_do_not_mix():
    async def one(store, n):
        with agentprm.recording(store):
            for _ in range(n):
                await agent().ainvoke(ASK)

    async def main(stores):
        await asyncio.gather(*(one(store, n + 1) for n, store in enumerate(stores)))

    stores = [Store(":memory:") for _ in range(3)]
    asyncio.run(main(stores))
    assert [len(recorded(store)) for store in stores] == [1, 2, 3]
    for store in stores:
        store.close()


def test_a_thread_of_ones_own_is_not_in_the_block(store):
    with agentprm.recording(store):
        thread = threading.Thread(target=lambda: agent().invoke(ASK))
        thread.start()
        thread.join()
    assert recorded(store) == []


def test_interrupts_and_threads_are_recorded_too(store):
    with agentprm.recording(store):
        agent(checkpointer=InMemorySaver(), interrupt_before=["tools"]).invoke(
            ASK, {"configurable": {"thread_id": "T"}}
        )
    assert recorded(store) == [(1, "interrupted")]


# --- a whole process

PROGRAM = """
import json, sys, threading
sys.path.insert(0, {here!r})
import agentprm.autorecord
from agentprm import PRMCallbackHandler, Store
from sampler import ASK, Sampler, calc, offers
from langchain.agents import create_agent
agent = create_agent(Sampler(offer=offers(1)), [calc])
{body}
"""


def process(body, tmp_path, **environment):
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(here=here, body=body)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**{k: v for k, v in os.environ.items() if k != "AGENTPRM_RECORD"}, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_one_import_and_a_variable_record_a_process(tmp_path):
    body = """
agent.invoke(ASK)
thread = threading.Thread(target=lambda: agent.invoke(ASK)); thread.start(); thread.join()
agent.batch([ASK, ASK])
"""
    process(body, tmp_path, AGENTPRM_RECORD="runs.db")
    with Store(tmp_path / "runs.db") as store:
        assert recorded(store) == [(2, "completed")] * 4


def test_without_the_variable_nothing_is_recorded(tmp_path):
    process("agent.invoke(ASK); assert agentprm.autorecord.handler is None", tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_run_with_a_handler_of_its_own_is_left_to_it(tmp_path):
    body = """
with Store("mine.db") as mine:
    agent.invoke(ASK, {"callbacks": [PRMCallbackHandler(mine)]})
    with agentprm.recording(mine):
        agent.invoke(ASK)
"""
    process(body, tmp_path, AGENTPRM_RECORD="runs.db")
    with Store(tmp_path / "runs.db") as store, Store(tmp_path / "mine.db") as mine:
        assert (len(recorded(store)), len(recorded(mine))) == (0, 2)


def test_a_store_that_cannot_be_opened_is_said_and_breaks_nothing(tmp_path):
    (tmp_path / "runs.db").write_text("no database at all, but long enough to look like a file of something else")
    done = process("print(agent.invoke(ASK)['messages'][-1].text)", tmp_path, AGENTPRM_RECORD="runs.db")
    assert done.stdout.strip() == "done"
    assert "AGENTPRM_RECORD=runs.db: nothing is recorded" in done.stderr


def test_importing_the_library_alone_does_not_import_langchain():
    code = "import json, sys, agentprm; print(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "AGENTPRM_RECORD": "runs.db"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "langchain_core" not in json.loads(done.stdout)
