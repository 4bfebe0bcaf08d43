"""Published process reward models say what plain transformers code makes of the same folder, and are scorers."""

import copy
import json
import pickle
import shutil

import published_folders as published
import pytest
import torch
from published_folders import QUESTION, STEPS, WRITERS
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, pre_tokenizers
from torch.nn.functional import linear
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForTokenClassification,
    Qwen2Model,
)

from agentprm import Store, best_of_n, credit, load_scorer, make
from agentprm.errors import InvalidSpec
from agentprm.ops.aggregate import minimum
from agentprm.scorers.constant import Constant
from agentprm.scorers.published import load_published, score_reasoning_steps, solution
from agentprm.testing.scorer import ScorerContract

KINDS = sorted(WRITERS)
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: write(root / kind) for kind, write in WRITERS.items()}


class Contract(ScorerContract):
    @pytest.fixture(autouse=True)
    def _folder(self, folders):
        self.folder = folders[self.kind]

    def make_scorer(self):
        return load_published(self.folder, kind=self.kind)


class TestQwen(Contract):
    kind = "qwen"


class TestSkywork(Contract):
    kind = "skywork"


class TestMathShepherd(Contract):
    kind = "math_shepherd"


class TestRLHFlow(Contract):
    kind = "rlhflow"


class TestTokenClassification(Contract):
    kind = "token_classification"


def states(folder, ids):
    """Return what a Qwen2 without any head makes of some ids, by nothing but its own weights."""
    config = Qwen2Config(**json.loads((folder / "config.json").read_text()))
    tensors = load_file(folder / "model.safetensors")
    model = Qwen2Model(config).eval()
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    with torch.no_grad():
        return model(torch.tensor([ids])).last_hidden_state[0], tensors


def qwen_by_hand(folder):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    text = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text + "<extra_0>".join(STEPS) + "<extra_0><|im_end|>\n")["input_ids"]
    hidden, at = states(folder, ids)
    middle = linear(hidden, at["score.0.weight"], at["score.0.bias"]).relu()
    chances = linear(middle, at["score.2.weight"], at["score.2.bias"]).softmax(-1)[:, 1]
    return chances[torch.tensor(ids) == tokenizer.convert_tokens_to_ids("<extra_0>")]


def skywork_by_hand(folder):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ids, ends = tokenizer.encode(f"<|endoftext|>{QUESTION}\n"), []
    for line in "\n".join(STEPS).split("\n"):
        ids += [*tokenizer.encode(line), tokenizer.encode("\n")[-1]]
        ends.append(len(ids) - 1)
    hidden, at = states(folder, ids)
    return linear(hidden, at["v_head.summary.weight"], at["v_head.summary.bias"]).sigmoid()[ends, 0]


def shepherd_by_hand(folder):
    tokenizer, model = (
        PreTrainedTokenizerFast.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder).eval(),
    )
    tag, plus, minus = tokenizer.convert_tokens_to_ids(["▁ки", "▁+", "▁-"])
    text = "\n".join(f"Step {k}: {step} ки" for k, step in enumerate(STEPS, 1))
    ids = torch.tensor([tokenizer(f"{QUESTION} {text}")["input_ids"]])
    assert ids[0, 0] == tokenizer.bos_token_id
    with torch.no_grad():
        return model(ids).logits[:, :, [plus, minus]].softmax(-1)[:, :, 0][ids == tag]


