"""Every format keeps the contract, on records made by the field names of its documentation."""

import io

import pytest
from filled import full, scored
from records import AGENT_BENCH, LOG, ODD, PICTURE, PLAIN, PROCESS, SHEPHERD, SOLUTION, STEPWISE

from agentprm import formats
from agentprm.formats import _exact
from agentprm.testing.format import FormatContract
from agentprm.testing.trajectories import hostile


class TestJsonl(FormatContract):
    name = "jsonl"

    def make_records(self):
        return [{"agentprm": 1, "trajectory": _exact.plain(t)} for t in hostile()[2:4]]


class TestOpenAIMessages(FormatContract):
    name = "openai_messages"

    def make_records(self):
        return [PLAIN, ODD, PICTURE]


class TestAgentProcessBench(FormatContract):
    name = "agentprocessbench"

    def make_records(self):
        return [AGENT_BENCH]


class TestWhoAndWhen(FormatContract):
    name = "who_and_when"

    def make_records(self):
        return [LOG]


class TestPRM800K(FormatContract):
    name = "prm800k"

    def make_records(self):
        return [SOLUTION]


class TestMathShepherd(FormatContract):
    name = "math_shepherd"

    def make_records(self):
        return [SHEPHERD]


class TestProcessBench(FormatContract):
    name = "processbench"

    def make_records(self):
        return [PROCESS]


class TestTRL(FormatContract):
    name = "trl"
    is_exact = False

    def make_records(self):
        return [STEPWISE]


class TestOpenInference(FormatContract):
    name = "openinference"


def test_every_format_is_under_contract():
    kept = {cls.name.partition(":")[0] for cls in FormatContract.__subclasses__()}
    there = set(formats.names())
    assert there - kept <= {"atif", "langsmith", "sharegpt"}, "those have modules of their own"


@pytest.mark.parametrize("name", ["jsonl", "openai_messages", "atif", "sharegpt"])
def test_an_episode_with_everything_filled_is_read_back(name):
    file, trajectory = io.BytesIO(), full()
    formats.write(file, [trajectory, scored(trajectory, None, 0.5, 1.0, parts={"x": (1, None, 3)})], name)
    file.seek(0)
    assert list(formats.read(file, name)) == [
        trajectory, scored(trajectory, None, 0.5, 1.0, parts={"x": (1, None, 3)}),
    ]  # fmt: skip


@pytest.mark.parametrize("name", formats.names())
def test_every_format_says_what_it_is(name):
    module = formats.find(name)
    assert module.__doc__
    assert hasattr(module, "read") or hasattr(module, "write")
    assert hasattr(module, "SIGNATURES") == hasattr(module, "read")
