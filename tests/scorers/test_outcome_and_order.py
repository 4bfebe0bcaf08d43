"""Heads that learn an outcome at the end, an order along an episode, and an order within a state."""

import math

import pytest
import torch

from agentprm.errors import InvalidSpec, UnitError
from agentprm.ops.losses import ranking_error, soft_cross_entropy
from agentprm.scorers.orm import ORM
from agentprm.scorers.pairwise import Pairwise
from agentprm.scorers.ranking import Ranking
from agentprm.spec import load_scorer
from agentprm.testing.scorer import StepRewardModelContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.types import Scores, Spec

PLAYED = corridors(8)
TOKENIZER = train_tokenizer([*texts(PLAYED), "apple river stone cloud recite number say the end"], vocab_size=360)
SMALL = {"hidden": 64, "layers": 1, "heads": 2, "context": 512}


def label(trajectory, *values, unit="value"):
    return trajectory, Scores(trajectory.id, Spec("given"), unit, values)


def said(model, weight=None):
    """Let the head say something different of every step, so that losses differ."""
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        model.reader.head.weight.copy_(torch.randn(model.reader.head.weight.shape, generator=generator))
    return model


def logits(model, *trajectories):
    windows = [window for t in trajectories for window in model.read(t)[0]]
    return model.reader(windows).squeeze(-1)


class TestORM(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 1e-3

    def make_model(self):
        return ORM.tiny(TOKENIZER, **SMALL)

    def make_labels(self):
        """Those of last steps: it learns nothing else."""
        return [label(t, *[None] * (len(t) - 1), scores.values[-1]) for t, scores in super().make_labels()]


class TestPairwise(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 1e-3

    def make_model(self):
        return Pairwise.tiny(TOKENIZER, **SMALL)


class TestRanking(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 3e-3
    steps = 300

    def make_model(self):
        return Ranking.tiny(TOKENIZER, unit="value", **SMALL)

    def make_labels(self):
        """Right or wrong: it learns no heights."""
        return [
            label(t, *(None if v is None else float(v >= 0.5) for v in scores.values))
            for t, scores in super().make_labels()
        ]


def test_an_outcome_model_learns_from_last_steps_only():
    model, trajectory = said(ORM.tiny(TOKENIZER, **SMALL)), episode(("a door", "open"), ("a hall", "walk"))
    expected = soft_cross_entropy(logits(model, trajectory)[1:], torch.tensor([0.25]))
    assert model.loss([label(trajectory, 0.9, 0.25)]).item() == pytest.approx(expected.item())


def test_ranking_is_per_trajectory_and_the_mean_of_them():
    model = said(Ranking.tiny(TOKENIZER, zeta=2.0, **SMALL))
    one, two = episode(("a door", "open"), ("a hall", "walk"), ("a wall", "stop")), episode(("a key", "take"))
    numbers = logits(model, one, two)
    expected = [
        ranking_error(numbers[:3], torch.tensor([True, False, True]), 2.0),
        ranking_error(numbers[3:], torch.tensor([True]), 2.0),
    ]
    batch = [label(one, 1.0, 0.4, 0.5, unit="correctness"), label(two, 1.0, unit="correctness")]
    assert model.loss(batch).item() == pytest.approx(sum(expected).item() / 2)


def test_only_actions_in_the_same_state_are_compared():
    model = said(Pairwise.tiny(TOKENIZER, absolute=0.0, **SMALL))
    left, right = episode(("a door", "open")), episode(("a door", "wait"))
    elsewhere = episode(("a wall", "wait"))
    a, b = logits(model, left, right).tolist()
    batch = [label(left, 1.0), label(right, 0.0), label(elsewhere, 0.5)]
    assert model.loss(batch).item() == pytest.approx(math.log1p(math.exp(b - a)))


def test_the_same_decision_after_another_history_is_another_state():
    model = said(Pairwise.tiny(TOKENIZER, absolute=0.0, **SMALL))
    one, two = episode(("a door", "open"), ("a hall", "walk")), episode(("a door", "wait"), ("a hall", "stop"))
    a, b = logits(model, one, two)[[0, 2]].tolist()
    batch = [label(one, 1.0, 1.0), label(two, 0.0, 0.0)]
    assert model.loss(batch).item() == pytest.approx(math.log1p(math.exp(b - a)))


def test_labels_nearer_than_delta_are_no_pair():
    model = said(Pairwise.tiny(TOKENIZER, absolute=0.0, delta=0.2, **SMALL))
    left, right = episode(("a door", "open")), episode(("a door", "wait"))
    assert model.loss([label(left, 0.6), label(right, 0.5)]).item() == 0
    assert model.loss([label(left, 0.8), label(right, 0.5)]).item() > 0


def test_the_weight_of_the_labels_themselves():
    options = {"seed": 3, **SMALL}
    order, both = (said(Pairwise.tiny(TOKENIZER, absolute=w, **options)) for w in (0.0, 2.0))
    left, right = episode(("a door", "open")), episode(("a door", "wait"))
    batch = [label(left, 1.0), label(right, 0.0)]
    heights = soft_cross_entropy(logits(order, left, right), torch.tensor([1.0, 0.0]))
    assert both.loss(batch).item() == pytest.approx((order.loss(batch) + 2 * heights).item())


@pytest.mark.parametrize("model", [ORM, Pairwise], ids=["orm", "pairwise"])
def test_other_units_are_refused(model):
    with pytest.raises(UnitError, match=f"{model.name} learns values, and given gives a correctness"):
        trajectory = episode(("a", "b"))
        model.tiny(TOKENIZER, **SMALL).loss([label(trajectory, 1.0, unit="correctness")])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Ranking.tiny(TOKENIZER, zeta=-1.0), "zeta=-1.0 is 0 or more"),
        (lambda: Ranking.tiny(TOKENIZER, zeta=math.nan), "zeta=nan"),
        (lambda: Ranking.tiny(TOKENIZER, unit="reward"), "unit='reward'"),
        (lambda: Pairwise.tiny(TOKENIZER, delta=0.0), "delta=0.0 is above 0"),
        (lambda: Pairwise.tiny(TOKENIZER, absolute=-1.0), "absolute=-1.0 is 0 or more"),
    ],
    ids=range(5),
)
def test_settings_out_of_range_are_refused(make, match):
    with pytest.raises(InvalidSpec, match=match):
        make()


def test_settings_come_back_from_the_folder(tmp_path):
    Pairwise.tiny(TOKENIZER, delta=0.2, absolute=0.5, unit="correctness", **SMALL).save(tmp_path)
    again = load_scorer(tmp_path)
    assert (type(again), again.delta, again.absolute, again.unit) == (Pairwise, 0.2, 0.5, "correctness")