def rlhflow_by_hand(folder):
    tokenizer, model = (
        PreTrainedTokenizerFast.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder).eval(),
    )
    said, chances = [], []
    for step in STEPS:
        said.append({"role": "user", "content": step if said else f"{QUESTION} {step}"})
        said.append({"role": "assistant", "content": "+"})
        ids = tokenizer.apply_chat_template(said, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            # … line ends, +, end of turn: the last but two foretells the +.
            logits = model(ids).logits[0, -3, [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]]
        chances.append(logits.softmax(-1)[0])
    return torch.stack(chances)


def trl_ids(tokenizer, question=QUESTION, steps=STEPS, separator="\n"):
    """Return the ids that PRMTrainer trains on, and where its labels stand."""
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids, ends = bos + tokenizer(question, add_special_tokens=False)["input_ids"], []
    for step in steps:
        ids += tokenizer(step, add_special_tokens=False)["input_ids"]
        ids += tokenizer.encode(separator, add_special_tokens=False)
        ends.append(len(ids) - 1)
    return ids, ends


def trl_by_hand(folder, right=1, **options):
    model = Qwen2ForTokenClassification.from_pretrained(folder).eval()
    ids, ends = trl_ids(PreTrainedTokenizerFast.from_pretrained(folder), **options)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].softmax(-1)[ends, right]


