import copy
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

from agentprm import PRMRewardWrapper, Recipe, fit
from agentprm.errors import InvalidScores, InvalidSpec, MissingText, SightError, TokenMismatch, TrainingError, UnitError
from agentprm.labels.temporal import Temporal
from agentprm.scorers._passes import buckets
from agentprm.scorers.promise_progress import PromiseProgress, assert_train_serve_identity
from agentprm.spec import load_scorer, make
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract, StepRewardModelContract
from agentprm.testing.trajectories import corridors, episode, hostile
from agentprm.text.render import PLAIN, samples
from agentprm.text.tokens import Encoder, texts, train_tokenizer
from agentprm.train.batches import Labelled
from agentprm.types import Action, Image, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory, new_id

PLAYED = corridors(8)
TOKENIZER = train_tokenizer([*texts(PLAYED), "apple river stone cloud recite number say the end"], vocab_size=360)
SMALL = {"hidden": 32, "layers": 1, "heads": 2, "context": 512}


def fresh(**options):
    return PromiseProgress.tiny(TOKENIZER, **{**SMALL, **options})


def shaken(**options):
    """A model whose head says something: untrained, every value would be 0.5."""
    model = fresh(**options)
    with torch.no_grad():
        model.reader.head.weight.copy_(torch.linspace(-1, 1, 32))
    return model


def label(trajectory, values, unit="value", start=0):
    return trajectory, Scores(trajectory.id, Spec("given"), unit, tuple(values), start=start)


def long(n):
    return episode(*[(f"a place {t} of many", f"go {t}") for t in range(n)], last="home", outcome=1.0)


