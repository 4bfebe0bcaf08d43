from dataclasses import dataclass
from typing import ClassVar

import pytest

from agentprm.errors import UnitError
from agentprm.labels.lookahead import Lookahead
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.scorers.constant import Constant
from agentprm.spec import make
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Scores, Spec

TURNS = [("a", "b"), ("c", "d"), ("e", "f")]


@dataclass(frozen=True)
class Saw:
    """A critic that has seen what steps led to, and says given values."""

    values: tuple[float | None, ...]
    start: int = 0
    sees: ClassVar[str] = "result"
    unit: ClassVar[str] = "value"
    spec: ClassVar[Spec] = Spec("saw")

    def __call__(self, trajectories, /):
        return [Scores(t.id, self.spec, "value", self.values, start=self.start, sees="result") for t in trajectories]


class TestContract(ScorerContract):
    def make_scorer(self):
        return Lookahead(Constant(0.25))


def labels(critic, trajectory):
    return Lookahead(critic)([trajectory])[0].values


def test_a_step_is_worth_what_it_led_to_and_the_last_one_the_outcome():
    assert labels(Saw((0.2, 0.5, 0.9)), episode(*TURNS, outcome=0.0)) == (0.2, 0.5, 0.0)


def test_the_last_step_of_an_unfinished_episode_is_worth_what_the_critic_says():
    assert labels(Saw((0.2, 0.5, 0.9)), episode(*TURNS, status=None)) == (0.2, 0.5, 0.9)


def test_a_step_on_which_the_critic_has_no_opinion_has_no_label():
    assert labels(Saw((None, 0.5), start=0), episode(*TURNS, status=None)) == (None, 0.5, None)
    assert labels(Saw((0.5,), start=1), episode(*TURNS, outcome=1.0)) == (None, 0.5, 1.0)


def test_of_a_fork_only_what_is_its_own_has_a_label():
    trajectory = next(t for t in corridors(20) if len(t) > 2)
    fork, ended = Replay(Corridor(), RandomPolicy()).instead(trajectory, 2, ["wait", trajectory.steps[2].action.native])
    assert labels(Saw((0.2, 0.5, 0.9)), fork) == (None, None, 0.9)
    assert labels(Saw((0.2, 0.5, 0.9)), ended)[:2] == (None, None)


def test_an_episode_without_steps_has_no_labels():
    assert labels(Saw(()), episode(outcome=1.0)) == ()


def test_a_critic_gives_values():
    with pytest.raises(UnitError, match="reward"):
        Lookahead(Constant(0.5, unit="reward"))


def test_it_is_remade_from_its_spec():
    assert make(Lookahead(Constant(0.25)).spec) == Lookahead(Constant(0.25))
