import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from agentprm.errors import InvalidSpec, TrainingError
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.scorers.constant import Constant
from agentprm.scorers.hashed import Hashed
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import corridors, episode
from agentprm.train.batches import Labelled
from agentprm.train.fit import Recipe, fit
from agentprm.types import Scores, Spec

SMALL = {"buckets": 512, "crosses": 1024, "dim": 8, "hidden": 8}
SHORT = Recipe(min_steps=20, max_steps=40, evaluate_every=1, batch_size=32)


def outcomes(n=60, seed=0):
    played = corridors(n, seed=seed)
    return list(zip(played, Outcome()(played), strict=True))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Weights:
    """A model of one number per task key, so that everything can be computed by hand."""

    sees, unit, spec = "action", "value", Spec("weights")

    def __init__(self, losses=None, stop_at=None):
        self.value = torch.nn.Parameter(torch.tensor([0.5]))
        self.losses, self.stop_at, self.seen = losses, stop_at, []

    def __call__(self, trajectories, /):
        return [Scores(t.id, self.spec, "value", (self.value.item(),) * len(t)) for t in trajectories]

    def loss(self, batch, /):
        if torch.is_grad_enabled():
            self.seen.append([t.id for t, _ in batch])
            if self.stop_at == len(self.seen):
                raise KeyboardInterrupt
        elif self.losses:
            return torch.tensor(self.losses.pop(0))
        return (self.value - torch.tensor([v for _, s in batch for v in s.values if v is not None])).square().mean()

    def parameters(self):
        return [self.value]


def test_a_trained_scorer_tells_the_right_door_from_the_wrong_one():
    model, played = Hashed(**SMALL), corridors(200)
    fit(model, Labelled(played, Outcome()), Recipe(min_steps=150, max_steps=150))
    env = Corridor()
    seen, info = env.reset(seed=12345)
    right, wrong = ("left", "right") if "left" in info["task"] else ("right", "left")
    start = episode((seen, f"go {right}"), (seen, f"go {wrong}"), task=info["task"])
    good, bad = (model([replace(start, steps=(step,))])[0].values[0] for step in start.steps)
    assert good > bad + 0.2


def test_the_same_seeds_give_the_same_weights_to_the_bit():
    pairs, models = outcomes(), [Hashed(**SMALL) for _ in range(2)]
    reports = [fit(model, pairs, SHORT) for model in models]
    assert torch.equal(*map(weights, models))
    assert reports[0].curve == reports[1].curve


def test_chance_within_a_model_follows_the_recipe():
    class Forgetful(Weights):
        def loss(self, batch, /):
            return super().loss(batch) * torch.rand(())

    models = []
    for seed in (0, 0, 1):
        torch.rand(3)
        models.append(Forgetful())
        fit(models[-1], outcomes(20), replace(SHORT, seed=seed))
    one, again, other = (model.value.item() for model in models)
    assert one == again != other


def test_no_global_chance_is_drawn_or_set():
    pairs = outcomes()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    expected = torch.rand(1), random.random(), np.random.random()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    fit(Hashed(**SMALL), pairs, SHORT)
    assert (torch.rand(1), random.random(), np.random.random()) == expected


def test_targets_follow_the_model_while_it_trains():
    model, played, critics = Hashed(**SMALL), corridors(40), []
    label = Temporal(model)
    fit(model, Labelled(played, lambda ts: critics.append(label.spec) or label(ts)), SHORT)
    assert len(set(critics)) == len(critics) > 3


def test_the_minimum_of_steps_is_taken_however_few_the_labels():
    pairs = outcomes(8)
    for n in (2, 8):
        report = fit(Hashed(**SMALL), pairs[:n], Recipe(min_steps=60, max_steps=100, patience=1))
        assert report.steps >= 60
        assert report.best_step >= 60


