"""Five things that no language model can score: each is an error that names both sides, or None and a note.

A checkpoint that is no such model, a tokenizer that disagrees, more than the context, an empty action, a picture.
"""

import json
import shutil

import published_folders as published
import pytest
from langchain_core.language_models import FakeListChatModel
from remote_models import VLLM, Judging
from remote_servers import Unruly, ours, serving
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTModel,
)

from agentprm import load_scorer
from agentprm.errors import AgentPRMError, BadAnswer, InvalidSpec, SightError, TokenMismatch
from agentprm.scorers.discriminative import Discriminative
from agentprm.scorers.generative import Generative
from agentprm.scorers.implicit import Implicit
from agentprm.scorers.orm import ORM
from agentprm.scorers.pairwise import Pairwise
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.scorers.published import load_published
from agentprm.scorers.ranking import Ranking
from agentprm.scorers.remote import Remote
from agentprm.scorers.reward_token import RewardToken
from agentprm.testing.trajectories import corridors, episode
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.types import Action, Image, Observation, Step, Task, Trajectory, new_id

OWN = {cls.name: cls for cls in (PromiseProgress, Discriminative, RewardToken, ORM, Implicit, Ranking, Pairwise)}
SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
CONTEXT = 192


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(texts(corridors(20)), 300)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    """Write checkpoints of all kinds, none of them a process reward model, each beside a tokenizer that fits it."""
    root, n = tmp_path_factory.mktemp("checkpoints"), len(tokenizer) + 8
    translator = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    made = {
        "causal": LlamaForCausalLM(LlamaConfig(vocab_size=n, **SIZE)),
        "headless": LlamaModel(LlamaConfig(vocab_size=n, **SIZE)),
        "classifier": Qwen2ForSequenceClassification(Qwen2Config(vocab_size=n, num_key_value_heads=2, **SIZE)),
        "encoder": BertForSequenceClassification(BertConfig(vocab_size=n, **SIZE)),
        "translator": T5ForConditionalGeneration(T5Config(vocab_size=n, **translator)),
        "vision": ViTModel(ViTConfig(image_size=32, patch_size=16, **SIZE)),
    }
    for name, model in made.items():
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    (root / "empty").mkdir()
    (root / "hollow").mkdir()
    shutil.copy(root / "causal" / "config.json", root / "hollow")
    published.qwen(root / "qwen")
    return root


@pytest.fixture(scope="module")
def scorers(folders, tokenizer, tmp_path_factory):
    """Make one scorer of each kind that reads text, of a short context if it has one."""
    made = {name: cls.tiny(tokenizer, hidden=32, layers=1, context=CONTEXT) for name, cls in OWN.items()}
    made["generative"] = Generative(FakeListChatModel(responses=["Fine.\nVerdict: +1"]))
    made["published"] = load_published(folders / "qwen", context=CONTEXT)
    made["published"].save(folders / "kept")
    reader = made["published"].reader
    theirs = Unruly(VLLM(Judging(reader.backbone, reader.head), limit=CONTEXT))
    with ours(made["discriminative"]) as served, serving(theirs):
        made["remote"] = Remote(served.url)
        made["remote (vllm)"] = Remote(theirs.url, "vllm", tokenizer=folders / "qwen", reads="qwen")
        yield made


KINDS = [*OWN, "generative", "published", "remote", "remote (vllm)"]
PICTURE = Image("image/png", b"no picture")
SEEN = (Observation("a room"), Observation("a map", images=(PICTURE,)), Observation("a hall"))
CASES = {
    "an empty action": (episode(("a", "b"), ("c", ""), ("d", "e")), [1], "step 1 has an empty action"),
    "nothing but empty actions": (episode(("a", "")), [0], "step 0 has an empty action"),
    "a picture": (
        Trajectory(new_id(), Task("go"), tuple(Step(o, Action("go")) for o in SEEN), Observation("out")),
        [1, 2],
        "observation 1 holds a picture, and this model reads text only",
    ),
    "a turn beyond the context": (
        episode(("a", "b"), ("word " * 400, "go on " * 200), ("c", "d")),
        [1],
        f"{CONTEXT}",
    ),
}  # fmt: skip


