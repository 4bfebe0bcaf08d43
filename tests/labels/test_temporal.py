from dataclasses import dataclass
from typing import ClassVar

import pytest

from agentprm.errors import InvalidSpec, UnitError
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.scorers.constant import Constant
from agentprm.spec import make
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Scores, Spec

TURNS = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")]


@dataclass(frozen=True)
class Said:
    """A critic that says given values."""

    values: tuple[float | None, ...]
    start: int = 0
    unit: str = "value"
    sees: ClassVar[str] = "action"
    spec: ClassVar[Spec] = Spec("said")

    def __call__(self, trajectories, /):
        return [Scores(t.id, self.spec, self.unit, self.values, start=self.start) for t in trajectories]


def values(critic, trajectory, lambda_):
    return Temporal(critic, lambda_)([trajectory])[0].values


class TestContract(ScorerContract):
    def make_scorer(self):
        return Temporal(Constant(0.25), 0.5)


def test_targets_are_those_of_the_recursion():
    # G_3 = 1; G_2 = ½·0.8 + ½·1 = 0.9; G_1 = ½·0.4 + ½·0.9 = 0.65; G_0 = ½·0.2 + ½·0.65 = 0.425
    labels = values(Said((0.2, 0.4, 0.8, 0.1)), episode(*TURNS, outcome=1.0), 0.5)
    assert labels == pytest.approx((0.425, 0.65, 0.9, 1.0))


def test_lambda_1_gives_the_outcome_everywhere():
    played = corridors(5)
    assert [s.values for s in Temporal(Constant(0.3), 1.0)(played)] == [s.values for s in Outcome()(played)]


def test_lambda_0_gives_the_critic_back_except_at_the_end():
    assert values(Said((0.2, 0.4, 0.8, 0.1)), episode(*TURNS, outcome=1.0), 0.0) == (0.2, 0.4, 0.8, 1.0)


def test_where_the_critic_is_silent_the_next_target_stands():
    # G_2 = G_3 = 1; G_1 = ½·0.4 + ½·1 = 0.7; G_0 = G_1
    assert values(Said((None, 0.4, None, None)), episode(*TURNS, outcome=1.0), 0.5) == pytest.approx((0.7, 0.7, 1, 1))


def test_a_critic_without_any_opinion_gives_the_outcome():
    assert values(Constant(None), episode(*TURNS, outcome=0.5), 0.5) == (0.5,) * 4


def test_a_critic_of_later_steps_only_is_read_where_it_stands():
    assert values(Said((0.4,), start=1), episode(*TURNS, outcome=1.0), 0.5) == pytest.approx((0.7, 0.7, 1, 1))


def test_an_unknown_outcome_labels_nothing():
    assert values(Constant(0.5), episode(*TURNS), 0.5) == (None,) * 4
    assert values(Constant(0.5), episode(*TURNS, status=None), 0.5) == (None,) * 4


def test_a_time_limit_with_an_outcome_is_an_ending():
    assert values(Constant(0.5), episode(*TURNS, outcome=0.0, status="truncated"), 0.5)[-1] == 0.0


def test_an_episode_without_steps_has_no_labels():
    assert values(Constant(0.5), episode(outcome=1.0), 0.5) == ()


def test_the_critic_may_come_in_its_plain_form():
    assert Temporal("constant:value=0.5").critic == Constant(0.5)
    assert make({"name": "temporal", "params": {"critic": {"name": "constant", "params": {}}}}) == Temporal(Constant())


def test_a_critic_of_another_unit_is_refused():
    with pytest.raises(UnitError, match="reward"):
        Temporal(Constant(0.5, "reward"))


@pytest.mark.parametrize("lambda_", [-0.1, 1.1, float("nan")])
def test_lambda_lies_between_0_and_1(lambda_):
    with pytest.raises(InvalidSpec):
        Temporal(Constant(), lambda_)