def test_weights_of_the_least_held_out_loss_after_the_minimum_are_kept():
    # Evaluations at steps 1 to 7; those before step 3 do not count, whatever they say.
    model = Weights(losses=[0.0, 0.0, 0.9, 0.4, 0.5, 0.6, 0.7])
    trajectory = [episode(("a", "b"), task=key, outcome=1.0) for key in "ab"]
    pairs = list(zip(trajectory, Outcome()(trajectory), strict=True))
    recipe = Recipe(min_steps=3, max_steps=50, patience=3, evaluate_every=1, held_out=0.5, learning_rate=0.01)
    with pytest.warns(UserWarning, match=r"every label is 1\.0"):
        report = fit(model, pairs, recipe)
    assert (report.steps, report.best_step, report.loss) == (7, 4, pytest.approx(0.4))
    assert [point.step for point in report.curve] == [1, 2, 3, 4, 5, 6, 7]
    again = Weights()
    with pytest.warns(UserWarning, match="every label"):
        fit(again, pairs, Recipe(min_steps=4, max_steps=4, evaluate_every=1, held_out=0.5, learning_rate=0.01))
    assert model.value.item() == again.value.item()


def test_a_hair_better_is_not_better():
    model = Weights(losses=[1.0, 0.9995, 0.999, 0.9985, 0.998])
    trajectory = [episode(("a", "b"), task=key, outcome=v) for key, v in (("a", 1.0), ("b", 0.0))]
    report = fit(
        model,
        list(zip(trajectory, Outcome()(trajectory), strict=True)),
        Recipe(min_steps=0, max_steps=50, patience=2, evaluate_every=1, held_out=0.5),
    )
    assert (report.steps, report.best_step) == (3, 1)


def test_what_is_held_out_is_never_learnt_from():
    model, pairs = Weights(), outcomes(30)
    for key, (trajectory, _) in zip("abcde" * 6, pairs, strict=True):
        object.__setattr__(trajectory, "task", type(trajectory.task)("x", key))
    report = fit(model, pairs, SHORT)
    learnt = {i for batch in model.seen for i in batch}
    keys = {t.task.key: t.id in learnt for t, _ in pairs}
    assert all((t.id in learnt) == keys[t.task.key] for t, _ in pairs)
    assert 0 < report.n_held_out < report.n_labels == sum(len(t) for t, _ in pairs)


def test_with_nothing_held_out_the_last_weights_are_kept():
    model = Weights()
    report = fit(model, outcomes(10), Recipe(min_steps=6, max_steps=50, evaluate_every=1, held_out=0))
    assert (report.steps, report.best_step, report.loss, report.n_held_out) == (6, 6, None, 0)


def test_an_interruption_keeps_the_best_weights_so_far_and_returns():
    model = Weights(losses=[0.5, 0.4, 0.9, 0.9], stop_at=5)
    trajectory = [episode(("a", "b"), task=key, outcome=v) for key, v in (("a", 1.0), ("b", 0.0))]
    pairs = list(zip(trajectory, Outcome()(trajectory), strict=True))
    recipe = Recipe(min_steps=0, max_steps=50, evaluate_every=1, held_out=0.5, learning_rate=0.01)
    report = fit(model, pairs, recipe)
    assert (report.interrupted, report.steps, report.best_step) == (True, 4, 2)
    assert abs(model.value.item() - 0.5) == pytest.approx(0.02, abs=1e-3)


def test_an_iterator_is_taken_into_a_list():
    assert fit(Hashed(**SMALL), iter(outcomes()), SHORT).steps >= 20


def test_trajectories_without_labels_are_left_out():
    silent = [episode(("a", "b"), outcome=None) for _ in range(5)]
    report = fit(Hashed(**SMALL), [*outcomes(20), *zip(silent, Outcome()(silent), strict=True)], SHORT)
    assert report.n_trajectories == 20


def test_nothing_to_learn_from_is_said():
    with pytest.raises(TrainingError, match="label"):
        fit(Hashed(**SMALL), [])