BY_HAND = {
    "qwen": qwen_by_hand,
    "skywork": skywork_by_hand,
    "math_shepherd": shepherd_by_hand,
    "rlhflow": rlhflow_by_hand,
    "token_classification": trl_by_hand,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_plain_code_says(folders, kind):
    scores, least = score_reasoning_steps(load_published(folders[kind], kind=kind), QUESTION, STEPS)
    expected = BY_HAND[kind](folders[kind]).tolist()
    assert scores == pytest.approx(expected, abs=1e-6, rel=1e-5)
    assert least == minimum(scores)
    assert len({f"{score:.3g}" for score in expected}) == len(STEPS), "scores that are all alike show nothing"


def test_the_tokenizer_is_the_one_that_was_saved(tmp_path, folders):
    """AutoTokenizer gives a Qwen2 that was trained on single letters the words that other Qwen2 models read."""
    folder = shutil.copytree(folders["token_classification"], tmp_path / "own")
    own = Tokenizer.from_str((folder / "tokenizer.json").read_text())
    letters = pre_tokenizers.Split("", "isolated")
    own.pre_tokenizer = pre_tokenizers.Sequence([letters, pre_tokenizers.ByteLevel(False, use_regex=False)])
    own.save(str(folder / "tokenizer.json"))
    window, _ = load_published(folder).read(solution("7. 7.", ["ends with."]))
    asked, said, end = (own.encode(text, add_special_tokens=False).ids for text in ("7. 7.", "ends with.", "\n"))
    assert window.ids.tolist() == [*asked, *said, *end]
    usual = AutoTokenizer.from_pretrained(folder)
    assert usual("ends with.", add_special_tokens=False)["input_ids"] != said, "the trap is no trap"


def test_a_copy_is_remade_from_the_folder(folders):
    prm = load_published(folders["qwen"], context=300)
    for again in (pickle.loads(pickle.dumps(prm)), copy.deepcopy(prm)):
        assert (again.spec, again.context) == (prm.spec, 300)
        assert score_reasoning_steps(again, QUESTION, STEPS) == score_reasoning_steps(prm, QUESTION, STEPS)


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once_are_each_alone(folders, kind):
    prm = load_published(folders[kind], kind=kind)
    questions, many = [QUESTION, "Why?", QUESTION], [STEPS, ["Because."], STEPS[:1] * 9]
    alone = [score_reasoning_steps(prm, *one) for one in zip(questions, many, strict=True)]
    for together, one in zip(score_reasoning_steps(prm, questions, many), alone, strict=True):
        assert together[0] == pytest.approx(one[0], rel=1e-4, abs=1e-6)
    same = score_reasoning_steps(prm, QUESTION, [STEPS, STEPS])
    assert same[0][0] == pytest.approx(alone[0][0], rel=1e-4, abs=1e-6)
    assert same[1][0] == pytest.approx(alone[0][0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_solution_is_read_once_and_as_it_grows_only_what_is_new(folders, kind):
    done, live = (load_published(folders[kind], kind=kind) for _ in range(2))
    window, _ = done.read(solution(QUESTION, STEPS))
    whole = done([solution(QUESTION, STEPS)])[0].values
    assert done.reader.cache.encoded_tokens == len(window.ids)
    grown = [live([solution(QUESTION, STEPS[: t + 1])])[0].values[t] for t in range(len(STEPS))]
    assert grown == pytest.approx(whole, rel=1e-4, abs=1e-6)
    assert live.reader.cache.encoded_tokens <= len(window.ids) + len(STEPS), "the beginning was computed anew"


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [("qwen", None), ("skywork", None), ("skywork", "Qwen2ForCausalLM"), ("token_classification", None)],
    ids=["qwen", "skywork", "skywork_by_its_tensors", "token_classification"],
)
def test_the_kind_is_read_off_configuration_and_tensors(tmp_path, kind, architecture):
    more = {"architectures": [architecture]} if architecture else {}
    assert load_published(WRITERS[kind](tmp_path / "somewhere", **more)).kind == kind


@pytest.mark.parametrize(
    ("kind", "folder"),
    [("math_shepherd", "math-shepherd-mistral-7b-prm"), ("rlhflow", "Llama3.1-8B-PRM-Deepseek-Data")],
    ids=["math_shepherd", "rlhflow"],
)
def test_language_models_are_known_by_their_published_names(tmp_path, kind, folder):
    assert load_published(WRITERS[kind](tmp_path / folder)).kind == kind


def test_the_score_is_read_at_the_separator_as_it_was_trained(folders):
    """Written in one go, a full stop takes the line end along: a token that no label ever stood on."""
    folder = folders["token_classification"]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    end, steps = tokenizer.encode("\n")[-1], ["It ends.", 'call({"a": 1})']
    assert tokenizer.encode("It ends.\n")[-1] != end != tokenizer.encode('call({"a": 1})\n')[-1]
    window, _ = load_published(folder).read(solution(QUESTION, steps))
    ids, ends = trl_ids(tokenizer, steps=steps)
    assert (window.ids.tolist(), list(window.ends)) == (ids, ends)
    assert [window.ids[i] for i in window.ends] == [end, end]


def test_a_token_classifier_may_have_a_bos_no_bias_and_another_separator(tmp_path):
    folder = published.token_classification(tmp_path / "one", bias=False, bos="<|endoftext|>")
    scores, _ = score_reasoning_steps(load_published(folder, separator=" ## "), QUESTION, STEPS)
    assert scores == pytest.approx(trl_by_hand(folder, separator=" ## ").tolist(), rel=1e-4)


def test_the_label_called_correct_is_the_one_that_counts(tmp_path):
    folder = published.token_classification(tmp_path / "one", id2label={"0": "correct", "1": "incorrect"})
    assert score_reasoning_steps(load_published(folder), QUESTION, STEPS)[0] == pytest.approx(
        trl_by_hand(folder, right=0).tolist(), rel=1e-4
    )


def test_tied_embeddings_are_the_output_layer(tmp_path):
    folder = published.rlhflow(tmp_path / "tied", tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    scores, _ = score_reasoning_steps(load_published(folder, kind="rlhflow"), QUESTION, STEPS)
    assert scores == pytest.approx(rlhflow_by_hand(folder).tolist(), rel=1e-4)


def test_a_checkpoint_may_lie_in_several_files(tmp_path, folders):
    folder = shutil.copytree(folders["qwen"], tmp_path / "shards")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, some in shards.items():
        save_file({name: tensors[name] for name in some}, folder / file, metadata={"format": "pt"})
    places = {name: file for file, some in shards.items() for name in some}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    one, other = load_published(folder), load_published(folders["qwen"])
    assert one.spec == other.spec
    assert score_reasoning_steps(one, QUESTION, STEPS) == score_reasoning_steps(other, QUESTION, STEPS)


def test_steps_that_number_themselves_are_not_numbered_again(folders):
    prm = load_published(folders["math_shepherd"], kind="math_shepherd")
    numbered = [f"Step {k}: {step}" for k, step in enumerate(STEPS, 1)]
    assert score_reasoning_steps(prm, QUESTION, numbered) == score_reasoning_steps(prm, QUESTION, STEPS)


def test_lines_of_one_step_are_judged_where_the_last_ends(folders):
    prm = load_published(folders["skywork"])
    each, _ = score_reasoning_steps(prm, QUESTION, STEPS)
    joined, _ = score_reasoning_steps(prm, QUESTION, ["\n".join(STEPS[:2]), STEPS[2]])
    assert joined == pytest.approx(each[1:], rel=1e-5)


def test_half_precision_says_nearly_the_same(folders):
    whole, half = (load_published(folders["qwen"], dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert next(half.reader.backbone.parameters()).dtype == torch.bfloat16
    assert score_reasoning_steps(half, QUESTION, STEPS)[0] == pytest.approx(
        score_reasoning_steps(whole, QUESTION, STEPS)[0], abs=0.2
    )
    assert half.spec != whole.spec


def test_where_it_lies_is_no_part_of_what_it_is(tmp_path, folders):
    shutil.copytree(folders["skywork"], tmp_path / "elsewhere")
    one, other = load_published(folders["skywork"]), load_published(tmp_path / "elsewhere")
    assert one.spec == other.spec
    assert one.spec.params["checkpoint"] != other.spec.params["checkpoint"]
    assert make(f"published:checkpoint={folders['skywork']}").spec == one.spec


def test_saved_it_is_a_model_folder_like_any_other(tmp_path, folders):
    prm = load_published(folders["qwen"], context=300)
    asked = prm.spec
    prm.save(tmp_path / "kept")
    (again, made) = load_scorer(tmp_path / "kept"), make(json.loads(prm.spec.to_json()))
    assert again.spec == made.spec == prm.spec == asked
    assert again.spec.params["checkpoint"] == {"folder": str(tmp_path / "kept")}
    assert score_reasoning_steps(tmp_path / "kept", QUESTION, STEPS) == score_reasoning_steps(prm, QUESTION, STEPS)
    prm.save(tmp_path / "kept")
    assert load_scorer(tmp_path / "kept").spec == asked


def test_other_weights_than_the_recorded_ones_are_refused(tmp_path, folders):
    folder = shutil.copytree(folders["skywork"], tmp_path / "changed")
    spec = load_published(folder).spec
    tensors = load_file(folder / "model.safetensors")
    tensors["v_head.summary.bias"] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidSpec, match="other weights"):
        make(spec)


def test_another_tokenizer_than_the_recorded_one_is_refused(tmp_path, folders):
    folder = shutil.copytree(folders["skywork"], tmp_path / "changed")
    spec = load_published(folder).spec
    own = json.loads((folder / "tokenizer.json").read_text())
    own["model"]["merges"] = own["model"]["merges"][:-1]
    (folder / "tokenizer.json").write_text(json.dumps(own))
    with pytest.raises(InvalidSpec, match="another tokenizer"):
        make(spec)


def test_solutions_are_stored_scored_and_chosen_among(folders):
    prm = load_published(folders["token_classification"])
    solutions = [solution(QUESTION, [*STEPS[:2], answer]) for answer in ("So 7.", "So 8.", "So \\boxed{7}")]
    scored = prm(solutions)
    with Store(":memory:") as store:
        store.add([*solutions, *scored])
        kept = [next(iter(store.scores(t.id, source=prm.spec))) for t in solutions]
        table = credit.value_by_action(store, prm.spec)
    assert [scores.values for scores in kept] == [scores.values for scores in scored]
    assert table.n == 6
    best = best_of_n(solutions, prm, minimum)
    assert best is solutions[max(range(3), key=lambda i: min(scored[i].values))]


def test_any_scorer_judges_reasoning():
    assert score_reasoning_steps(Constant(0.25), "Why?", [["a", "b"], ["c"]]) == [((0.25, 0.25), 0.25), ((0.25,), 0.25)]
