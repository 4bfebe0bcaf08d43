"""What gains value: errors, costs and the readable names of actions, by hand."""

import numpy as np
import pytest
from credit_world import episode, fill

from agentprm import Action, ToolCall
from agentprm.credit import cost, errors, sinking_steps, value_by_action
from agentprm.ops.agree import wilson

GOOD = Action(tool_calls=(ToolCall("search", {}, None, "found"),))
BAD = Action(tool_calls=(ToolCall("search", {}, None, "ValueError: no such thing\nat line 1", "error"),))
ODD = Action(tool_calls=(ToolCall("search", {}, None, {"message": "boom(3): x"}, "error"),))
VETOED = Action(tool_calls=(ToolCall("shell", {}, None, None, "rejected", 0),))


def test_actions_that_are_values_are_shown_for_people(store):
    actions = [
        Action(native=np.int64(2)),
        Action(native=np.float32(0.5)),
        Action(native=np.array([1, 2])),
        Action(native=3),
        Action(native="left"),
        Action(native="left", text="turn left"),
    ]
    fill(store, episode([Action("start"), *actions], [0.5] * 7, 1.0))
    assert {row["action"] for row in value_by_action(store)} == {"2", "0.5", "[1,2]", "3", "left", "turn"}
    fill(store, episode([Action("a"), actions[0]], [0.9, 0.1], 0.0))
    assert sinking_steps(store).rows[0][3] == "2"


def test_the_share_of_calls_that_failed_stands_beside_the_value(store):
    both = Action(tool_calls=(*GOOD.tool_calls, *BAD.tool_calls))
    fill(store, episode([GOOD, GOOD, both], [0.5, 0.6, 0.2], 1.0))
    (row,) = value_by_action(store)
    assert (row["action"], row["n"], row["errors"]) == ("search", 2, pytest.approx(1 / 3))
    assert row["mean_delta"] == pytest.approx((0.1 - 0.4) / 2)


def test_errors_are_named_by_what_the_tool_said(store):
    fill(
        store,
        episode([GOOD, BAD, GOOD, ODD], [0.8, 0.5, 0.6, 0.1], 0.0),
        episode([GOOD, BAD, BAD], [0.8, 0.4, 0.3], 0.0),
        episode([GOOD, VETOED], [0.5, None], 0.0),
    )
    rows = {row["error"]: row for row in errors(store)}
    assert rows.keys() == {"ValueError", "boom"}
    error = rows["ValueError"]
    assert (error["n"], error["episodes"], error["mean_delta"]) == (3, 2, pytest.approx((-0.3 - 0.4 - 0.1) / 3))
    assert (error["recovered"], error["low_recovered"]) == (0.5, pytest.approx(wilson(1, 2).low))
    assert rows["boom"]["recovered"] is None, "nothing followed"


def test_an_error_without_words_is_named_by_its_status(store):
    fill(store, episode([GOOD, VETOED], [0.5, 0.4], 0.0))
    assert [row["error"] for row in errors(store)] == ["rejected"]


def test_costs_divide_the_gain(store):
    info = {"latency": 2.0, "tokens": {"total": 500}, "cost": 0.25}
    fill(store, episode([GOOD, GOOD, GOOD], [0.2, 0.4, 0.5], 1.0, infos=[info, info, {**info, "tokens": 1500}]))
    (row,) = cost(store)
    assert (row["gain"], row["tokens"], row["seconds"], row["dollars"]) == pytest.approx((0.3, 2000, 4, 0.5))
    assert (row["gain_per_1k_tokens"], row["gain_per_minute"]) == pytest.approx((0.15, 4.5))


def test_info_that_is_no_number_costs_nothing(store):
    fill(store, episode([GOOD, GOOD], [0.2, 0.4], 1.0, infos=[{}, {"latency": "slow", "tokens": [1]}]))
    (row,) = cost(store)
    assert (row["tokens"], row["seconds"]) == (None, None)


def test_a_filter_by_tool_shows_the_steps_that_called_it(store):
    fill(
        store, episode([GOOD, GOOD, Action("say")], [0.9, 0.5, 0.1], 0.0), episode([Action("say")] * 2, [0.9, 0.1], 0.0)
    )
    (row,) = sinking_steps(store, tool="search")
    assert (row["step"], row["action"]) == (1, "search")
    assert [row["action"] for row in value_by_action(store, tool=["search"])] == ["search"]