ASKED = [
    (kind, case) for case in CASES for kind in KINDS if (kind, case) != ("generative", "a turn beyond the context")
]
"""A chat model's own server knows its context; what it raises is raised."""


@pytest.mark.parametrize(("kind", "case"), ASKED)
def test_a_step_that_cannot_be_read_is_none_and_a_note_says_why(scorers, kind, case):
    trajectory, where, why = CASES[case]
    scores = scorers[kind]([trajectory])[0]
    silent = [t for t, value in enumerate(scores.values) if value is None]
    if case == "a turn beyond the context" and kind in ("published", "remote (vllm)"):
        where = [1, 2]  # a solution is read in one piece
    assert silent == where
    for t in where:
        assert why in scores.notes[t]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "generative"])
def test_an_episode_beyond_the_context_is_read_in_pieces_or_up_to_there(scorers, kind):
    trajectory = episode(*[(f"room {i} with two doors", f"go through door {i}") for i in range(60)])
    scores = scorers[kind]([trajectory])[0]
    assert None not in scores.values[:5]
    if kind in ("published", "remote (vllm)"):
        assert scores.values[-1] is None
        assert f"this model reads {CONTEXT}" in scores.notes[-1]
    else:
        assert None not in scores.values
        assert "read without" in scores.notes[-1]


