import math

import pytest
import torch

from agentprm.errors import InvalidSpec, TrainingError, UnitError
from agentprm.ops.losses import class_cross_entropy
from agentprm.scorers.discriminative import Discriminative
from agentprm.spec import load_scorer
from agentprm.testing.scorer import StepRewardModelContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.types import Scores, Spec

PLAYED = corridors(8)
TOKENIZER = train_tokenizer([*texts(PLAYED), "apple river stone cloud recite number say the end"], vocab_size=360)


def fresh(**options):
    return Discriminative.tiny(TOKENIZER, **{"hidden": 32, "layers": 1, "heads": 2, "context": 512, **options})


def label(trajectory, values, unit="correctness"):
    return trajectory, Scores(trajectory.id, Spec("given"), unit, tuple(values))


class TestContract(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 1e-3

    def make_model(self):
        return fresh(hidden=64)

    def make_labels(self):
        return [label(trajectory, scores.values) for trajectory, scores in super().make_labels()]


class TestContractOfThreeClassesOfResults(TestContract):
    def make_model(self):
        return fresh(hidden=64, classes=3, sees="result")


class TestContractOfAModelOfValues(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 1e-3

    def make_model(self):
        return fresh(hidden=64, unit="value")


def said(model, *logits):
    """Let the head say this of every step."""
    with torch.no_grad():
        model.reader.head.bias.copy_(torch.tensor(logits))
    return model


def test_of_two_classes_it_says_how_likely_right_is():
    scores = said(fresh(), 0.0, math.log(3))([episode(("a", "b"))])[0]
    assert scores.values == pytest.approx([0.75])
    assert scores.unit == "correctness"
    assert {name: part[0] for name, part in scores.parts.items()} == pytest.approx({"wrong": 0.25, "right": 0.75})


@pytest.mark.parametrize(("neutral", "expected"), [(0.5, 0.5), (1.0, 0.75), (0.0, 0.25)])
def test_of_three_classes_neutral_counts_as_much_as_one_says(neutral, expected):
    model = said(fresh(classes=3, neutral=neutral), 0.0, math.log(2), 0.0)
    scores = model([episode(("a", "b"), ("c", ""))])[0]
    assert scores.values[0] == pytest.approx(expected)
    assert scores.values[1] is None
    assert scores.parts["neutral"] == (pytest.approx(0.5), None)


@pytest.mark.parametrize(
    ("classes", "target", "expected"),
    [
        (2, 1.0, math.log(4 / 3)),
        (2, 0.0, math.log(4)),
        (2, 0.25, 0.75 * math.log(4) + 0.25 * math.log(4 / 3)),
        (3, 0.0, math.log(4)),
        (3, 0.5, math.log(2)),
        (3, 1.0, math.log(4)),
        (3, 0.3, 0.4 * math.log(4) + 0.6 * math.log(2)),
        (3, 0.75, 0.5 * math.log(2) + 0.5 * math.log(4)),
    ],
)
def test_the_loss_of_one_step_by_hand(classes, target, expected):
    model = said(fresh(classes=classes), *((0.0, math.log(3)) if classes == 2 else (0.0, math.log(2), 0.0)))
    assert float(model.loss([label(episode(("a", "b")), [target])]).detach()) == pytest.approx(expected)


def test_a_soft_label_is_not_rounded():
    logits, targets = torch.zeros(2, 2), torch.tensor([0.9, 0.4])
    logits[:, 1] = 2.0
    ones = class_cross_entropy(logits[:1], targets.new_tensor([1.0])), class_cross_entropy(logits, targets)
    assert ones[1] > ones[0]


def test_labels_are_of_its_own_unit():
    model, trajectory = fresh(), episode(("a", "b"))
    with pytest.raises(UnitError, match="discriminative learns correctness, and given gives a value"):
        model.loss([label(trajectory, [1.0], unit="value")])
    with pytest.raises(TrainingError, match="correctness is a chance"):
        model.loss([label(trajectory, [-1.0])])


def test_what_it_is_comes_back_from_its_folder(tmp_path):
    said(fresh(classes=3, neutral=1.0, unit="value"), 0.5, 0.0, 1.0).save(tmp_path)
    again = load_scorer(tmp_path)
    assert (again.classes, again.neutral, again.unit) == (3, 1.0, "value")
    assert again([episode(("a", "b"))])[0].values[0] == pytest.approx(0.6926, abs=1e-3)


@pytest.mark.parametrize("bad", [{"classes": 4}, {"neutral": 1.5}, {"unit": "reward"}, {"neutral": float("nan")}])
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(InvalidSpec):
        fresh(**bad)
