"""Rewards read off a language model against its reference: action tokens only, learnt from outcomes only."""

import copy
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from agentprm.errors import InvalidSpec, TrainingError, UnitError
from agentprm.labels.outcome import Outcome
from agentprm.scorers.implicit import Implicit
from agentprm.spec import load_scorer
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.types import Scores, Spec

PLAYED = corridors(8)
TOKENIZER = train_tokenizer([*texts(PLAYED), "open the door wait here a hall a wall"], 360)
SMALL = {"hidden": 32, "layers": 1, "heads": 2, "context": 512}
TWO = episode(("a door", "open the door"), ("a hall", "wait here"), outcome=1.0)


def moved(model):
    """Let the policy differ from its reference."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


class TestContract(ScorerContract):
    can_be_remade = False
    tolerance = 1e-4

    def make_scorer(self):
        return moved(Implicit.tiny(TOKENIZER, **SMALL))


def test_before_it_has_learnt_nothing_adds_anything():
    scores = Implicit.tiny(TOKENIZER, **SMALL)([TWO])[0]
    assert scores.values == pytest.approx((0.0, 0.0), abs=1e-6)
    assert (scores.unit, scores.sees) == ("reward", "action")


def chances(backbone, output, ids):
    """Log-probability of every token but the first, by hand."""
    with torch.no_grad():
        states = backbone(torch.tensor([ids.tolist()])).last_hidden_state[0]
        return output(states).log_softmax(-1)[:-1].gather(-1, torch.tensor(ids.tolist())[1:, None])[:, 0]


def test_the_reward_is_the_log_ratio_over_the_tokens_of_the_decision():
    first = Implicit.tiny(TOKENIZER, beta=0.5, **SMALL)
    old_backbone, old_output = copy.deepcopy(first.reader.backbone), copy.deepcopy(first.reader.head.output)
    model = moved(first)
    (window,) = model.read(TWO)[0]
    ratios = chances(model.reader.backbone, model.reader.head.output, window.ids)
    ratios = ratios - chances(old_backbone, old_output, window.ids)
    expected = [0.5 * ratios[begin:end].sum().item() for begin, end in zip(window.begins, window.ends, strict=True)]
    scores = model([TWO])[0]
    assert scores.values == pytest.approx(expected, abs=1e-5)
    assert scores.parts["value"] == pytest.approx((expected[0], sum(expected)), abs=1e-5)
    assert abs(expected[0]) > 1e-3


def test_only_what_the_agent_wrote_is_counted():
    model = moved(Implicit.tiny(TOKENIZER, **SMALL))
    lengths = [len(tokens) for tokens in model.token_rewards(TWO)]
    written = [len(TOKENIZER.encode(text)) + 1 for text in ("open the door", "wait here")]  # and the end of the step
    assert lengths == written


def test_the_tokens_of_a_step_add_up_to_its_reward():
    model = moved(Implicit.tiny(TOKENIZER, **SMALL))
    totals = [sum(tokens) for tokens in model.token_rewards(TWO)]
    assert model([TWO])[0].values == pytest.approx(totals, abs=1e-6)


def test_a_step_that_cannot_be_read_adds_nothing():
    model, gap = moved(Implicit.tiny(TOKENIZER, **SMALL)), episode(("a door", "open"), ("a hall", ""), ("a wall", "go"))
    scores = model([gap])[0]
    assert scores.values[1] is scores.parts["value"][1] is None
    assert "empty action" in scores.notes[1]
    assert scores.parts["value"][2] == pytest.approx(scores.values[0] + scores.values[2], abs=1e-6)


def test_the_loss_by_hand():
    model = moved(Implicit.tiny(TOKENIZER, beta=0.3, **SMALL))
    logit = model([TWO])[0].parts["value"][-1]
    batch = [(TWO, Outcome()([TWO])[0])]
    assert model.loss(batch).item() == pytest.approx(math.log1p(math.exp(-logit)), abs=1e-5)


def test_it_learns_which_words_win_from_outcomes_alone_and_its_reference_stays():
    won = [episode(("a door", "open the door"), ("a hall", "wait here"), outcome=1.0)]
    lost = [episode(("a door", "wait here"), ("a hall", "wait here"), outcome=0.0)]
    model = Implicit.tiny(TOKENIZER, beta=0.5, **SMALL)
    before = {name: p.clone() for name, p in model.reader.head.reference.state_dict().items()}
    batch = list(zip(won + lost, Outcome()(won + lost), strict=True))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    first = model.loss(batch).item()
    for _ in range(60):
        optimiser.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 < first
    good, bad = model(won + lost)
    assert good.parts["value"][-1] > 1 > -1 > bad.parts["value"][-1]
    # The step that differs carries the credit, the one that is the same in both carries less.
    assert good.values[0] - bad.values[0] > abs(good.values[1] - bad.values[1])
    for name, parameter in model.reader.head.reference.state_dict().items():
        assert torch.equal(parameter, before[name])


def test_saved_and_loaded_policy_and_reference_are_the_same(tmp_path):
    model = moved(Implicit.tiny(TOKENIZER, beta=0.2, **SMALL))
    model.save(tmp_path)
    again = load_scorer(tmp_path)
    assert again.spec == model.spec
    assert again([TWO])[0].values == pytest.approx(model([TWO])[0].values, abs=1e-6)


def test_a_pretrained_model_keeps_its_own_output_layer(tmp_path):
    config = LlamaConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = AutoModelForCausalLM.from_config(config).eval()
    whole.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    model = Implicit.from_pretrained(tmp_path)
    rows = len(whole.lm_head.weight)
    assert torch.equal(model.reader.head.output.weight[:rows], whole.lm_head.weight)
    assert model([TWO])[0].values == pytest.approx((0.0, 0.0), abs=1e-6)


def test_an_episode_without_an_outcome_teaches_nothing():
    model = Implicit.tiny(TOKENIZER, **SMALL)
    running = episode(("a door", "open"))
    labelled, not_labelled = (TWO, Outcome()([TWO])[0]), (running, Outcome()([running])[0])
    assert model.loss([labelled, not_labelled]).item() == pytest.approx(model.loss([labelled]).item())
    with pytest.raises(TrainingError, match="no trajectory of this batch has an outcome"):
        model.loss([not_labelled])


def test_labels_of_another_unit_and_episodes_without_words_are_refused():
    model, silent = Implicit.tiny(TOKENIZER, **SMALL), episode(("a door", ""), outcome=1.0)
    with pytest.raises(UnitError, match="implicit learns values"):
        model.loss([(TWO, Scores(TWO.id, Spec("given"), "correctness", (1.0, 1.0)))])
    with pytest.raises(TrainingError, match="has an outcome, and no step that can be read"):
        model.loss([(silent, Outcome()([silent])[0])])


@pytest.mark.parametrize("options", [{"beta": 0.0}, {"beta": math.nan}, {"sees": "result"}], ids=range(3))
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(InvalidSpec, match=r"beta=.* is above 0, and sees=.* is 'action'"):
        Implicit.tiny(TOKENIZER, **SMALL, **options)
