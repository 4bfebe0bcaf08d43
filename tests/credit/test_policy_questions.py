"""Policies beside each other, by hand."""

import numpy as np
import pytest
from credit_world import episode, fill

from agentprm.credit import paired, value_by_action, why_better
from agentprm.errors import UnknownName
from agentprm.ops.agree import mean_interval


def test_pairs_are_tasks_that_both_played(store):
    for task, a, b in (("t1", [1.0, 0.0], [1.0]), ("t2", [0.0], [1.0]), ("t3", [1.0], [0.0]), ("t4", [0.0], [1.0])):
        fill(store, *(episode(["x"], outcome=o, policy="a", task=task) for o in a),
             *(episode(["x"], outcome=o, policy="b", task=task) for o in b))  # fmt: skip
    fill(
        store,
        episode(["x"], outcome=1.0, policy="a", task="alone"),
        episode(["x"], outcome=None, policy="b", task="alone"),
    )
    (row,) = paired(store)
    assert (row["a"], row["b"], row["n"], row["a_better"], row["b_better"], row["ties"]) == ("a", "b", 4, 1, 3, 0)
    assert row["difference"] == pytest.approx((0.5 + 1 - 1 + 1) / 4)
    assert row["p"] == pytest.approx(2 * (1 + 4) / 16)
    assert row["low"] is None, "four tasks are too few for an interval"
    (turned,) = paired(store, "b", "a")
    assert (turned["a"], turned["difference"]) == ("b", pytest.approx(-0.375))


def test_the_interval_is_that_of_the_mean_over_tasks(store):
    rng = np.random.default_rng(0)
    outcomes = rng.random((12, 2))
    fill(store, *(episode(["x"], outcome=float(o), policy="ab"[j], task=f"t{i}") for i, row in enumerate(outcomes)
                  for j, o in enumerate(row)))  # fmt: skip
    differences = outcomes[:, 1] - outcomes[:, 0]
    (row,) = paired(store)
    low, high = mean_interval(differences.mean(), differences.var(ddof=1) / 12)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((differences.mean(), low, high))


def test_why_better_adds_up_to_the_difference_in_value_gained(store):
    rng = np.random.default_rng(1)
    gained = {"a": [], "b": []}
    for i in range(24):
        policy = "ab"[i % 2]
        values = rng.random(4)
        gained[policy].append(values[-1] - values[0])
        fill(store, episode(["go 1", *rng.choice(["go 1", "take 2"], 3).tolist()], values.tolist(), 1.0, policy=policy))
    table = why_better(store)
    assert table.title == "Where b gains more than a"
    total = sum(row["per_episode"] for row in table)
    assert total == pytest.approx(np.mean(gained["b"]) - np.mean(gained["a"]))
    alone = {policy: {r["action"]: r for r in value_by_action(store, policy=policy)} for policy in "ab"}
    for row in table:
        one, two = (alone[policy][row["action"]] for policy in "ab")
        assert row["difference"] == pytest.approx(two["mean_delta"] - one["mean_delta"])
        if row["low"] is not None:
            half = np.hypot(one["high"] - one["low"], two["high"] - two["low"]) / 2
            assert row["high"] - row["difference"] == pytest.approx(half)


def test_an_unknown_policy_is_named_with_those_there_are(store):
    fill(store, episode(["x", "y"], [0.1, 0.2], 1.0, policy="a"))
    with pytest.raises(UnknownName, match="there are a"):
        why_better(store, "a", "zed")
