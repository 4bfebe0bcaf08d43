import copy
import random

import numpy as np
import pytest
import torch

from agentprm.errors import InvalidTrajectory, TrainingError
from agentprm.record.rollout import rollout
from agentprm.rl.clone import ClonedPolicy, clone
from agentprm.scorers._network import Network, Size
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Action, Observation, Step, Task, Trajectory, new_id

SMALL = Size(512, 1024, 8, 8)
START = episode(status=None, last="a door")


@pytest.fixture(scope="module")
def cloned():
    return clone([t for t in corridors(80) if t.outcome == 1.0], steps=60, size=SMALL)


def won(policy, n=60):
    return sum(t.outcome for t in rollout(policy, Corridor(), episodes=n, seeds=50_000)) / n


def test_successes_cloned_succeed_and_temperature_makes_them_erratic(cloned):
    assert won(cloned.at(0.0)) == 1.0
    assert won(cloned.at(1.0)) > won(cloned.at(30.0)) + 0.2


def test_chances_are_the_softmax_at_a_temperature():
    network = Network.fresh(SMALL, 0)
    network.run = lambda contexts: np.array([0.0, 2.0])
    info = {"actions": ["a", "b"]}
    chances = ClonedPolicy(network, temperature=2.0).probabilities(START, info)
    assert chances == pytest.approx({"a": 1 / (1 + np.e), "b": np.e / (1 + np.e)})
    assert ClonedPolicy(network, temperature=0.0).probabilities(START, info) == {"a": 0.0, "b": 1.0}


def test_the_same_seed_draws_the_same_and_another_draws_others(cloned):
    info = {"actions": ["go left", "go right", "wait"]}
    drawn = [[cloned.at(9.0).seeded(seed)(START, info) for _ in range(1)] for seed in range(20)]
    assert len({d[0] for d in drawn}) > 1
    one, again = cloned.at(9.0).seeded(3), cloned.at(9.0).seeded(3)
    assert [one(START, info) for _ in range(20)] == [again(START, info) for _ in range(20)]


def test_proposals_are_drawn_like_actions(cloned):
    info = {"actions": ["go left", "go right", "wait"]}
    policy = cloned.at(1e6)
    drawn = [action.text for action in policy.propose(START, info, 3000)]
    assert {text: drawn.count(text) / 3000 for text in info["actions"]} == pytest.approx(
        dict.fromkeys(info["actions"], 1 / 3), abs=0.05
    )


def test_cloning_is_reproducible_and_draws_no_global_chance():
    played = corridors(20)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = torch.rand(1), random.random(), np.random.random()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    one, other = (clone(played, steps=5, size=SMALL) for _ in range(2))
    assert (torch.rand(1), random.random(), np.random.random()) == expected
    assert one.network.digest() == other.network.digest() != clone(played, steps=5, seed=1, size=SMALL).network.digest()


def test_what_was_done_before_counts():
    info = {"actions": ["knock", "enter"]}
    steps = [Step(Observation("a door"), Action(text), info=info) for text in ("knock", "enter")]
    called = Trajectory(new_id(), Task("visit"), tuple(steps), Observation("a hall"), meta={"info": info})
    policy = clone([called], steps=60, size=SMALL).at(0.0)
    first = Trajectory(new_id(), Task("visit"), (), Observation("a door"))
    assert policy(first, info) == "knock"
    assert policy(first.append(steps[0], Observation("a door")), info) == "enter"


def test_a_copy_draws_on_by_itself(cloned):
    info, policy = {"actions": ["go left", "go right", "wait"]}, cloned.at(9.0)
    again = copy.deepcopy(policy)
    assert [policy(START, info) for _ in range(9)] == [again(START, info) for _ in range(9)]


def test_without_listed_actions_there_is_nothing_to_clone_or_choose(cloned):
    with pytest.raises(TrainingError, match="actions"):
        clone([episode(("a", "b"), outcome=1.0)])
    with pytest.raises(InvalidTrajectory, match="actions"):
        cloned(START, {})


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_a_temperature_is_not_negative(cloned, temperature):
    with pytest.raises(InvalidTrajectory):
        cloned.at(temperature)
