"""A scorer on another machine chooses an agent's turns, and pays an environment; when it is gone, the agent goes on."""

import threading

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from sampler import ASK, Likes, Sampler, calc, noted, offers, said

from agentprm import PRMCallbackHandler, PRMMiddleware, Store
from agentprm.serve.scores import ScoreServer


@pytest.fixture
def served():
    """Serve a scorer that likes large numbers; give the server."""
    with ScoreServer(Likes()) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        yield server
        server.stop()
        thread.join()


def agent(*numbers, **options):
    return create_agent(Sampler(offer=offers(*numbers)), [calc], **options)


def test_the_best_of_n_runs(served):
    middleware = PRMMiddleware(f"remote:url={served.url}", n=3)
    result = agent(1, 3, 2, middleware=[middleware]).invoke(ASK)
    assert said(result) == ["human: double a good number", "ai: calc(3)", "tool: 6", "ai: done"]
    assert sorted(noted(result["messages"][1])["candidates"]) == [0.1, 0.2, 0.3]


def test_all_candidates_of_a_turn_are_one_request(served):
    scorer = served._scorer
    agent(1, 2, 1, 2, middleware=[PRMMiddleware(f"remote:url={served.url}", n=4)]).invoke(ASK)
    assert [len(shown) for shown in scorer.shown] == [2, 1]


def test_scores_are_recorded_off_the_agents_path(served, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        handler = PRMCallbackHandler(store, f"remote:url={served.url}")
        agent(3).invoke(ASK, config={"callbacks": [handler]})
        handler.flush()
        (trajectory,) = store.trajectories()
        scored = list(store.scores(trajectory.id))
    assert [scores.values for scores in scored] == [(0.3, 0.5)]
    assert {scores.source.name for scores in scored} == {"remote"}


def test_a_server_that_is_gone_stops_no_agent(served, monkeypatch):
    middleware = PRMMiddleware(f"remote:url={served.url}", n=2)
    monkeypatch.setattr("agentprm.scorers._remote_client._FIRST_WAIT_S", 0.01)
    served._leaving = True
    result = agent(1, 3, middleware=[middleware]).invoke(ASK)
    assert said(result)[-1] == "ai: done"
