from agentprm.labels.outcome import Outcome
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import episode

TURNS = [("a", "b"), ("c", "d"), ("e", "f")]


def values(trajectory, **kwargs):
    return Outcome(**kwargs)([trajectory])[0].values


class TestContract(ScorerContract):
    def make_scorer(self):
        return Outcome()


class TestContractOfTheLastStep(ScorerContract):
    def make_scorer(self):
        return Outcome(last_only=True)


def test_every_step_gets_the_outcome():
    assert values(episode(*TURNS, outcome=0.75)) == (0.75, 0.75, 0.75)


def test_only_the_last_step_gets_it_for_an_outcome_reward_model():
    assert values(episode(*TURNS, outcome=0.75), last_only=True) == (None, None, 0.75)


def test_an_unknown_outcome_labels_nothing():
    assert values(episode(*TURNS, outcome=None)) == (None, None, None)
    assert values(episode(*TURNS, status=None)) == (None, None, None)


def test_a_time_limit_with_an_outcome_labels_all():
    assert values(episode(*TURNS, outcome=0.0, status="truncated")) == (0.0, 0.0, 0.0)


def test_an_episode_without_steps_has_no_labels():
    assert values(episode(outcome=1.0)) == values(episode(outcome=1.0), last_only=True) == ()
