"""Several scorers as one."""

import pytest

from agentprm import make
from agentprm.errors import InvalidSpec, UnitError
from agentprm.labels.outcome import Outcome
from agentprm.scorers.constant import Constant
from agentprm.scorers.ensemble import Ensemble
from agentprm.scorers.hashed import Hashed
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors


class TestEnsembleOfConstants(ScorerContract):
    def make_scorer(self):
        return Ensemble((Constant(0.25), Constant(0.75), Constant(None)), combine="min")


class TestEnsembleOfModels(ScorerContract):
    def make_scorer(self):
        return Ensemble((Hashed(seed=0), Hashed(seed=1)))


@pytest.fixture
def played():
    return corridors(1, seed=0)


def test_mean_least_and_spread_by_hand(played):
    members = (Constant(0.1), Constant(0.3), Constant(0.8))
    mean, least = Ensemble(members)(played)[0], Ensemble(members, combine="min")(played)[0]
    assert mean.values[0] == pytest.approx(0.4)
    assert least.values[0] == 0.1
    # (0.3² + 0.1² + 0.4²) / 3 = 0.26 / 3
    assert mean.parts["spread"][0] == least.parts["spread"][0] == pytest.approx((0.26 / 3) ** 0.5)


def test_those_without_an_opinion_do_not_count(played):
    scores = Ensemble((Constant(None), Constant(0.3)))(played)[0]
    assert (scores.values[0], scores.parts["spread"][0]) == (0.3, 0.0)
    nobody = Ensemble((Constant(None),))(played)[0]
    assert (nobody.values[0], nobody.parts["spread"][0]) == (None, None)


def test_it_sees_as_far_as_the_farthest():
    assert Ensemble((Constant(0.5), Outcome())).sees == "episode"
    assert Ensemble((Constant(0.5), Constant(0.1))).sees == "action"


def test_every_member_is_asked_once_whatever_the_number_of_trajectories():
    asked = []

    class Counting(Constant):
        def __call__(self, trajectories, /):
            asked.append(len(trajectories))
            return super().__call__(trajectories)

    Ensemble((Counting(0.5), Counting(0.6)))(corridors(5, seed=0))
    assert asked == [5, 5]


def test_units_are_not_mixed():
    with pytest.raises(UnitError, match=r"share one unit.*'constant': 'reward', 'outcome': 'value'"):
        Ensemble((Constant(1.0, unit="reward"), Outcome()))


@pytest.mark.parametrize(
    ("params", "match"),
    [({"scorers": []}, "at least one"), ({"scorers": ["constant"], "combine": "max"}, "mean.*min.*not 'max'")],
    ids=["empty", "unknown"],
)
def test_what_cannot_be_an_ensemble_is_refused(params, match):
    with pytest.raises(InvalidSpec, match=match):
        make({"name": "ensemble", "params": params})