class TestContract(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 1e-3

    def make_model(self):
        # Labels that flip between 0 and 1 at every step drive a sigmoid into the wrong corner now and then at β = 1.
        return fresh(hidden=64, beta=0.5)


class TestContractOfOneThatSeesResults(TestContract):
    def make_model(self):
        return fresh(hidden=64, beta=0.5, sees="result")


class TestContractOfASavedOneWithLittleRoom(ScorerContract):
    @pytest.fixture(autouse=True)
    def _saved(self, small):
        self.folder = small

    def make_scorer(self):
        return load_scorer(self.folder)

    def make_trajectories(self):
        return [*PLAYED[:2], *hostile(), *samples(PLAIN), long(30)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    shaken(context=64, keep="middle").save(folder)
    return folder


# Reading


def test_one_pass_over_the_episode_is_the_same_as_one_pass_per_step():
    for model in (shaken(), shaken(sees="result"), shaken(context=64)):
        trajectories = [*PLAYED, *samples(PLAIN), long(20)]
        for trajectory, scores in zip(trajectories, model(trajectories), strict=True):
            live = [model([trajectory.seen(t, model.sees)])[0].values[t] for t in range(len(trajectory))]
            assert live == pytest.approx(list(scores.values), abs=1e-5)


def test_scores_of_many_together_are_those_of_each_alone():
    model, trajectories = shaken(), [*PLAYED, *map(long, (1, 2, 3, 5, 8))]
    for trajectory, scores in zip(trajectories, model(trajectories), strict=True):
        assert model([trajectory])[0].values == pytest.approx(scores.values, abs=1e-5)


def test_buckets_hold_items_of_like_length_each_once():
    lengths = [100, 7, 95, 300, 8, 40]
    groups = list(buckets(lengths, most=250))
    assert sorted(i for group in groups for i in group) == list(range(6))
    assert [[lengths[i] for i in group] for group in groups] == [[7, 8], [40], [95, 100], [300]]


def test_the_head_is_read_at_the_end_of_each_step_only(monkeypatch):
    model, seen = shaken(), []
    monkeypatch.setattr(model.reader.head, "forward", lambda x: seen.append(x.shape) or x[:, :1])
    model([long(7)])
    assert seen == [(7, 32)]


def test_text_that_spells_markers_is_not_a_step():
    spelled = "".join(PLAIN.markers)
    trajectory = episode((spelled, f"say {spelled}"), (spelled, spelled), task=spelled, last=spelled)
    for model in (shaken(), shaken(sees="result")):
        (window,), notes = model.read(trajectory)
        assert notes == [None, None]
        assert [window.ids[end] for end in window.ends] == [TOKENIZER.convert_tokens_to_ids(PLAIN.end)] * 2
        assert window.ids.count(window.ids[window.ends[0]]) == 2


def test_what_tools_return_is_seen_by_those_who_see_results():
    def asked(output):
        step = Step(Observation("q"), Action(tool_calls=(ToolCall("search", {"q": 1}, "1", output),)))
        return Trajectory(new_id(), Task("t"), (step,), Observation())

    for sees, is_same in (("action", True), ("result", False)):
        one, two = shaken(sees=sees)([asked("found"), asked("nothing")])
        assert (one.values == two.values) is is_same


# What cannot be read


def test_an_empty_action_has_no_score_and_a_note():
    scores = shaken()([episode(("a", "go"), ("b", ""), ("c", "go"))])[0]
    assert [v is None for v in scores.values] == [False, True, False]
    assert scores.notes == (None, "step 1 has an empty action", None)


def test_nothing_is_scored_after_a_picture():
    picture = Step(Observation("look", images=(Image("image/png", b"x"),)), Action("go"))
    trajectory = Trajectory(new_id(), Task("t"), (Step(Observation("a"), Action("go")), picture), Observation())
    scores = shaken()([trajectory])[0]
    assert [v is None for v in scores.values] == [False, True]
    assert "picture" in scores.notes[1]


def test_a_turn_longer_than_the_context_has_no_score_and_those_after_it_do():
    model = shaken(context=64)
    trajectory = episode(("a", "go"), ("b " * 100, "go"), ("c", "go"))
    scores = model([trajectory])[0]
    assert [v is None for v in scores.values] == [False, True, False]
    assert "longer than the 64 tokens" in scores.notes[1]
    assert scores.notes[2] == "read without 2 of 2 earlier turns"


def test_an_observation_without_words_is_an_error():
    step = Step(Observation(native=np.zeros((8, 8))), Action("go"))
    with pytest.raises(MissingText):
        shaken()([Trajectory(new_id(), Task("t"), (step,), Observation())])


def test_a_task_longer_than_the_context_leaves_no_score():
    assert shaken(context=64)([episode(("a", "b"), task="word " * 90)])[0].values == (None,)


def test_long_episodes_are_scored_to_the_last_step_and_say_what_was_left_out():
    model, trajectory = shaken(context=64), long(40)
    scores = model([trajectory])[0]
    assert None not in scores.values
    assert scores.notes[0] is None
    assert "earlier turns" in scores.notes[-1]
    assert shaken()([long(5)])[0].notes == ()


@pytest.mark.parametrize("trajectory", [episode(("a", "go"), ("b", "")), episode(("a", "go"), ("b " * 600, "go"))])
def test_a_label_that_would_be_lost_is_an_error(trajectory):
    model = fresh()
    with pytest.raises(TrainingError, match=r"label of step 1 .* would be lost"):
        model.loss([label(trajectory, [1.0, 0.0])])
    assert float(model.loss([label(trajectory, [1.0, None])]).detach()) == pytest.approx(0.125)


def test_or_it_is_left_out_and_counted(caplog):
    model, trajectory = fresh(unreadable="skip"), episode(("a", "go"), ("b", ""))
    with caplog.at_level(logging.WARNING, "agentprm.scorers"):
        for _ in range(2):
            loss = model.loss([label(trajectory, [1.0, 0.0])])
    assert float(loss.detach()) == pytest.approx(0.125)
    assert (model.skipped, len(caplog.records)) == (2, 1)
    assert model.spec == fresh().spec


def test_every_label_of_a_long_episode_is_learnt_from():
    model, trajectory = shaken(context=64), long(40)
    values = model([trajectory])[0].values
    assert float(model.loss([label(trajectory, values)]).detach()) == pytest.approx(0, abs=1e-9)
    changed = [v if t != 20 else 1 - v for t, v in enumerate(values)]
    assert float(model.loss([label(trajectory, changed)]).detach()) > 0


# Learning


class Said:
    """Stands in for a reader: says given values."""

    def __init__(self, *values):
        self.values = torch.tensor(values).logit()[:, None]

    def __call__(self, windows):
        assert sum(len(w.ends) for w in windows) == len(self.values)
        return self.values


def taught(model, monkeypatch, said, *pairs):
    monkeypatch.setattr(model._learnt, "reader", Said(*said))
    return float(model.loss(list(pairs)))


def test_the_loss_of_three_steps_by_hand(monkeypatch):
    trajectory = episode(("a", "b"), ("c", "d"), ("e", "f"))
    said, labels = (0.5, 0.75, 0.25), [0.0, 1.0, 1.0]
    promise = (0.5 * 0.25 + 0.5 * 0.0625 + 0.5 * 0.5625) / 3
    progress = ((0.25 - 1.0) ** 2 + (-0.5 - 0.0) ** 2) / 2
    for beta in (0.0, 1.0, 2.5):
        loss = taught(fresh(beta=beta), monkeypatch, said, label(trajectory, labels))
        assert loss == pytest.approx(promise + beta * progress, abs=1e-6)


def test_steps_without_a_label_and_first_steps_have_no_progress(monkeypatch):
    one, two = (episode(("a", "b"), ("c", "d"), ("e", "f")) for _ in range(2))
    pairs = [label(one, [0.0, None, 1.0]), label(two, [1.0, 0.0], start=1)]
    loss = taught(fresh(), monkeypatch, (0.5, 0.9, 0.5, 0.9, 0.5, 0.5), *pairs)
    assert loss == pytest.approx(0.125 + ((0.5 - 0.5) - (0.0 - 1.0)) ** 2)


def test_none_is_not_zero():
    model, trajectory = fresh(), episode(("a", "b"), ("c", "d"))
    losses = [float(model.loss([label(trajectory, [1.0, last])]).detach()) for last in (None, 0.0)]
    assert losses[0] == pytest.approx(0.125)
    assert losses[1] > losses[0] + 0.5


def test_labels_are_checked():
    model, trajectory = fresh(), episode(("a", "b"))
    with pytest.raises(TrainingError, match="no step"):
        model.loss([label(trajectory, [None])])
    with pytest.raises(TrainingError, match="scale"):
        model.loss([label(trajectory, [1.5])])
    with pytest.raises(UnitError, match="reward"):
        model.loss([label(trajectory, [0.5], unit="reward")])
    with pytest.raises(InvalidScores):
        model.loss([label(trajectory, [0.5], start=1)])


def test_it_fits_labels_that_follow_it():
    model = fresh(hidden=16)
    labelled = Labelled(PLAYED, Temporal(model))
    report = fit(model, labelled, Recipe(min_steps=6, max_steps=6, batch_size=16, held_out=0))
    assert report.steps == 6
    assert model.spec != fresh(hidden=16).spec


def test_only_what_is_not_frozen_is_trained():
    model = fresh()
    model.backbone.requires_grad_(False)
    assert len(list(model.parameters())) == 2


def test_nobody_elses_chance_is_drawn(tmp_path):
    before = torch.get_rng_state()
    model = shaken()
    model.loss([label(PLAYED[0], [1.0] * len(PLAYED[0]))]).backward()
    model(PLAYED)
    model.save(tmp_path)
    load_scorer(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert fresh().spec == fresh().spec != fresh(seed=1).spec


def test_scoring_leaves_no_gradient_and_no_training_mode():
    model = shaken()
    model(PLAYED)
    assert not model.backbone.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("kwargs", [{}, {"foreach": True}, {"fused": True}])
def test_whatever_an_optimiser_does_is_noticed(kwargs):
    model = fresh()
    before = model.spec
    model.loss([label(PLAYED[0], [1.0] * len(PLAYED[0]))]).backward()
    torch.optim.AdamW(model.parameters(), lr=0.1, **kwargs).step()
    assert model.spec != before


# Saving


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    shaken(beta=0.5, sees="result").save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def edit(folder, **changes):
    config = json.loads((folder / "scorer.json").read_text())
    for path, value in changes.items():
        *way, last = path.split("__")
        inner = config
        for key in way:
            inner = inner[key]
        inner[last] = value
    (folder / "scorer.json").write_text(json.dumps(config))


def test_saved_and_loaded_it_is_the_same(folder):
    model, again = shaken(beta=0.5, sees="result"), load_scorer(folder)
    assert again.spec == model.spec
    assert (again.beta, again.sees, again.context, again.keep) == (0.5, "result", 512, "left")
    for one, other in zip(model(PLAYED), again(PLAYED), strict=True):
        assert one.values == other.values
    assert {file.suffix for file in folder.iterdir()} == {".json", ".safetensors"}
    assert make(again.spec).spec.params == again.spec.params


def test_the_folder_is_named_only_while_it_holds_these_weights(tmp_path):
    model = shaken()
    assert "folder" not in model.spec.params
    with pytest.raises(InvalidSpec, match="never saved"):
        make(model.spec)
    model.save(tmp_path)
    assert model.spec.params["folder"] == str(tmp_path)
    with torch.no_grad():
        model.reader.head.bias.add_(1)
    assert "folder" not in model.spec.params


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_says_the_same_under_the_same_name_and_learns_by_itself(copied):
    model = shaken()
    again = copied(model)
    assert again.spec == model.spec
    assert again(PLAYED)[0].values == model(PLAYED)[0].values
    with torch.no_grad():
        again.backbone.norm.weight.add_(1)
    assert again.spec != model.spec
    assert again(PLAYED)[0].values != model(PLAYED)[0].values


def test_a_tokenizer_that_disagrees_is_refused(folder):
    other = Encoder.of(train_tokenizer(["other words entirely"] * 9, vocab_size=300))
    (folder / "tokenizer.json").write_text(other.json)
    with pytest.raises(TokenMismatch, match="tokenizer"):
        load_scorer(folder)


def test_a_tokenizer_that_works_differently_by_now_is_refused(folder, monkeypatch):
    encode = Encoder._tokenise
    monkeypatch.setattr(Encoder, "_tokenise", lambda self, text: encode(self, text.lower()))
    with pytest.raises(TokenMismatch, match="other tokens than when"):
        load_scorer(folder)


def test_a_template_that_words_things_differently_by_now_is_refused(folder):
    edit(folder, template__gap="<|step|><|gap|>")
    with pytest.raises((TokenMismatch, InvalidSpec)):
        load_scorer(folder)
    edit(folder, template__gap="<|gap|>", params__template="0" * 32)
    with pytest.raises(TokenMismatch, match="template"):
        load_scorer(folder)


def test_scores_that_are_others_by_now_are_refused(folder):
    edit(folder, probe__values=[0.123] * len(json.loads((folder / "scorer.json").read_text())["probe"]["values"]))
    with pytest.raises(TokenMismatch, match="now scores"):
        load_scorer(folder)


def test_other_weights_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: w + 0.25 for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InvalidSpec, match="other weights"):
        load_scorer(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "head.safetensors", "config.json", "tokenizer.json", "scorer.json"]
)
@pytest.mark.parametrize(
    "damage", [lambda f: f.unlink(), lambda f: f.write_bytes(b"\xff" * 64), lambda f: f.write_text("{}")]
)
def test_a_damaged_folder_is_refused(folder, name, damage):
    damage(folder / name)
    with pytest.raises((InvalidSpec, TokenMismatch)):
        PromiseProgress.load(folder)


@pytest.mark.parametrize(
    "path", ["params__beta", "params__sees", "params__context", "params__tokenizer", "probe__values", "template"]
)
def test_a_nonsensical_configuration_is_refused(folder, path):
    edit(folder, **{path: None})
    with pytest.raises(InvalidSpec):
        load_scorer(folder)


@pytest.mark.parametrize("asked", [{"auto_map": {"AutoModel": "evil.Model"}}, {"attn_implementation": "evil/kernels"}])
def test_nothing_that_lies_in_a_folder_is_executed(folder, asked):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **asked}))
    with pytest.raises(InvalidSpec, match="never loaded"):
        load_scorer(folder)


