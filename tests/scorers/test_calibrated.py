"""A scorer seen through a rising map."""

import pytest

from agentprm import make
from agentprm.errors import InvalidSpec, UnitError
from agentprm.scorers.calibrated import Calibrated
from agentprm.scorers.constant import Constant
from agentprm.scorers.ensemble import Ensemble
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors


class TestByTemperature(ScorerContract):
    def make_scorer(self):
        return Calibrated(Constant(0.9), temperature=2.0)


class TestByKnots(ScorerContract):
    def make_scorer(self):
        return Calibrated("constant:value=0.3", knots=[(0.2, 0.1), (0.4, 0.9)])


def test_values_by_hand():
    played = corridors(1, seed=0)
    assert Calibrated(Constant(0.9), temperature=2.0)(played)[0].values[0] == pytest.approx(0.75)
    assert Calibrated(Constant(0.3), knots=[(0.2, 0.1), (0.4, 0.9)])(played)[0].values[0] == pytest.approx(0.5)
    assert Calibrated(Constant(None), temperature=2.0)(played)[0].values[0] is None


def test_parts_pass_through():
    inner = Ensemble((Constant(0.2), Constant(0.6)))
    assert Calibrated(inner, temperature=3.0)(corridors(1, seed=0))[0].parts["spread"][0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"temperature": 0.0}, "above 0, not 0.0"),
        ({"temperature": float("nan")}, "above 0, not nan"),
        ({"temperature": "warm"}, "above 0, not 'warm'"),
        ({"knots": [[0.5, 0.2], [0.4, 0.3]]}, "rise from left to right"),
        ({"knots": [[0.1, 0.2], [0.4, 0.1]]}, "rise from left to right"),
        ({"knots": [[0.1, 1.2]]}, "chance in"),
        ({"knots": [[0.1, 0.2, 0.3]]}, "a pair"),
        ({"temperature": 2.0, "knots": [[0.1, 0.2]]}, "not by both"),
    ],
    ids=range(8),
)
def test_a_map_that_is_none_is_refused(params, match):
    with pytest.raises(InvalidSpec, match=match):
        make({"name": "calibrated", "params": {"scorer": Constant().spec.plain(), **params}})


def test_rewards_are_no_chances():
    with pytest.raises(UnitError, match="constant gives rewards"):
        Calibrated(Constant(1.0, unit="reward"))
