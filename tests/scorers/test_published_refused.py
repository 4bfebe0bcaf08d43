"""What a published folder may not do, and what its model will not judge."""

import json
import pickle
import runpy
import shutil

import published_folders as published
import pytest
from published_folders import QUESTION, STEPS, WRITERS, byte_level
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from agentprm.errors import InvalidSpec, InvalidTrajectory
from agentprm.scorers.constant import Constant
from agentprm.scorers.published import load_published, score_reasoning_steps, solution
from agentprm.spec import load_scorer, make


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: write(root / kind) for kind, write in WRITERS.items()}


@pytest.fixture
def qwen(tmp_path, folders):
    return shutil.copytree(folders["qwen"], tmp_path / "qwen")


def change(folder, file="config.json", **values):
    plain = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**plain, **values}))


def test_code_in_the_folder_is_never_run(tmp_path, qwen):
    touched = tmp_path / "touched"
    module = qwen / "modeling_qwen2_rm.py"
    module.write_text(f"open({str(touched)!r}, 'w').close()\nraise RuntimeError('this was imported')\n")
    shutil.copy(module, qwen / "tokenization_own.py")
    classes = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForTokenClassification")
    change(qwen, auto_map={name: f"modeling_qwen2_rm.{name}" for name in classes}, attn_implementation="some/kernel")
    own = "tokenization_own.Own"
    change(qwen, "tokenizer_config.json", auto_map={"AutoTokenizer": [own, own]})
    scores, _ = score_reasoning_steps(load_published(qwen), QUESTION, STEPS)
    assert None not in scores
    assert not touched.exists()
    with pytest.raises(RuntimeError, match="this was imported"):
        runpy.run_path(str(module))
    assert touched.exists(), "the trap is no trap"


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt"])
def test_pickles_are_refused_by_name_and_not_opened(tmp_path, qwen, file):
    (qwen / "model.safetensors").unlink()
    (qwen / file).write_bytes(pickle.dumps(_Bomb(tmp_path / "touched")))
    with pytest.raises(InvalidSpec, match=rf"no model.safetensors, but only {file}.*convert it"):
        load_published(qwen)
    assert not (tmp_path / "touched").exists()


def broken(folder, file, text):
    (folder / file).write_text(text)