def test_pickled_weights_are_never_read(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(InvalidSpec):
        load_scorer(folder)


# Backbones


def test_a_pretrained_model_gets_room_for_markers(tmp_path):
    plain = Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str())
    state = json.loads(plain.to_str())
    state["added_tokens"] = []
    plain = Tokenizer.from_str(json.dumps(state).replace("<|", "<!"))
    sizes = {"n_positions": 128, "n_embd": 32, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    sizes["vocab_size"] = plain.get_vocab_size()
    GPT2Model(GPT2Config(**sizes)).save_pretrained(tmp_path / "gpt")
    model = PromiseProgress.from_pretrained(tmp_path / "gpt", plain, beta=2.0)
    assert (model.context, model.beta) == (128, 2.0)
    assert model.backbone.get_input_embeddings().num_embeddings == plain.get_vocab_size() + len(PLAIN.markers)
    vectors = model.backbone.get_input_embeddings().weight[-len(PLAIN.markers) :]
    assert torch.pdist(vectors).min() > 0.01
    assert model(PLAYED)[0].values == (0.5,) * len(PLAYED[0])
    model.save(tmp_path / "mine")
    assert load_scorer(tmp_path / "mine").spec == model.spec
    assert PromiseProgress.from_pretrained(tmp_path / "gpt", plain, beta=2.0).spec == model.spec


def test_a_backbone_that_looks_ahead_is_refused(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(TOKENIZER), **sizes)).save_pretrained(tmp_path)
    with pytest.raises(SightError, match="ahead"):
        PromiseProgress.from_pretrained(tmp_path, TOKENIZER)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(InvalidSpec, match="own tokenizer"):
        PromiseProgress(fresh().backbone, train_tokenizer([f"{i} many other{i} words{i}" for i in range(200)], 700))
    with pytest.raises(InvalidSpec, match="model of transformers"):
        PromiseProgress(torch.nn.Linear(2, 2), TOKENIZER)
    for bad in ({"context": 0}, {"context": 513}, {"sees": "episode"}, {"keep": "right"}, {"beta": float("nan")}):
        with pytest.raises(InvalidSpec):
            PromiseProgress(fresh().backbone, TOKENIZER, **bad)


