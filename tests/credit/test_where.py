"""Filters: each by itself, several at once."""

from datetime import datetime, timedelta

import pytest
from credit_world import MONDAY, episode, fill, fork

from agentprm import Action, Task, ToolCall
from agentprm.credit import success
from agentprm.errors import InvalidTrajectory, UnknownName


def n(store, **where):
    return sum(row["n"] for row in success(store, **where))


@pytest.fixture
def filled(store):
    search = Action(tool_calls=(ToolCall("search"),))
    made = fill(
        store,
        episode(["x"], outcome=1.0, policy="a", task="one", group="g", meta={"host": "h1", "k": 1, "ok": True}),
        episode([search], outcome=0.0, policy="b", task="one", env="F-v0", meta={"host": "h2", "k": "1"}),
        episode(["x"], outcome=0.4, policy="a", task="two", started_at=MONDAY + timedelta(days=1)),
        episode(["x"], outcome=None, policy="c", task="two"),
        episode(["x"], outcome=0.5, policy="half", task="two", env="G-v0"),
    )
    fill(store, fork(made[0], 0, {"drop": True}, 1.0))
    return store


CASES = {
    "nothing": ({}, 4),
    "None means any": ({"policy": None, "since": None}, 4),
    "a policy": ({"policy": "a"}, 2),
    "several policies": ({"policy": ["a", "b"]}, 3),
    "a task": ({"task": Task("one").key}, 2),
    "an environment": ({"env": "F-v0"}, 1),
    "a group": ({"group": "g"}, 1),
    "a tool": ({"tool": "search"}, 1),
    "successes, from an outcome of 0.5 on": ({"outcome": "success"}, 2),
    "failures": ({"outcome": "failure"}, 2),
    "unknown outcomes": ({"outcome": "unknown"}, 0),
    "since": ({"since": MONDAY + timedelta(days=1)}, 1),
    "until": ({"until": MONDAY + timedelta(days=1)}, 3),
    "a tag": ({"tags": {"host": "h1"}}, 1),
    "a tag that is a number or its digits": ({"tags": {"k": "1"}}, 2),
    "a tag that is a number": ({"tags": {"k": 1}}, 1),
    "a tag that is true": ({"tags": {"ok": True}}, 1),
    "a tag with a quote": ({"tags": {"it's": "h1"}}, 0),
    "forks too": ({"forks": True}, 5),
    "all at once": ({"policy": "a", "task": Task("one").key, "outcome": "success", "tags": {"host": "h1"}}, 1),
    "what excludes itself": ({"policy": "a", "tool": "search"}, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_a_filter_chooses_episodes(filled, case):
    where, expected = CASES[case]
    assert n(filled, **where) == expected


def test_an_outcome_of_a_half_is_a_success(filled):
    assert [row["success"] for row in success(filled, policy="half")] == [1.0]


def test_what_is_no_filter_is_named(store):
    with pytest.raises(UnknownName, match=r"no filter is called polcy .did you mean 'policy'.*there are task, policy"):
        success(store, polcy="a")
    with pytest.raises(UnknownName, match="'success', 'failure' or 'unknown', not 'won'"):
        success(store, outcome="won")
    with pytest.raises(InvalidTrajectory, match="time zone"):
        success(store, since=datetime(2026, 1, 1))


def test_an_empty_answer_names_the_filters(filled):
    assert success(filled, policy="nobody").note == "nothing matches policy='nobody'"
