"""States met again, by hand."""

import pytest
from credit_world import episode, fill

from agentprm import Action, ToolCall
from agentprm.credit import anchor_advantage, loops
from agentprm.ops.agree import wilson


def test_an_action_is_worth_its_outcomes_less_those_of_the_state(store):
    left, right = ["go left"], ["go right"]
    for outcomes, action in (([1.0, 1.0, 0.0], left), ([0.0], right)):
        fill(store, *(episode(action, outcome=o, group="g", seen=["door", f"end {o}"]) for o in outcomes))
    fill(store, episode(left, outcome=0.0, group="other", seen=["door", "end"]))
    rows = {row["action"]: row for row in anchor_advantage(store, visits=4)}
    assert rows.keys() == {"go left", "go right"}
    assert (rows["go left"]["group"], rows["go left"]["state"], rows["go left"]["n"]) == ("g", "door", 3)
    assert rows["go left"]["advantage"] == pytest.approx(2 / 3 - 0.5)
    assert rows["go right"]["advantage"] == pytest.approx(-0.5)
    assert rows["go left"]["low"] == pytest.approx(wilson(2, 3).low)


def test_without_a_group_episodes_of_a_task_are_compared_and_each_counts_once(store):
    search = Action(tool_calls=(ToolCall("search"),))
    for outcome, actions in ((1.0, [search, search]), (0.0, ["wait", "wait"])):
        fill(store, episode(actions, outcome=outcome, task="t", seen=["hall", "hall", "end"]))
    assert {(row["action"], row["n"], row["advantage"]) for row in anchor_advantage(store, visits=2)} == {
        ("search", 1, 0.5), ("wait", 1, -0.5)}  # fmt: skip
    assert "lower visits=" in anchor_advantage(store, visits=3).note


def test_loops_are_steps_that_lead_back(store):
    fill(
        store,
        episode(["x"] * 4, outcome=1.0, seen=["a", "b", "a", "b", "c"]),
        episode(["x"] * 2, outcome=0.0, seen=["a", "b", "c"]),
        episode(["x"] * 2, outcome=None, seen=["a", "a", "c"]),
    )
    (row,) = loops(store)
    assert (row["n"], row["looping"], row["wasted"]) == (3, pytest.approx(2 / 3), 3 / 8)
    assert (row["success"], row["success_others"]) == (1.0, 0.0)


def asked(output):
    return Action(tool_calls=(ToolCall("search", {"query": "x"}, output=output),))


def test_what_tools_gave_back_is_the_state_and_nothing_is_no_state(store):
    # Turns of a chat: nothing is seen but what the tools gave back; the last word leads nowhere.
    fill(
        store,
        episode([asked("a"), asked("b"), "done"], outcome=1.0, seen=["question", "", "", ""]),
        episode([asked("a"), asked("a"), "done"], outcome=0.0, seen=["question", "", "", ""]),
    )
    (row,) = loops(store)
    assert (row["n"], row["looping"], row["wasted"]) == (2, 0.5, pytest.approx(1 / 6))
    assert (row["success"], row["success_others"]) == (0.0, 1.0)
