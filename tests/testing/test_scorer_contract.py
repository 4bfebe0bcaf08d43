"""The contracts catch what they are there to catch."""

import random
from dataclasses import dataclass
from typing import ClassVar

import pytest

from agentprm.scorers.constant import Constant
from agentprm.scorers.hashed import Hashed
from agentprm.spec import register
from agentprm.testing.scorer import ScorerContract, StepRewardModelContract
from agentprm.types import Scores, Spec

SMALL = {"buckets": 512, "crosses": 1024, "dim": 8, "hidden": 8}


class TestConstant(ScorerContract):
    def make_scorer(self):
        return Constant(0.5)


class TestSilence(ScorerContract):
    def make_scorer(self):
        return Constant(None)


@register("faulty")
@dataclass(frozen=True)
class Faulty:
    fault: str = ""
    sees: ClassVar[str] = "action"
    unit: ClassVar[str] = "value"

    @property
    def spec(self):
        return Spec("faulty", {} if self.fault == "forgets" else {"fault": self.fault})

    def __call__(self, trajectories, /):
        scored = [self.score(t, len(trajectories)) for t in trajectories]
        return scored[::-1] if self.fault == "disorder" else scored

    def score(self, t, company):
        values = [len(s.action.text) % 7 / 7 for s in t.steps]
        match self.fault:
            case "outcome":
                values = [t.outcome or 0.0] * len(t)
            case "result":
                values = [len(o.text) % 7 / 7 for o in t.observations[1:]]
            case "reward":
                values = [min(1.0, abs(s.reward) / 10) for s in t.steps]
            case "output":
                values = [sum(c.output is not None for c in s.action.tool_calls) / 9 for s in t.steps]
            case "length":
                values = [len(t) / 100] * len(t)
            case "company":
                values = [company / 100] * len(t)
            case "chance":
                values = [random.random() for _ in t.steps]
            case "short":
                values = values[:-1]
            case "beyond":
                values = [2.0] * len(t)
            case "forgets":
                values = [0.5] * len(t)
        unit = "reward" if self.fault == "unit" else "value"
        return Scores(t.id, Spec("faulty") if self.fault == "source" else self.spec, unit, tuple(values), sees="action")


@dataclass(frozen=True)
class Looker:
    """Sees the result of a step, and perhaps more than that."""

    looks_at: str
    sees: ClassVar[str] = "result"
    unit: ClassVar[str] = "value"
    spec: ClassVar[Spec] = Spec("looker")

    def __call__(self, trajectories, /):
        return [
            Scores(t.id, self.spec, "value", tuple(map(float, self.values(t))), sees="result") for t in trajectories
        ]

    def values(self, t):
        ended = [False] * (len(t) - 1) + [t.ending is not None] if t.steps else []
        match self.looks_at:
            case "flags":
                return [bool(end and (t.ending.terminated or t.ending.truncated)) for end in ended]
            case "result":
                return [len(o.text) % 7 / 7 for o in t.observations[1:]]
            case "outcome":
                return [(t.outcome or 0.0) if end else 0.0 for end in ended]
            case "info":
                return [bool(s.info.get("success")) for s in t.steps]


@pytest.mark.parametrize("looks_at", ["flags", "result"])
def test_a_scorer_may_look_at_what_its_sight_allows(looks_at):
    contract(lambda: Looker(looks_at)).test_what_lies_beyond_its_sight_changes_nothing()


@pytest.mark.parametrize("looks_at", ["outcome", "info"])
def test_a_scorer_of_results_may_not_look_further(looks_at):
    with pytest.raises(AssertionError):
        contract(lambda: Looker(looks_at)).test_what_lies_beyond_its_sight_changes_nothing()


def contract(scorer, of=ScorerContract):
    class Contract(of):
        def make_scorer(self):
            return scorer()

        make_model = make_scorer

    return Contract()


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("disorder", "every_step_is_scored_in_order"),
        ("short", "every_step_is_scored_in_order"),
        ("beyond", "scores_say_where_they_come_from"),
        ("unit", "scores_say_where_they_come_from"),
        ("source", "scores_say_where_they_come_from"),
        ("company", "the_company_changes_nothing"),
        ("chance", "the_company_changes_nothing"),
        ("chance", "it_draws_no_chance_of_others"),
        ("outcome", "what_lies_beyond_its_sight_changes_nothing"),
        ("result", "what_lies_beyond_its_sight_changes_nothing"),
        ("reward", "what_lies_beyond_its_sight_changes_nothing"),
        ("output", "what_lies_beyond_its_sight_changes_nothing"),
        ("length", "what_lies_beyond_its_sight_changes_nothing"),
    ],
)
def test_a_fault_is_caught(fault, test):
    getattr(contract(Faulty), f"test_{test}")()
    with pytest.raises(AssertionError):
        getattr(contract(lambda: Faulty(fault)), f"test_{test}")()


def test_a_spec_that_forgets_a_setting_is_caught():
    with pytest.raises(AssertionError):
        contract(lambda: Faulty("forgets")).test_it_is_remade_from_its_spec()


class Stubborn(Hashed):
    def loss(self, batch, /):
        return super().loss(batch) * 0


class Counting(Hashed):
    def loss(self, batch, /):
        return super().loss(batch) * len(batch)


class Nameless(Hashed):
    spec = Spec("hashed", SMALL)


@pytest.mark.parametrize(
    ("model", "test"),
    [
        (Stubborn, "it_learns_four_trajectories_by_heart"),
        (Counting, "labels_that_are_none_do_not_count"),
    ],
)
def test_a_faulty_model_is_caught(model, test):
    getattr(contract(lambda: Hashed(**SMALL), StepRewardModelContract), f"test_{test}")()
    with pytest.raises(AssertionError):
        getattr(contract(lambda: model(**SMALL), StepRewardModelContract), f"test_{test}")()


def test_weights_that_do_not_change_the_name_are_caught(tmp_path):
    with pytest.raises(AssertionError):
        contract(lambda: Nameless(**SMALL), StepRewardModelContract).test_training_changes_its_name(tmp_path)