def test_training_that_reads_other_tokens_than_serving_is_found_out(monkeypatch):
    model = fresh()
    assert_train_serve_identity(model)
    plain = PromiseProgress.read

    def skewed(self, trajectory):
        steps = trajectory.steps
        if trajectory.ending is None and steps:
            steps = (*steps[:-1], Step(steps[-1].observation, Action(f"{steps[-1].action.text}\n")))
        return plain(self, Trajectory(trajectory.id, trajectory.task, steps, trajectory.last))

    monkeypatch.setattr(PromiseProgress, "read", skewed)
    with pytest.raises(TokenMismatch, match="live"):
        assert_train_serve_identity(model)


def test_it_pays_rewards_while_the_episode_goes_on(saved):
    env = PRMRewardWrapper(Corridor(), str(saved))
    env.reset(seed=0)
    info = env.step(next(iter(("open the left door",))))[4]
    assert info["prm"]["scored"] == 1.0
    assert env.failed == 0


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "safetensors"])
def test_a_missing_package_is_named_with_the_way_out(package):
    code = f"import sys; sys.modules[{package!r}] = None\nimport agentprm\nagentprm.make('promise_progress')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("agentprm.errors.MissingExtra")
    assert "pip install 'agentprm[models]'" in last


def test_the_example_runs(tmp_path):
    example = Path(__file__).parents[2] / "examples" / "07_language_model.py"
    words = [sys.executable, str(example), str(tmp_path / "model"), "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 steps" in done.stdout
    assert isinstance(load_scorer(tmp_path / "model"), PromiseProgress)


def test_a_batch_of_which_nothing_can_be_read_teaches_nothing():
    model = fresh(unreadable="skip")
    loss = model.loss([label(episode(("a", "")), [1.0])])
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert model.skipped == 1
