"""Messages, inputs and values of LangChain's as our nouns."""

from collections import OrderedDict, defaultdict, namedtuple
from enum import Enum, IntEnum

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue

from agentprm.record._langchain_messages import answer, key_of, messages_in, observation, said, task_text
from agentprm.record._langchain_tree import status_of
from agentprm.record._langchain_values import Shown, snapshot
from agentprm.values import encode


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"messages": [("user", "a"), ("ai", "b"), ("user", "c")]}, "c"),
        ({"messages": [{"role": "user", "content": "a"}]}, "a"),
        ({"messages": "a"}, "a"),
        ({"messages": ("user", "a")}, "a"),
        ({"messages": [HumanMessage([{"type": "text", "text": "a"}, {"type": "image", "url": "x"}])]}, "a"),
        ([HumanMessage("a")], "a"),
        (HumanMessage("a"), "a"),
        (ChatPromptValue(messages=[HumanMessage("a")]), "a"),
        ("a", "a"),
        ({"question": "a", "context": "b"}, "a"),
        ({"topic": "a"}, "a"),
        ({"x": 1}, ""),
        ({"messages": [object()]}, ""),
        ({"messages": []}, ""),
        (["a", "b"], ""),
        (None, ""),
        (b"\xff", ""),
        (AIMessage("a").text, "a"),
        ({"question": AIMessage("a").text}, "a"),
    ],
)
def test_the_task_is_the_last_human_word(inputs, expected):
    found = task_text(inputs)
    assert found == expected
    assert type(found) is str


def test_inputs_that_are_no_messages_are_kept_as_they_are():
    inputs = {"x": np.arange(3), "y": [1]}
    first = observation(inputs)
    inputs["y"].append(2)
    inputs["x"][0] = 9
    assert first.native["y"] == [1]
    assert first.native["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "extra", "plan", "text"),
    [
        ("four", {}, "", "four"),
        ("four", {"reasoning_content": "2+2"}, "2+2", "four"),
        ([{"type": "reasoning", "reasoning": "2+2"}, {"type": "text", "text": "four"}], {}, "2+2", "four"),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "sum"}]}, "four"], {}, "sum", "four"),
        ([{"type": "refusal", "refusal": "no"}], {}, "", "no"),
        ([{"type": "image", "base64": "AA"}], {}, "", ""),
    ],
)
def test_reasoning_is_the_plan_and_the_rest_the_answer(content, extra, plan, text):
    found = said(AIMessage(content, additional_kwargs=extra))
    assert (found.plan, found.text) == (plan, text)


def test_content_of_several_text_blocks_is_one_text():
    assert answer(ToolMessage([{"type": "text", "text": "a"}, "b"], tool_call_id="c")) == "ab"


def test_messages_without_an_id_are_told_apart_by_what_they_are_and_say():
    message = AIMessage("a")
    before = key_of(message)
    assert key_of(message) == before != key_of(AIMessage("a"))
    message.content = "b"  # as if another one were made where this one was
    assert key_of(message) != before
    assert key_of(AIMessage("a", id="x")) == key_of(AIMessage("b", id="x")) == "x"


class Command:
    """LangGraph's, by its shape."""

    def __init__(self, update):
        self.update, self.goto, self.resume = update, (), None


M = HumanMessage("m")


@pytest.mark.parametrize(
    "value",
    [
        M,
        [M],
        {"messages": [M], "n": 3},
        {"draft": M},
        [Command({"messages": [M]}), None],
        Command([("messages", [M])]),
        Command([M]),
        ChatPromptValue(messages=[M]),
    ],
)
def test_messages_are_found_wherever_a_node_puts_them(value):
    assert messages_in(value) == [M]


@pytest.mark.parametrize("value", [None, 3, "text", b"x", {"a": {"b": M}}, [], {}, Command(None), object()])
def test_other_outputs_hold_no_messages(value):
    assert messages_in(value) == []


def test_a_snapshot_shares_nothing_that_can_change():
    value = {"list": [1, {2}], "tuple": (b"x", 1.5), "array": np.zeros(2), "object": object}
    copy = snapshot(value)
    value["list"].append(3)
    value["array"][0] = 7
    assert copy["list"] == [1, {2}]
    assert copy["array"].tolist() == [0, 0]
    assert copy["tuple"] == (b"x", 1.5)
    assert copy["object"] == Shown("<class 'object'>")


class Colour(str, Enum):  # noqa: UP042 (its str() is not its value)
    RED = "red"


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (AIMessage("four").text, "four"),
        (Colour.RED, "red"),
        (IntEnum("Level", "LOW")(1), 1),
        (True, True),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Point(1, 2), (1, 2)),
        (frozenset({1}), frozenset({1})),
    ],
)
def test_of_a_subclass_the_plain_value_is_kept(value, plain):
    found = snapshot(value)
    assert found == plain
    assert type(found) is type(plain)


def test_numbers_of_numpy_stay_as_they_are():
    assert type(snapshot(np.float64(0.5))) is np.float64
    assert isinstance(snapshot(np.array([object()])), Shown)


def test_what_only_words_are_left_of_is_counted_when_it_is_stored():
    assert encode(snapshot([object])) == ('[{"$repr":"<class \'object\'>"}]', 1)


class Rude:
    def __repr__(self):
        raise RuntimeError


def test_a_snapshot_never_fails():
    loop = []
    loop.append(loop)
    assert snapshot(Rude()) == Shown("<Rude whose repr raised RuntimeError>")
    assert snapshot(loop)


class GraphBubbleUp(Exception):
    pass


class GraphInterrupt(GraphBubbleUp):
    pass


class ParentCommand(GraphBubbleUp):
    pass


class CancelledError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(), "failed"),
        (TimeoutError(), "failed"),
        (GraphInterrupt(), "interrupted"),
        (ParentCommand(), "completed"),
        (GeneratorExit(), "aborted"),
        (KeyboardInterrupt(), "aborted"),
        (CancelledError(), "aborted"),
    ],
)
def test_an_error_says_how_a_run_ended(error, status):
    assert status_of(error) == status
