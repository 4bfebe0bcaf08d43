from dataclasses import dataclass
from typing import ClassVar

import pytest

from agentprm.errors import InvalidSpec, UnitError
from agentprm.labels.consensus import Consensus
from agentprm.labels.monte_carlo import MonteCarlo
from agentprm.labels.outcome import Outcome
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.scorers.constant import Constant
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Scores, Spec

TURNS = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")]


@dataclass(frozen=True)
class Said:
    """A judge that says given values."""

    values: tuple[float | None, ...]
    unit: str = "correctness"
    start: int = 0
    sees: ClassVar[str] = "episode"
    spec: ClassVar[Spec] = Spec("said")

    def __call__(self, trajectories, /):
        return [Scores(t.id, self.spec, self.unit, self.values, start=self.start) for t in trajectories]


def labels(*judges, **kwargs):
    return Consensus(judges, **kwargs)([episode(*TURNS, outcome=0.0)])[0].values


class TestContract(ScorerContract):
    def make_scorer(self):
        return Consensus((Outcome(), Constant(0.25)), thresholds=(0.0, 0.5))


def test_steps_are_right_up_to_the_first_wrong_one_that_all_find():
    assert labels(Said((0.9, 0.6, 0.2, 0.9)), Said((0.8, 0.8, 0.5, 0.1))) == (1.0, 1.0, 0.0, None)


def test_an_error_at_the_first_step_leaves_one_label():
    assert labels(Said((0.1, 0.9, 0.9, 0.9)), Said((0.0, 0.0, 0.0, 0.0))) == (0.0, None, None, None)


def test_where_nobody_finds_an_error_all_steps_are_right():
    assert labels(Said((0.9, 0.9, 0.9, 0.9)), Said((0.6, 0.7, 0.8, 0.9))) == (1.0,) * 4


@pytest.mark.parametrize("other", [(0.9, 0.1, 0.9, 0.9), (0.9, 0.9, 0.9, 0.1), (0.9, 0.9, 0.9, 0.9)])
def test_judges_that_disagree_label_nothing(other):
    assert labels(Said((0.9, 0.9, 0.1, 0.9)), Said(other)) == (None,) * 4
    assert labels(Said(other), Said((0.9, 0.9, 0.1, 0.9)), Said((0.9, 0.9, 0.1, 0.9))) == (None,) * 4


def test_no_opinion_before_an_error_is_none_at_all_and_after_it_does_not_matter():
    sure = Said((0.9, 0.1, 0.9, 0.9))
    assert labels(sure, Said((None, 0.1, 0.9, 0.9))) == (None,) * 4
    assert labels(sure, Said((0.9, 0.1, None, None))) == (1.0, 0.0, None, None)
    assert labels(Said((None,) * 4), Said((None,) * 4)) == (None,) * 4
    assert labels(Said((0.9,) * 4), Said((0.9, 0.9, 0.9, None))) == (None,) * 4


def test_scores_that_start_later_have_no_opinion_before():
    assert labels(Said((0.9, 0.1, 0.9, 0.9)), Said((0.9, 0.1, 0.9), start=1)) == (None,) * 4
    assert labels(Said((0.9, 0.1, 0.9, 0.9)), Said((0.9, 0.1))) == (1.0, 0.0, None, None)


def test_a_value_is_wrong_when_nothing_succeeded_and_a_verdict_when_it_is_no_likelier_right():
    value, verdict = Said((0.125, 0.25, 0.0, 0.5), "value"), Said((0.9, 0.6, 0.5, 0.9))
    assert labels(value, verdict) == (1.0, 1.0, 0.0, None)
    assert Consensus((value, verdict)).thresholds == (0.0, 0.5)
    assert labels(value, verdict, thresholds=(0.2, 0.9)) == (0.0, None, None, None)


def test_two_estimates_by_rollouts_mostly_find_the_step_after_which_nothing_succeeds():
    played = [t for t in corridors(60, seed=1, max_rounds=4) if t.outcome == 0.0]
    judges = [MonteCarlo(Replay(Corridor(4), RandomPolicy(seed)), rollouts=32) for seed in (0, 1)]
    agreed = 0
    for labelled in Consensus(judges)(played):
        if labelled.values[0] is not None:
            wrong, agreed = labelled.values.index(0.0), agreed + 1
            assert all(v == 1.0 for v in labelled.values[:wrong])
            assert all(v is None for v in labelled.values[wrong + 1 :])
    assert len(played) > agreed > len(played) / 2


def test_episodes_without_an_outcome_are_not_labelled_by_it():
    assert Consensus(("outcome", "constant:value=0.9"))([episode(*TURNS, status=None)])[0].values == (None,) * 4


@pytest.mark.parametrize("judges", [(), ("outcome",)])
def test_one_judge_is_no_consensus(judges):
    with pytest.raises(InvalidSpec, match="two or more"):
        Consensus(judges)


def test_rewards_judge_nothing():
    with pytest.raises(UnitError):
        Consensus((Constant(0.5, "reward"), Constant(0.5)))


@pytest.mark.parametrize("thresholds", [(0.5,), (0.5, 1.0), (-0.1, 0.5), (0.5, float("nan")), (0.1, 0.2, 0.3)])
def test_there_is_one_threshold_for_each_judge(thresholds):
    with pytest.raises(InvalidSpec):
        Consensus(("outcome", "outcome"), thresholds)
