"""Several processes play the same episodes as one."""

import gymnasium as gym
import pytest

from agentprm import PRMRewardWrapper, Store, rollout
from agentprm.errors import InvalidSpec

ENV = "agentprm_envs:BabyAIText/GoToLocal-v0"


class Seeded:
    """A policy whose chance is its seed's."""

    def __init__(self, seed=0):
        import random

        self.chance = random.Random(seed)

    def seeded(self, seed):
        return Seeded(seed)

    def __call__(self, trajectory, info):
        return self.chance.choice(info["actions"])


def facts(played):
    return [(t.seed, [s.action.text for s in t.steps], t.outcome) for t in played]


def test_the_same_episodes_come_out_in_the_order_of_their_seeds(tmp_path):
    path = tmp_path / "runs.db"
    two = rollout(Seeded(), gym.make(ENV), episodes=7, seeds=5, workers=2, store=path)
    assert [t.seed for t in two] == list(range(5, 12))
    one = rollout(Seeded(), gym.make(ENV), episodes=7, seeds=5, workers=3)
    assert facts(one) == facts(two)
    with Store(path) as store:
        stored = sorted(store.trajectories(), key=lambda t: t.seed)
    assert facts(stored) == facts(two)
    assert [t.id for t in stored] == [t.id for t in two]


def test_an_environment_that_records_already_records_once_in_every_process(tmp_path):
    path = tmp_path / "runs.db"
    env = PRMRewardWrapper(gym.make(ENV), "constant:value=0.5", path)
    played = rollout(Seeded(), env, episodes=2, workers=2, store=path)
    with Store(path) as store:
        assert sorted(t.id for t in store.trajectories()) == sorted(t.id for t in played)
        assert len(list(store.scores())) == 2


def test_what_cannot_be_remade_is_refused_before_a_process_starts():
    with pytest.raises(InvalidSpec, match="no spec"):
        rollout(Seeded(), gym.make(ENV).unwrapped.__class__(level="GoToLocal"), episodes=2, workers=2)
    with Store(":memory:") as store, pytest.raises(InvalidSpec, match="another process"):
        rollout(Seeded(), gym.make(ENV), episodes=2, workers=2, store=store)
