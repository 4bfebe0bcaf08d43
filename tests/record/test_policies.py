import pytest
from gymnasium.spaces import Discrete

from agentprm.errors import InvalidTrajectory
from agentprm.record.policies import RandomPolicy
from agentprm.testing.trajectories import episode

START = episode(status=None)


def test_it_chooses_every_listed_action_and_the_same_ones_for_the_same_seed():
    info = {"actions": ["a", "b", "c"]}
    first, again, other = ([policy(START, info) for _ in range(50)] for policy in map(RandomPolicy, (0, 0, 1)))
    assert set(first) == {"a", "b", "c"}
    assert first == again != other


def test_it_draws_from_a_space_where_nothing_is_listed():
    policies = [RandomPolicy(seed, Discrete(5)) for seed in (0, 0)]
    drawn = [[int(policy(START, {})) for _ in range(30)] for policy in policies]
    assert set(drawn[0]) == {0, 1, 2, 3, 4}
    assert drawn[0] == drawn[1]


def test_with_nothing_to_choose_from_it_says_so():
    with pytest.raises(InvalidTrajectory, match="space"):
        RandomPolicy()(START, {})


def test_it_proposes_actions():
    assert {a.text for a in RandomPolicy().propose(START, {"actions": ["a", "b"]}, 40)} == {"a", "b"}
