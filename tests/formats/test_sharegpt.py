"""ShareGPT: calls and the observations behind them, and the way back."""

import io
import json

import pytest

from agentprm import formats
from agentprm.errors import InvalidFormat
from agentprm.testing.format import FormatContract
from agentprm.types import Observation

SCHEMA = {"name": "search", "parameters": {"type": "object"}}
LINE = {
    "conversations": [
        {"from": "human", "value": "The capital of Peru?"},
        {"from": "function_call", "value": '[{"name": "search", "arguments": {"q": "x"}}, {"name": "stop"}]'},
        {"from": "observation", "value": "Lima"},
        {"from": "observation", "value": ""},
        {"from": "gpt", "value": "Lima."},
        {"from": "human", "value": "Thanks."},
    ],
    "system": "Be brief.",
    "tools": json.dumps([SCHEMA]),
    "source": "somewhere",
}


class TestShareGPT(FormatContract):
    name = "sharegpt"

    def make_records(self):
        return [LINE, {"conversations": [{"from": "system", "value": "x"}, {"from": "observation", "value": "y"}]}]


def reading(record):
    return list(formats.read(io.BytesIO(json.dumps(record).encode()), "sharegpt"))


def test_calls_are_answered_in_order():
    (trajectory,) = reading(LINE)
    first, second = trajectory.steps
    assert [(c.name, c.arguments, c.output) for c in first.action.tool_calls] == [
        ("search", {"q": "x"}, "Lima"), ("stop", {}, ""),
    ]  # fmt: skip
    assert (second.action.text, trajectory.last, trajectory.task.text) == (
        "Lima.", Observation("Thanks."), "The capital of Peru?",
    )  # fmt: skip
    assert trajectory.meta == {"system": "Be brief.", "tools": [SCHEMA], "source": "somewhere"}


def test_the_turns_come_back_as_they_were():
    file = io.BytesIO()
    formats.write(file, reading(LINE), "sharegpt")
    line = json.loads(file.getvalue())
    assert {key: line[key] for key in LINE if key != "conversations"} == {
        k: v for k, v in LINE.items() if k != "conversations"
    }
    assert [turn["from"] for turn in line["conversations"]] == [turn["from"] for turn in LINE["conversations"]]
    assert line["conversations"][2:] == LINE["conversations"][2:]


def test_schemas_as_openai_wraps_them_are_unwrapped():
    (trajectory,), file = reading(LINE), io.BytesIO()
    wrapped = trajectory._with(meta={"tools": [{"type": "function", "function": SCHEMA}]})
    formats.write(file, [wrapped], "sharegpt")
    assert json.loads(json.loads(file.getvalue())["tools"]) == [SCHEMA]
    file.seek(0)
    assert list(formats.read(file)) == [wrapped]


@pytest.mark.parametrize(
    ("turn", "says"),
    [({"from": "robot", "value": ""}, r"conversations\[0\]\.from: expected one of 'system', "),
     ({"from": "function_call", "value": "search(x)"}, r"conversations\[0\]\.value: expected JSON in a text"),
     ({"from": "gpt", "value": None}, r"conversations\[0\]\.value: expected a text, not nothing")],
    ids=["from", "call", "value"],
)  # fmt: skip
def test_what_is_wrong_is_named(turn, says):
    with pytest.raises(InvalidFormat, match=says):
        reading({"conversations": [turn]})