def test_a_judge_on_this_machine_says_none_where_there_is_no_room(folders):
    config = json.loads((folders / "causal" / "config.json").read_text())
    shutil.copytree(folders / "causal", folders / "short", dirs_exist_ok=True)
    (folders / "short" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": CONTEXT}))
    scores = Generative(str(folders / "short"), options={"max_tokens": 4})([episode(("a door", "open it"))])[0]
    assert scores.values == (None,)
    assert f"tokens leave no room for an answer in {CONTEXT} positions" in scores.notes[0]


NO_MODEL = {
    "encoder": (SightError, "looks ahead"),
    "translator": (InvalidSpec, "causal language model"),
    "vision": (InvalidSpec, "causal language model"),
    "empty": (InvalidSpec, "holds no pretrained model"),
    "hollow": (InvalidSpec, "holds no pretrained model"),
    "nowhere": (InvalidSpec, "holds no pretrained model"),
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("folder", NO_MODEL)
def test_what_is_no_causal_language_model_is_no_backbone(folders, kind, folder):
    error, why = NO_MODEL[folder]
    if kind in ("reward_token", "implicit"):
        error, why = InvalidSpec, "holds no pretrained model|lacks .* tensors|causal"
    with pytest.raises(error, match=why) as raised:
        OWN[kind].from_pretrained(folders / folder)
    assert folder in str(raised.value) or error is SightError


@pytest.mark.parametrize("kind", ["reward_token", "implicit"])
@pytest.mark.parametrize("folder", ["headless", "classifier"])
def test_an_output_layer_that_was_never_saved_is_not_drawn_by_chance(folders, kind, folder):
    with pytest.raises(InvalidSpec, match=r"lacks 1 tensors of a .*ForCausalLM, the first is 'lm_head.weight'"):
        OWN[kind].from_pretrained(folders / folder)


@pytest.mark.parametrize("folder", ["headless", "classifier", "encoder", "translator", "vision", "empty", "hollow"])
def test_what_is_no_causal_language_model_is_no_judge(folders, folder):
    with pytest.raises(InvalidSpec, match=folder):
        Generative(str(folders / folder))


@pytest.mark.parametrize("folder", ["causal", "headless", "classifier", "encoder", "translator", "vision", "empty"])
def test_what_is_no_process_reward_model_is_none_of_the_published(folders, folder):
    with pytest.raises(InvalidSpec, match=folder):
        load_published(folders / folder)


@pytest.mark.parametrize("kind", OWN)
def test_a_checkpoint_that_is_no_scorer_is_none(folders, kind):
    for load in (load_scorer, OWN[kind].load):
        with pytest.raises(InvalidSpec, match=r"scorer\.json"):
            load(folders / "causal")


@pytest.mark.parametrize("kind", OWN)
def test_a_scorer_of_another_kind_is_named(scorers, kind, tmp_path):
    other = "ranking" if kind != "ranking" else "discriminative"
    scorers[other].save(tmp_path / "other")
    with pytest.raises(InvalidSpec, match=f"called '{other}', not '{kind}'"):
        OWN[kind].load(tmp_path / "other")


def test_a_server_of_embeddings_is_no_reward_model(folders):
    def hidden(ids):
        return published.torch.zeros(len(ids), 896)

    with serving(Unruly(VLLM(hidden))) as server:
        remote = Remote(server.url, "vllm", tokenizer=folders / "qwen", reads="qwen", activated=False)
        with pytest.raises(BadAnswer, match="896 numbers"):
            remote([episode(("a", "b"))])


@pytest.mark.parametrize("kind", OWN)
def test_a_tokenizer_that_disagrees_is_refused(folders, tokenizer, kind):
    other = train_tokenizer(["ganz andere Wörter, und andere Zahlen: 0123456789"] * 9, 300)
    with pytest.raises(TokenMismatch, match=r"in the tokenizer given and .* leave tokenizer= out"):
        OWN[kind].from_pretrained(folders / "causal", other)
    larger = train_tokenizer(texts(corridors(20)), 400)
    with pytest.raises((InvalidSpec, TokenMismatch)):
        OWN[kind].from_pretrained(folders / "causal", larger)
    own = OWN[kind].from_pretrained(folders / "causal", tokenizer)
    assert own.encoder.digest == OWN[kind].from_pretrained(folders / "causal").encoder.digest


@pytest.mark.parametrize("kind", OWN)
def test_a_tokenizer_changed_in_a_saved_folder_is_refused(scorers, kind, tmp_path):
    scorers[kind].save(tmp_path / "model")
    other = train_tokenizer(["ganz andere Wörter"] * 9, 300)
    (tmp_path / "model" / "tokenizer.json").write_text(other.backend_tokenizer.to_str())
    with pytest.raises(TokenMismatch, match="the model was trained with"):
        OWN[kind].load(tmp_path / "model")


def test_a_judge_with_a_tokenizer_that_disagrees_is_refused(folders, tmp_path):
    shutil.copytree(folders / "causal", tmp_path / "judge")
    published.byte_level(*[f"<{i}>" for i in range(500)]).save_pretrained(tmp_path / "judge")
    with pytest.raises(InvalidSpec, match="tokenizer of ids up to"):
        Generative(str(tmp_path / "judge"))


@pytest.mark.parametrize("api", ["published", "remote"])
def test_a_published_model_with_another_tokenizer_is_refused(folders, tmp_path, api):
    if api == "published":
        shutil.copytree(folders / "kept", tmp_path / "kept")
        published.byte_level("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>", "<x>").save_pretrained(
            tmp_path / "kept"
        )
        with pytest.raises(AgentPRMError, match=r"another tokenizer|chat template|embeddings"):
            load_scorer(tmp_path / "kept")
        return
    with serving(Unruly(VLLM(None))) as server:
        spec = Remote(server.url, "vllm", tokenizer=folders / "qwen", reads="qwen").spec
        shutil.copytree(folders / "qwen", tmp_path / "other")
        published.byte_level(
            "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>", "<x>", template=published.CHATML
        ).save_pretrained(tmp_path / "other")
        changed = Remote(**{**spec.params, "tokenizer": tmp_path / "other"})
        with pytest.raises(AgentPRMError, match="whose weights"):
            changed([episode(("a", "b"))])
