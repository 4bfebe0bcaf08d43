"""Words for what has none."""

import subprocess
import sys

import numpy as np
import pytest

from agentprm.errors import MissingText
from agentprm.text.describe import action_text, call_text, describe, observation_text, readable_text
from agentprm.types import Action, Observation, ToolCall


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a door", "a door"),
        ("", ""),
        (3, "3"),
        (True, "True"),
        (0.1 + 0.2, "0.3"),
        (1234567.0, "1.23457e+06"),
        ([1, 2.5, "x"], "[1, 2.5, x]"),
        ((1,), "[1]"),
        ({"mission": "open the door", "direction": 3}, "mission: open the door\ndirection: 3"),
        (np.float32(0.1), "0.1"),
        (np.int64(4), "4"),
        (np.bool_(True), "True"),
        (np.array([0.125, 2.0]), "[0.125, 2]"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (np.array(7), "7"),
        (np.array([]), "[]"),
        (np.zeros(32, dtype=int), "[" + ", ".join("0" * 32) + "]"),
        (np.array(["a", None], dtype=object), "[a, None]"),
        ({"board": np.array([0, 1])}, "board: [0, 1]"),
        (b"x", "b'x'"),
    ],
)
def test_by_hand(value, words):
    assert describe(value) == words


def test_large_arrays_are_named_by_type_shape_and_content():
    image = np.arange(147, dtype=np.uint8).reshape(7, 7, 3)
    words = describe(image)
    assert words.startswith("<uint8 7×7×3 #")
    assert describe(image.copy()) == words
    assert describe(np.asfortranarray(image)) == words
    assert describe(image + np.uint8(1)) != words
    assert describe(np.zeros(33)).startswith("<float64 33 #")


def test_words_of_an_array_are_the_same_in_every_process():
    code = "import numpy as np; from agentprm.text.describe import describe; print(describe({}))"
    for array in ("np.arange(99.)", "np.array([str(i) for i in range(99)], dtype=object)"):
        words = {subprocess.check_output([sys.executable, "-c", code.format(array)], text=True) for _ in range(2)}
        assert len(words) == 1


def test_an_observation_reads_as_its_text_else_as_words_for_its_native_value():
    assert observation_text(Observation("a door", native={"x": 1})) == "a door"
    assert observation_text(Observation(native={"x": 1})) == "x: 1"
    assert observation_text(Observation(native=0)) == "0"
    assert observation_text(Observation()) == ""


def test_a_decision_reads_as_its_text_and_calls_else_as_words_for_its_native_value():
    call = ToolCall("search", {"query": "Peru"}, output="Lima")
    assert action_text(Action("I look it up", tool_calls=(call,))) == 'I look it up\nsearch({"query": "Peru"})'
    assert action_text(Action(tool_calls=(call, call))) == 'search({"query": "Peru"})\nsearch({"query": "Peru"})'
    assert action_text(Action(native=2)) == "2"
    assert action_text(Action("left", native=0)) == "left"
    assert action_text(Action()) == ""


CYCLE = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "f({})"),
        ("plain", 'f("plain")'),
        ({"ü": 1}, 'f({"ü": 1})'),
        ({"when": np.datetime64("2026-01-01")}, 'f({"when": "2026-01-01"})'),
    ],
)
def test_a_call_is_one_line_of_what_was_asked(arguments, words):
    assert call_text(ToolCall("f", arguments)) == words


@pytest.mark.parametrize(
    "arguments",
    [{(1, 2): "x"}, CYCLE, {"x": object()}, {1, 2}, b"\xff"],
    ids=["tuple key", "cycle", "object", "set", "bytes"],
)
def test_arguments_that_are_not_json_have_words_as_well(arguments):
    words = call_text(ToolCall("f", arguments))
    assert words.startswith("f(")
    assert "\n" not in words


def test_a_large_array_alone_has_no_words_for_a_model():
    picture = np.zeros((7, 7, 3), dtype=np.uint8)
    with pytest.raises(MissingText, match=r"render="):
        readable_text(Observation(native=picture))
    assert readable_text(Observation("a grid", native=picture)) == "a grid"
    assert "mission: go" in readable_text(Observation(native={"mission": "go", "image": picture}))
