"""One token against another, looked up and never hard-coded."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from agentprm.errors import InvalidSpec
from agentprm.scorers.reward_token import RewardToken
from agentprm.spec import load_scorer
from agentprm.testing.scorer import StepRewardModelContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.types import Scores, Spec

PLAYED = corridors(8)
TOKENIZER = train_tokenizer([*texts(PLAYED), "apple river stone cloud recite number say the end + - good bad"], 380)
SMALL = {"hidden": 64, "layers": 1, "heads": 2, "context": 512}


class TestContract(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 1e-3

    def make_model(self):
        return RewardToken.tiny(TOKENIZER, **SMALL)


class TestContractOfCorrectness(TestContract):
    def make_model(self):
        return RewardToken.tiny(TOKENIZER, unit="correctness", sees="result", **SMALL)

    def make_labels(self):
        return [(t, Scores(t.id, s.source, "correctness", s.values, s.start)) for t, s in super().make_labels()]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """A causal language model whose output layer is not its embeddings, in a folder, as users have them."""
    folder = tmp_path_factory.mktemp("causal")
    config = LlamaConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder, model.eval()


def test_the_score_is_the_language_models_own_chance_of_plus_against_minus(language_model):
    folder, model = language_model
    scorer, trajectory = RewardToken.from_pretrained(folder), episode(("a door", "open"), ("a hall", "walk"))
    (window,) = scorer.read(trajectory)[0]
    with torch.no_grad():
        logits = model(torch.tensor([window.ids.tolist()])).logits[0]
    plus, minus = (TOKENIZER.convert_tokens_to_ids(token) for token in "+-")
    expected = [logits[end, [minus, plus]].softmax(-1)[1].item() for end in window.ends]
    assert scorer([trajectory])[0].values == pytest.approx(expected, abs=1e-5)
    assert not math.isclose(expected[0], expected[1], abs_tol=1e-6)


def test_other_tokens_give_other_scores(language_model):
    folder, _ = language_model
    trajectory = episode(("a door", "open"))
    one, other = (RewardToken.from_pretrained(folder, good=g, bad=b) for g, b in (("+", "-"), ("-", "+")))
    assert one([trajectory])[0].values[0] == pytest.approx(1 - other([trajectory])[0].values[0])


def test_the_loss_by_hand(language_model):
    folder, _ = language_model
    scorer, trajectory = RewardToken.from_pretrained(folder), episode(("a door", "open"))
    p = scorer([trajectory])[0].values[0]
    batch = [(trajectory, Scores(trajectory.id, Spec("given"), "value", (0.25,)))]
    expected = -(0.25 * math.log(p) + 0.75 * math.log(1 - p))
    assert scorer.loss(batch).item() == pytest.approx(expected, abs=1e-5)


def test_tokens_come_back_from_the_folder(tmp_path):
    RewardToken.tiny(TOKENIZER, good="y", bad="n", **SMALL).save(tmp_path)
    again = load_scorer(tmp_path)
    assert (again.good, again.bad) == ("y", "n")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"good": "zebra"}, "'zebra' is . tokens here, and a reward token is one"),
        ({"good": "-"}, "good='-' and bad='-' are the same token"),
        ({"bad": ""}, "'' is 0 tokens"),
        ({"unit": "reward"}, "unit='reward' is correctness or value"),
    ],
    ids=range(4),
)
def test_what_is_no_reward_token_is_refused(options, match):
    with pytest.raises(InvalidSpec, match=match):
        RewardToken.tiny(TOKENIZER, **SMALL, **options)