def without(folder, *names):
    tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if k not in names}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def widen(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["score.0.weight"] = tensors["score.0.weight"].repeat(1, 2)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def more_words(folder):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens([f"word{i}" for i in range(99)])
    tokenizer.save_pretrained(folder)


FAULTS = {
    "wide_head": (widen, "a head that reads 64 numbers, on a backbone that makes 32"),
    "other_tokenizer": (more_words, "a tokenizer of ids up to 4.., and 33. embeddings"),
    "no_config": (lambda f: (f / "config.json").unlink(), "config.json is missing or unreadable"),
    "bad_config": (lambda f: broken(f, "config.json", "{"), "config.json is missing or unreadable"),
    "list_config": (lambda f: broken(f, "config.json", "[]"), "holds a list"),
    "no_weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors, but nothing"),
    "bad_weights": (lambda f: broken(f, "model.safetensors", "x"), "is no safetensors file"),
    "bad_index": (lambda f: broken(f, "model.safetensors.index.json", "{}"), "has no weight_map"),
    "adapters": (lambda f: broken(f, "adapter_config.json", "{}"), "adapters .*merge them"),
    "no_head": (lambda f: without(f, "score.0.weight"), "no tensor 'score.0.weight'"),
    "no_norm": (lambda f: without(f, "model.norm.weight"), "lacks 1 tensors of its backbone.*norm.weight"),
    "unknown_type": (lambda f: change(f, model_type="mine"), "'mine'.*no code of its own"),
    "outcome_model": (lambda f: change(f, architectures=["Qwen2ForRewardModel"]), "a Qwen2ForRewardModel, and no proc"),
    "classifier": (lambda f: change(f, architectures=["BertForSequenceClassification"]), "no process reward model"),
    "no_architecture": (lambda f: change(f, architectures=None), "model of no named architecture"),
    "language_model": (lambda f: change(f, architectures=["Qwen2ForCausalLM"]), "a language model like any other"),
    "no_tokenizer": (
        lambda f: [path.unlink() for path in f.glob("*token*")],
        "holds no tokenizer: none of tokenizer.json",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_is_no_such_model_is_named(qwen, fault):
    spoil, match = FAULTS[fault]
    spoil(qwen)
    with pytest.raises(InvalidSpec, match=match) as caught:
        load_published(qwen)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_the_tag_is_refused(tmp_path):
    folder = published.qwen(tmp_path / "one", special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    with pytest.raises(InvalidSpec, match="does not know <extra_0>"):
        load_published(folder)


@pytest.mark.parametrize(
    ("kind", "asked", "match"),
    [
        ("qwen", "skywork", "no bos_token"),
        ("skywork", "rlhflow", "no chat template"),
        ("skywork", "qwen", "does not know <extra_0>"),
        ("skywork", "math_shepherd", "'ки' is . tokens here"),
        ("math_shepherd", "token_classification", "no tensor 'score.weight'"),
        ("token_classification", "mine", "kind='mine'"),
    ],
)
def test_a_kind_that_it_is_not_is_refused(folders, kind, asked, match):
    with pytest.raises(InvalidSpec, match=match):
        load_published(folders[kind], kind=asked)


@pytest.mark.parametrize(
    ("names", "match"),
    [({"0": "a", "1": "b"}, "does not say which"), ({"0": "good", "1": "true"}, "does not say which")],
    ids=["neither", "both"],
)
def test_labels_that_do_not_say_which_is_right_are_refused(tmp_path, names, match):
    with pytest.raises(InvalidSpec, match=match):
        load_published(published.token_classification(tmp_path / "one", id2label=names))


def test_more_than_two_labels_are_refused(tmp_path, folders):
    folder = shutil.copytree(folders["token_classification"], tmp_path / "three")
    tensors = load_file(folder / "model.safetensors")
    tensors["score.weight"], tensors["score.bias"] = (tensors[f"score.{n}"].repeat(2, *[1] * d)[:3] if d else
        tensors[f"score.{n}"].repeat(2)[:3] for n, d in (("weight", 1), ("bias", 0)))  # fmt: skip
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidSpec, match="3 labels for a step"):
        load_published(folder)


def test_a_chat_template_that_joins_the_answer_to_other_words_is_refused(tmp_path, folders):
    folder = shutil.copytree(folders["rlhflow"], tmp_path / "joined")
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %} {% endif %}"
    byte_level("<|begin|>", "<|start|>", "<|stop|>", "<|eot|>", template=template).save_pretrained(folder)
    with pytest.raises(InvalidSpec, match="no token of its own in this chat template"):
        load_published(folder, kind="rlhflow")


def test_options_that_cannot_be_are_refused(folders):
    for options, match in [
        ({"unit": "reward"}, "unit='reward'"),
        ({"context": 0}, "context=0"),
        ({"context": 513}, "context=513 for a backbone of 512"),
        ({"digest": "0" * 32}, "other weights or another tokenizer"),
    ]:
        with pytest.raises(InvalidSpec, match=match):
            load_published(folders["qwen"], **options)
    with pytest.raises(InvalidSpec, match="no token here"):
        load_published(folders["token_classification"], separator="")
    with pytest.raises(InvalidSpec, match="a folder or a name"):
        make({"name": "published", "params": {"checkpoint": {}}})


def test_a_name_that_is_nowhere_is_refused():
    with pytest.raises(InvalidSpec, match="no folder here, and the Hugging Face Hub gave none"):
        load_published("not/a/repository/name")


def test_a_scorer_json_that_says_nothing_is_refused(tmp_path, qwen):
    load_published(qwen).save(qwen)
    assert load_scorer(qwen).kind == "qwen"
    for text in ('{"name": "published"}', '{"name": "published", "params": {"odd": 1}}'):
        (qwen / "scorer.json").write_text(text)
        with pytest.raises(InvalidSpec, match=r"scorer.json is unreadable"):
            load_scorer(qwen)


TAGS = {
    "qwen": "<extra_0>",
    "skywork": "<|endoftext|>",
    "math_shepherd": "ки",
    "rlhflow": "<|eot|>",
    "token_classification": "<|endoftext|>",
}


@pytest.mark.parametrize("kind", sorted(TAGS))
def test_a_step_that_spells_a_sign_of_the_model_spoils_what_follows(folders, kind):
    prm = load_published(folders[kind], kind=kind)
    steps = [STEPS[0], f"Look: {TAGS[kind]} here", STEPS[2]]
    scores = prm([solution(QUESTION, steps)])[0]
    assert scores.values[0] == pytest.approx(score_reasoning_steps(prm, QUESTION, STEPS)[0][0], rel=1e-4)
    assert scores.values[1:] == (None, None)
    assert scores.notes == (None, *[f"step 1 spells {TAGS[kind]!r}, which is a sign of this model's own"] * 2)
    assert score_reasoning_steps(prm, QUESTION, steps) == (scores.values, None)
    asked = prm([solution(f"What is {TAGS[kind]}?", STEPS)])[0]
    assert asked.values == (None,) * 3
    assert asked.notes[0].startswith("the question spells")


@pytest.mark.parametrize("kind", sorted(TAGS))
def test_what_lies_beyond_the_context_has_no_score(folders, kind):
    whole = load_published(folders[kind], kind=kind)
    window, _ = whole.read(solution(QUESTION, STEPS))
    short = load_published(folders[kind], kind=kind, context=window.ends[1] + 1)
    scores = short([solution(QUESTION, STEPS)])[0]
    assert scores.values[:2] == pytest.approx(score_reasoning_steps(whole, QUESTION, STEPS)[0][:2], rel=1e-4)
    assert scores.values[2] is None
    assert scores.notes[2] == (
        f"the solution has {window.ends[2] + 1} tokens up to step 2, and this model reads {window.ends[1] + 1}"
    )
    assert score_reasoning_steps(short, QUESTION, STEPS)[1] is None


@pytest.mark.parametrize("kind", sorted(TAGS))
def test_a_step_without_words_has_no_score_and_is_left_out(folders, kind):
    prm = load_published(folders[kind], kind=kind)
    expected, _ = score_reasoning_steps(prm, QUESTION, STEPS[:2])
    for empty in ("", " \n"):
        scores = prm([solution(QUESTION, [STEPS[0], empty, STEPS[1]])])[0]
        assert (scores.values[0], scores.values[2]) == pytest.approx(expected, rel=1e-4)
        assert scores.values[1] is None
        assert scores.notes[1]
    assert prm([solution(QUESTION, [""])])[0].values == (None,)


@pytest.mark.parametrize(
    ("question", "steps"),
    [("q", []), ("q", "one text"), ("q", [1]), ("q", [["a"], []]), (["q", "r"], [["a"]]), (["q"], [["a"], ["b"]])],
    ids=["none", "a_text", "numbers", "one_empty", "too_many_questions", "too_few_questions"],
)
def test_what_is_no_solution_is_refused(question, steps):
    with pytest.raises(InvalidTrajectory):
        score_reasoning_steps(Constant(0.5), question, steps)
