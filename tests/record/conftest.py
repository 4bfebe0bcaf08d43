"""A LangChain recorder whose events are a list; it must be left with nothing open and nothing lost."""

import pytest

from agentprm.record.langchain import LangChainRecorder


@pytest.fixture
def events():
    return []


@pytest.fixture
def recorder(events):
    recorder = LangChainRecorder(events.append)
    yield recorder
    assert recorder.inflight == 0
    assert recorder.failures == {}


@pytest.fixture
def config(recorder):
    return {"callbacks": [recorder]}


@pytest.fixture
def run(events):
    """Run an agent once under a recorder; what it recorded is in `events`."""

    from langchain.agents import create_agent
    from langchain_puppets import Puppet, ask

    def run(reply, tools, *, inputs=None, config=None, **options):
        recorder = LangChainRecorder(events.append)
        agent = create_agent(Puppet(reply=reply), tools, **options)
        try:
            return agent.invoke(inputs or ask(), {"callbacks": [recorder], **(config or {})})
        finally:
            assert recorder.inflight == 0
            assert recorder.failures == {}

    return run