def test_episodes_without_any_outcome_are_nothing_to_learn_from():
    silent = [episode(("a", "b")) for _ in range(3)]
    with pytest.raises(TrainingError, match="none of 3"):
        fit(Hashed(**SMALL), Labelled(silent, Outcome()))


def test_a_scorer_without_parameters_cannot_be_trained():
    model = Constant()
    object.__setattr__(model, "parameters", list)
    with pytest.raises(TrainingError, match="no parameters"):
        fit(model, outcomes(3))


def test_a_loss_that_is_no_number_stops_with_an_error():
    model = Weights()
    model.value.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match="nan"):
        fit(model, outcomes(10), SHORT)


def test_passes_that_differ_are_refused():
    class Shrinking(list):
        def __iter__(self):
            items = list(super().__iter__())
            self.pop()
            return iter(items)

    with pytest.raises(TrainingError, match="pass"):
        fit(Hashed(**SMALL), Shrinking(outcomes(20)), SHORT)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_steps": 0},
        {"min_steps": 9, "max_steps": 8},
        {"batch_size": 0},
        {"learning_rate": float("nan")},
        {"held_out": 1.0},
        {"weight_decay": -1},
        {"patience": 0},
    ],
)
def test_a_bad_recipe_is_refused(bad):
    with pytest.raises(InvalidSpec):
        Recipe(**bad)


def test_the_report_reads_as_a_line():
    pairs = outcomes(10)
    n = sum(len(t) for t, _ in pairs)
    assert str(fit(Weights(), pairs, SHORT)).startswith(f"{n} labels, ")
    assert "nothing held out" in str(fit(Weights(), pairs, replace(SHORT, held_out=0)))


def test_weights_are_chosen_by_quality_where_one_is_given():
    qualities, model = iter([0.1, 0.9, 0.3, 0.2, 0.2, 0.2, 0.2]), Weights()
    at = []

    def quality(of):
        at.append(of.value.item())
        return next(qualities)

    report = fit(model, outcomes(), Recipe(min_steps=0, max_steps=40, patience=3, evaluate_every=1), quality=quality)
    assert [point.quality for point in report.curve] == [0.1, 0.9, 0.3, 0.2, 0.2]
    assert report.best_step == report.curve[1].step
    assert report.loss == report.curve[1].held_out
    assert model.value.item() == at[1]


def test_a_linear_schedule_rises_and_falls():
    recipe = Recipe(min_steps=0, max_steps=40, schedule="linear", learning_rate=1e-2)
    rates = [recipe.rate(step) for step in range(40)]
    assert rates[0] == pytest.approx(5e-3)
    assert max(rates) == rates[1] == pytest.approx(1e-2)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(1e-2 * 0.05)
    assert {Recipe().rate(step) for step in (0, 99, 1999)} == {Recipe().learning_rate}


def test_the_weights_move_as_far_as_the_schedule_says():
    moved = {}
    for name in ("constant", "linear"):
        model = Weights()
        fit(model, outcomes(), Recipe(min_steps=100, max_steps=100, schedule=name, learning_rate=1e-4, held_out=0))
        moved[name] = abs(model.value.item() - 0.5)
    assert 0.4 < moved["linear"] / moved["constant"] < 0.65


def test_of_each_episode_so_many_states_are_learnt_from_at_a_pass():
    class Counting(Weights):
        def loss(self, batch, /):
            if torch.is_grad_enabled():
                counted.extend(sum(v is not None for v in s.values) for _, s in batch)
            return super().loss(batch)

    counted = []
    played = [pair for pair in outcomes() if len(pair[0]) > 1]
    fit(Counting(), played, Recipe(min_steps=0, max_steps=3, states=1, batch_size=8, held_out=0))
    assert set(counted) == {1}


@pytest.mark.parametrize("wrong", [{"schedule": "cosine"}, {"states": 0}])
def test_a_recipe_that_cannot_be_followed_is_refused(wrong):
    with pytest.raises(InvalidSpec, match=next(iter(wrong))):
        Recipe(**wrong)
