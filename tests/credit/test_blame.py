"""Drops, recoveries and responsibility among agents, on stores small enough to answer by hand."""

import pytest
from credit_world import episode, fill

from agentprm import Fork
from agentprm.credit import drops, recovery, sinking_steps, subagents
from agentprm.ops.agree import wilson


def test_drops_are_every_loss_over_the_threshold_the_worst_first(store):
    a, b = fill(
        store,
        episode(["x", "y", "z"], [0.9, 0.5, 0.1], 1.0),
        episode(["x", "y"], [0.9, 0.75], None),
    )
    found = [(row["trajectory"], row["step"], row["outcome"]) for row in drops(store, over=0.1)]
    assert found == [(a.id, 1, 1.0), (a.id, 2, 1.0), (b.id, 1, None)]
    assert [row["delta"] for row in drops(store, over=0.2)] == pytest.approx([-0.4, -0.4])
    assert len(drops(store, over=0.1, limit=1)) == 1
    assert "no step lost more than 0.5" in drops(store, over=0.5).note


def test_recovery_compares_episodes_with_and_without_a_large_loss(store):
    fill(
        store,
        episode(["x", "y"], [0.9, 0.1], 1.0),
        episode(["x", "y"], [0.9, 0.1], 0.0),
        episode(["x", "y"], [0.5, 0.6], 1.0),
        episode(["x", "y"], [0.5, 0.1], None),
    )
    (row,) = recovery(store)
    assert (row["n"], row["recovered"], row["n_without"], row["success_without"]) == (2, 0.5, 1, 1.0)
    assert (row["low"], row["high"]) == pytest.approx(wilson(1, 2))


def test_the_agent_with_the_largest_loss_of_the_family_is_blamed(store):
    root = episode(["x", "y"], [0.9, 0.7], 0.0, policy="boss")
    child = episode(["x", "y"], [0.9, 0.1], 1.0, policy="hand", parent=Fork(root[0].id, 0, "call-1"))
    again = episode(["x", "y"], [0.9, 0.0], 0.0, policy="boss", parent=Fork(root[0].id, 0, None, {"drop": True}))
    fill(store, root, child, again)
    rows = {row["agent"]: row for row in subagents(store)}
    assert rows.keys() == {"boss", "boss / hand"}, "an episode played again is no agent"
    assert (rows["boss / hand"]["blamed"], rows["boss"]["blamed"]) == (1.0, 0.0)
    assert rows["boss / hand"]["mean_delta"] == pytest.approx(-0.8)


def test_an_episode_played_again_counts_only_when_asked_for(store):
    root = episode(["x", "y"], [0.9, 0.1], 0.0)
    fill(store, root, episode(["x", "y"], [0.9, 0.2], 0.0, parent=Fork(root[0].id, 1)))
    assert [row["trajectory"] for row in sinking_steps(store)] == [root[0].id]
    assert len(sinking_steps(store, forks=True)) == 2
