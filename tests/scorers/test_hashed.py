import copy
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from agentprm.errors import InvalidScores, InvalidSpec, TrainingError, UnitError
from agentprm.scorers._features import Context, History, contexts, extract
from agentprm.scorers.hashed import Hashed
from agentprm.spec import load_scorer, make
from agentprm.testing.scorer import StepRewardModelContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Action, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory, new_id

SMALL = {"buckets": 512, "crosses": 1024, "dim": 8, "hidden": 8}


def label(trajectory, values, unit="value", start=0):
    return trajectory, Scores(trajectory.id, Spec("given"), unit, tuple(values), start=start)


def taught(steps=3, **kwargs):
    model, trajectory = Hashed(**{**SMALL, **kwargs}), episode(("a", "b"), ("c", "d"), outcome=1.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(steps):
        optimiser.zero_grad()
        model.loss([label(trajectory, [1.0, 0.0])]).backward()
        optimiser.step()
    return model, trajectory


class TestContract(StepRewardModelContract):
    def make_model(self):
        return Hashed(**SMALL)


class TestContractWithSquaredErrorAndProgress(StepRewardModelContract):
    steps = 400

    def make_model(self):
        return Hashed(objective="squared_error", progress=1.0, **SMALL)


def test_scores_are_the_same_to_the_bit_in_any_company():
    model, trajectories = Hashed(), corridors(8)
    alone = [Hashed()([t])[0].values for t in trajectories]
    assert [s.values for s in model(trajectories)] == alone


def test_numpy_runs_what_torch_has_learnt():
    model, trajectory = taught()
    logits = model._learnt.network.forward(contexts(trajectory))
    assert model([trajectory])[0].values == pytest.approx(logits.sigmoid().tolist(), abs=1e-6)


def test_a_growing_episode_costs_features_of_new_steps_only(monkeypatch):
    model, whole = Hashed(), episode(*[(f"seen {i}", f"done {i}") for i in range(6)])
    asked = []
    monkeypatch.setattr("agentprm.scorers._network.extract", lambda c: asked.append(c.time) or extract(c))
    for t in range(6):
        model([whole.seen(t, "action")])
    assert asked == [0, 1, 2, 3, 4, 5]


def test_an_untrained_model_is_named_by_its_seed_alone():
    assert "weights" not in Hashed(seed=3).spec.params
    assert Hashed(seed=3).spec != Hashed(seed=4).spec
    assert make("hashed:seed=3").spec == Hashed(seed=3).spec


@pytest.mark.parametrize("kwargs", [{}, {"foreach": True}, {"fused": True}])
def test_whatever_an_optimiser_does_is_noticed(kwargs):
    model, (trajectory, labels) = Hashed(**SMALL), label(episode(("a", "b")), [1.0])
    before, name = model([trajectory])[0].values, model.spec
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, **kwargs)
    model.loss([(trajectory, labels)]).backward()
    optimiser.step()
    assert model([trajectory])[0].values != before
    assert model.spec != name


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_says_the_same_under_the_same_name_and_learns_by_itself(copied):
    model, trajectory = taught()
    again = copied(model)
    assert again.spec == model.spec
    assert again([trajectory])[0].values == model([trajectory])[0].values
    before = model([trajectory])[0].values
    optimiser = torch.optim.SGD(again.parameters(), lr=1.0)
    again.loss([label(trajectory, [0.0, 1.0])]).backward()
    optimiser.step()
    assert again.spec != model.spec
    assert model([trajectory])[0].values == before


def test_the_folder_is_named_only_while_it_holds_these_weights(tmp_path):
    model, trajectory = taught()
    model.save(tmp_path)
    assert model.spec.params["folder"] == str(tmp_path)
    assert load_scorer(tmp_path).spec.params["folder"] == str(tmp_path)
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    model.loss([label(trajectory, [1.0, 0.0])]).backward()
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    assert "folder" not in model.spec.params


def test_a_folder_that_was_changed_behind_a_spec_is_refused(tmp_path):
    model, _ = taught()
    model.save(tmp_path)
    taught(steps=1)[0].save(tmp_path)
    with pytest.raises(InvalidSpec, match="other weights"):
        make(model.spec)


@pytest.mark.parametrize("text", ["", "{}", '{"name": "hashed"}', '{"name": "hashed", "params": {"no": 1}}'])
def test_an_unreadable_configuration_is_refused(tmp_path, text):
    taught()[0].save(tmp_path)
    (tmp_path / "scorer.json").write_text(text)
    with pytest.raises(InvalidSpec):
        Hashed.load(tmp_path)


def test_weights_that_do_not_fit_the_configuration_are_refused(tmp_path):
    Hashed(**SMALL).save(tmp_path)
    config = json.loads((tmp_path / "scorer.json").read_text())
    config["params"]["dim"] = 9
    (tmp_path / "scorer.json").write_text(json.dumps(config))
    with pytest.raises(InvalidSpec, match="embedding"):
        Hashed.load(tmp_path)


