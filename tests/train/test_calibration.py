"""Finding the map from episodes that went well or badly."""

import random
from dataclasses import dataclass
from typing import ClassVar

import pytest

from agentprm.errors import TrainingError
from agentprm.scorers.constant import Constant
from agentprm.spec import make
from agentprm.train.calibrate import calibrate
from agentprm.types import Action, Ending, Observation, Scores, Spec, Step, Task, Trajectory, new_id


@dataclass(frozen=True)
class Reading:
    """Says what the environment wrote into the step's reward."""

    sees: ClassVar[str] = "result"
    unit: ClassVar[str] = "value"
    spec: ClassVar[Spec] = Spec("reading")

    def __call__(self, trajectories, /):
        return [Scores(t.id, self.spec, "value", tuple(s.reward for s in t.steps), sees="result") for t in trajectories]


def episode(task, said, outcome):
    steps = tuple(Step(Observation("o"), Action("a"), reward=v) for v in said)
    ending = None if outcome is None else Ending("terminated", True, outcome=outcome)
    return Trajectory(new_id(), Task(task), steps, Observation("o"), ending)


@pytest.fixture
def boastful():
    """2,400 episodes: the scorer says .9 where six of ten succeed, .1 where four of ten do."""
    chance = random.Random(0)
    played = []
    for i in range(2400):
        said, share = ((0.9, 0.6), (0.1, 0.4))[i % 2]
        played.append(episode(f"task {i % 61}", [said], float(chance.random() < share)))
    return played


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_boastful_scorer_is_calmed_on_tasks_it_was_not_calmed_on(boastful, method):
    report = calibrate(Reading(), boastful, method=method)
    assert report.ece_before == pytest.approx(0.3, abs=0.06)
    assert report.ece_after < 0.06
    high, low = report.scorer([episode("new", [0.9, 0.1], None)])[0].values
    assert (high, low) == (pytest.approx(0.6, abs=0.06), pytest.approx(0.4, abs=0.06))
    assert report.n_steps + report.n_held_out == 2400


def test_held_out_episodes_change_nothing_in_the_map(boastful):
    whole, part = calibrate(Reading(), boastful, held_out=0.0), calibrate(Reading(), boastful, held_out=0.5)
    assert whole.ece_before is whole.ece_after is None
    assert (whole.n_steps, whole.n_held_out) == (2400, 0)
    assert part.scorer.temperature != whole.scorer.temperature


def test_the_calibrated_scorer_is_remade_from_its_spec(boastful):
    report = calibrate(Constant(0.9), boastful, method="isotonic")
    assert make(report.scorer.spec)(boastful[:1])[0].values == report.scorer(boastful[:1])[0].values


def test_episodes_without_an_outcome_do_not_count(boastful):
    with_more = calibrate(Reading(), [*boastful, *(episode("more", [0.9], None) for _ in range(50))], held_out=0.0)
    assert with_more.n_steps == 2400
    with pytest.raises(TrainingError, match="no step has both a score of reading and a label of outcome"):
        calibrate(Reading(), [episode(name, [0.5], None) for name in "abc"])


def test_an_unknown_method_is_refused(boastful):
    with pytest.raises(TrainingError, match="'temperature' or by 'isotonic', not 'platt'"):
        calibrate(Reading(), boastful, method="platt")
