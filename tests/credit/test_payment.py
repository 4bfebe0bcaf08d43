"""What a learner was paid, on a real wrapper."""

import gymnasium as gym
import pytest

from agentprm import PRMRewardWrapper, Store, rollout
from agentprm.credit import paid, shaping
from agentprm.record.policies import RandomPolicy

SCORER = "constant:value=0.5"


def played(path, episodes=12, **options):
    """Return the wrapped environment, after episodes played into a store."""
    env = PRMRewardWrapper(gym.make("FrozenLake-v1"), SCORER, str(path), outcome="reward", **options)
    rollout(RandomPolicy(space=env.action_space), env, episodes=episodes, progress=False)
    env.close()


@pytest.mark.parametrize("terms", [{}, {"gamma": 0.9, "weight": 2.0, "start": 0.25}], ids=["plain", "discounted"])
def test_potential_shaping_keeps_the_optimum(tmp_path, terms):
    played(tmp_path / "runs.db", **terms)
    with Store(tmp_path / "runs.db") as store:
        (row,) = shaping(store)
    expected = -terms.get("weight", 1.0) * terms.get("start", 0.0)
    assert (row["n"], row["kept"], row["shaping"].split("@")[0]) == (12, "yes", "potential")
    assert (row["expected"], row["added"]) == pytest.approx((expected, expected))
    assert row["worst"] < 1e-9


def test_adding_scores_does_not(tmp_path):
    played(tmp_path / "runs.db", shape="add")
    with Store(tmp_path / "runs.db") as store:
        (row,) = shaping(store)
        (sums,) = paid(store)
    assert (row["kept"], row["expected"]) == ("no", 0.0)
    assert row["worst"] >= 0.5
    assert (sums["mean_score"], sums["added"], sums["low"], sums["high"]) == pytest.approx((0.5, 0.5, 0.5, 0.5))
    assert sums["mean_given"] == pytest.approx(sums["mean_env"] + 0.5)


def test_recipes_stand_apart_and_unshaped_steps_too(tmp_path):
    played(tmp_path / "runs.db", episodes=2, shape="add")
    played(tmp_path / "runs.db", episodes=3, shape="add", weight=0.1)
    with Store(tmp_path / "runs.db") as store:
        env = gym.make("FrozenLake-v1")
        rollout(RandomPolicy(space=env.action_space), env, episodes=1, store=store, progress=False)
        rows = {row["episodes"]: row for row in paid(store)}
    assert {k: row["shaping"].split("@")[0] for k, row in rows.items()} == {1: "unshaped", 2: "add", 3: "add"}
    assert rows[1]["added"] == 0.0
    assert rows[3]["added"] == pytest.approx(0.05)
