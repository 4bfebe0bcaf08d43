"""A judge where scores are used: it pays, chooses and watches, and nobody takes its calls for the agent's."""

import asyncio
import subprocess
import sys

import pytest

pytest.importorskip("langchain")

from generative_judges import Writing, by_hash, read
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from agentprm import PRMCallbackHandler, PRMMiddleware, PRMRewardWrapper, Store
from agentprm.feedback.recording import recording
from agentprm.scorers.generative import Generative
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import episode

ASK = {"messages": [("user", "double a good number")]}


def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


class Guessing(BaseChatModel):
    """An agent's model: it doubles one number after the other, once each."""

    calls: int = 0

    @property
    def _llm_type(self):
        return "guessing"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.calls += 1
        if isinstance(messages[-1], ToolMessage):
            said = AIMessage(f"It is {messages[-1].text}.")
        else:
            said = AIMessage(
                "", tool_calls=[{"name": "double", "args": {"number": self.calls}, "id": f"c{self.calls}"}]
            )
        return ChatResult(generations=[ChatGeneration(message=said)])


def likes_three(messages):
    return "Verdict: +1" if 'double({"number": 3})' in read(messages) else "Verdict: -1"


class Watching(BaseCallbackHandler):
    def __init__(self):
        self.models = []

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self.models.append(messages[0][0].type)


@pytest.fixture
def store():
    with Store(":memory:") as store:
        yield store


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_callback_scores_an_agent_and_nobody_hears_the_judge(store, how):
    judge, watching = Generative(Writing(rule=likes_three)), Watching()
    handler = PRMCallbackHandler(store, judge, patience=10)
    agent, config = create_agent(Guessing(calls=2), [double]), {"callbacks": [handler, watching]}
    agent.invoke(ASK, config) if how == "sync" else asyncio.run(agent.ainvoke(ASK, config))
    handler.flush()
    (trajectory,), scores = store.trajectories(), list(store.scores())
    assert [step.action.text or step.action.tool_calls[0].arguments for step in trajectory.steps] == [
        {"number": 3},
        "It is 6.",
    ]
    assert [v for s in scores for v in s.values] == [1.0, 1.0]
    assert len(judge.model.asked) == 2
    assert watching.models == ["human", "human"]
    assert handler.dropped == 0


def test_a_middleware_chooses_by_the_judge_and_nobody_hears_it(store):
    judge, watching = Generative(Writing(rule=likes_three)), Watching()
    agent = create_agent(Guessing(), [double], middleware=[PRMMiddleware(judge, store, n=3)])
    messages = agent.invoke(ASK, {"callbacks": [watching]})["messages"]
    assert messages[1].tool_calls[0]["args"] == {"number": 3}
    assert "system" not in watching.models
    (trajectory,) = store.trajectories()
    assert len(trajectory) == 2


def test_the_judge_is_in_no_stream_of_the_agents(store):
    agent = create_agent(Guessing(), [double], middleware=[PRMMiddleware(Generative(Writing(rule=likes_three)), n=2)])
    chunks = [message.text for message, _ in agent.stream(ASK, stream_mode="messages")]
    assert not any("Verdict" in text for text in chunks)


def test_a_recorder_around_it_does_not_record_the_judge(store):
    judge = Generative(Writing(rule=by_hash))
    with recording(store):
        judge([episode(("a door", "open it"))])
        judge.model.invoke([("system", "x"), ("user", "y")])
    assert len(judge.model.asked) == 2
    assert len(list(store.trajectories())) == 1


RECORDED = """
import agentprm.autorecord
from langchain_core.language_models import FakeListChatModel
from agentprm.scorers.generative import Generative
from agentprm.testing.trajectories import episode
print(Generative(FakeListChatModel(responses=["Verdict: +1"]))([episode(("a", "b"))])[0].values)
FakeListChatModel(responses=["Lima"]).invoke("The capital of Peru?")
agentprm.autorecord.handler.flush()
"""


def test_a_recorder_of_the_whole_process_does_not_record_the_judge(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTPRM_RECORD", f"sqlite:///{tmp_path}/runs.db")
    done = subprocess.run([sys.executable, "-c", RECORDED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(1.0,)\n"), done.stderr
    with Store(tmp_path / "runs.db") as store:
        assert [t.steps[0].action.text for t in store.trajectories()] == ["Lima"]


def test_a_judge_pays_rewards():
    judge = Generative(Writing(rule=lambda m: f"Verdict: {0.5 if '| go' in read(m) else 0.25}"), "score", unit="value")
    env = PRMRewardWrapper(Corridor(), judge)
    env.reset(seed=0)
    paid = [env.step("wait")[1], env.step("go left")[1]]
    assert paid == [0.25, 0.25]
    assert len(judge.model.asked) == 2


def test_a_judge_whose_server_is_away_leaves_the_agent_alone(store):
    def away(messages):
        raise ConnectionError("the server is away")

    handler = PRMCallbackHandler(store, Generative(Writing(rule=away)), patience=10)
    messages = create_agent(Guessing(), [double]).invoke(ASK, {"callbacks": [handler]})["messages"]
    handler.flush()
    assert messages[-1].text == "It is 2."
    assert handler.dropped == 2


def test_a_judge_that_is_asked_over_the_wire_loads_no_torch():
    code = "import sys, agentprm.scorers.generative; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