def test_damaged_weights_are_refused(tmp_path):
    Hashed(**SMALL).save(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InvalidSpec, match="weights"):
        Hashed.load(tmp_path)


@pytest.mark.parametrize("bad", [{"dim": 0}, {"objective": "hinge"}, {"progress": -1.0}, {"progress": float("nan")}])
def test_a_bad_configuration_is_refused_at_once(bad):
    with pytest.raises(InvalidSpec):
        Hashed(**bad)


def test_labels_are_checked():
    model, trajectory = Hashed(**SMALL), episode(("a", "b"))
    with pytest.raises(TrainingError, match="no step"):
        model.loss([label(trajectory, [None])])
    with pytest.raises(TrainingError, match="scale"):
        model.loss([label(trajectory, [1.5])])
    with pytest.raises(UnitError, match="reward"):
        model.loss([label(trajectory, [0.5], unit="reward")])
    with pytest.raises(InvalidScores):
        model.loss([(trajectory, label(episode(("a", "b")), [0.5])[1])])
    with pytest.raises(InvalidScores):
        model.loss([label(trajectory, [0.5], start=1)])


def test_labels_that_start_later_belong_to_later_steps():
    model, trajectory = Hashed(**SMALL), episode(("a", "b"), ("c", "d"))
    assert model.loss([label(trajectory, [1.0], start=1)]).item() == model.loss([label(trajectory, [None, 1.0])]).item()


def test_progress_compares_neighbours_only():
    def loss(progress, values):
        return Hashed(objective="squared_error", progress=progress, **SMALL).loss([label(TURNS, values)]).item()

    TURNS = episode(("a", "b"), ("c", "d"), ("e", "f"))
    assert loss(1.0, [0.0, None, 1.0]) == loss(0.0, [0.0, None, 1.0])
    assert loss(1.0, [0.0, 1.0, 1.0]) > loss(0.0, [0.0, 1.0, 1.0]) + 0.1


def test_features_are_the_same_in_every_process():
    code = (
        "from agentprm.scorers._features import Context, extract;"
        "print([h.sum() for h in extract(Context('task ü', 'a b c', 'go', 'plan', 'x', ('y',), 3, 1, 2))])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(told) == 1


def test_features_see_repetition_and_what_was_done_before():
    history = History("task")
    step = Step(Observation("here"), Action("knock"))
    first, second = history.take(step), history.take(step)
    assert (first.repeats, first.used, first.done) == (0, 0, ())
    assert (second.repeats, second.used, second.done, second.seen_before) == (1, 1, ("knock",), "here")
    assert not np.array_equal(extract(first)[0], extract(second)[0])


def test_an_action_about_the_task_has_one_shape_whatever_the_task_is_about():
    def shared(task, action):
        return set(extract(Context(task, "", action, "", "", (), 0, 0, 0))[1].tolist())

    assert shared("find the red box", "pickup red box") & shared("find the blue ball", "pickup blue ball")


def test_scoring_needs_no_torch():
    code = (
        "import sys; from agentprm.scorers.hashed import Hashed; from agentprm.types import *;"
        "s = Step(Observation('a'), Action('b')); t = Trajectory(new_id(), Task('c'), (s,), Observation());"
        "assert Hashed()([t])[0].values[0] > 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_step_with_another_plan_may_have_another_score():
    trajectory = episode(("a", "b"))
    (step,) = trajectory.steps
    planned = replace(trajectory, steps=(replace(step, action=replace(step.action, plan="think hard")),))
    assert Hashed()([planned])[0].values != Hashed()([trajectory])[0].values


def test_it_reads_what_the_tools_of_the_turn_before_gave_back():
    def with_output(output):
        asked = ToolCall("price", {"of": "tea"}, output=output)
        steps = (Step(Observation("what is tea?"), Action(tool_calls=(asked,))), Step(Observation(), Action("buy it")))
        return Trajectory(new_id(), Task("buy tea"), steps, Observation())

    cheap, dear = (next(islice(contexts(with_output(price)), 1, None)) for price in ("2 cents", "90 euros"))
    assert (cheap.seen, dear.seen) == ("2 cents", "90 euros")
    assert not np.array_equal(np.sort(extract(cheap)[0]), np.sort(extract(dear)[0]))


def test_a_tool_that_failed_says_so_to_the_next_turn():
    asked = ToolCall("price", {}, output="no such thing", status="error")
    steps = (Step(Observation("a"), Action(tool_calls=(asked,))), Step(Observation("b"), Action("stop")))
    trajectory = Trajectory(new_id(), Task("buy tea"), steps, Observation())
    assert [context.seen for context in contexts(trajectory)] == ["a", "error: no such thing\nb"]
