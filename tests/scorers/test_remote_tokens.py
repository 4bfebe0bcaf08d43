"""vLLM and SGLang, as far as their shapes go, say of a model what the same model says here."""

import json

import published_folders as published
import pytest
from published_folders import QUESTION, STEPS, WRITERS
from remote_models import NAME, VLLM, Judging, SGLang
from remote_servers import Unruly, serving

from agentprm import PRMRewardWrapper, make
from agentprm.errors import BadAnswer, InvalidSpec, ModelChanged, RemoteError
from agentprm.scorers._remote_numbers import activated, which
from agentprm.scorers.discriminative import Discriminative
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.scorers.published import load_published, solution
from agentprm.scorers.remote import Remote
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode, hostile
from agentprm.text.tokens import texts, train_tokenizer

KINDS = sorted(WRITERS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: write(root / kind) for kind, write in WRITERS.items()}


@pytest.fixture(scope="module")
def models(folders):
    return {kind: load_published(folder, kind=kind) for kind, folder in folders.items()}


def rows_of(model):
    return Judging(model.reader.backbone, model.reader.head)


@pytest.fixture
def serve():
    """Give a function that serves a model in the shapes of somebody else; give the server."""
    opened = []

    def start(answer):
        block = serving(Unruly(answer))
        opened.append(block)
        return block.__enter__()

    yield start
    for block in opened:
        block.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr("agentprm.scorers._remote_client._FIRST_WAIT_S", 0.01)


def alike(one, other):
    for here, there in zip(one, other, strict=True):
        assert here.notes == there.notes
        assert [v is None for v in here.values] == [v is None for v in there.values]
        assert [v for v in there.values if v is not None] == pytest.approx(
            [v for v in here.values if v is not None], abs=1e-5
        )


SOLUTIONS = [solution(QUESTION, STEPS), solution(QUESTION, STEPS[:1]), solution("1 + 1?", ["It is 2.", "", "So 2."])]


@pytest.mark.parametrize("kind", ["qwen", "skywork", "token_classification"])
@pytest.mark.parametrize("api", ["vllm", "vllm_classify", "sglang", "sglang_encode"])
def test_a_reward_model_says_there_what_it_says_here(serve, models, folders, kind, api):
    rows = rows_of(models[kind])
    server = serve(SGLang(rows) if api.startswith("sglang") else VLLM(rows))
    remote = Remote(server.url, api, tokenizer=folders[kind], reads=kind)
    alike(models[kind](SOLUTIONS), remote(SOLUTIONS))
    assert (remote.unit, remote.sees, remote.model) == ("correctness", "action", NAME)


@pytest.mark.parametrize("kind", ["math_shepherd", "rlhflow"])
def test_a_language_model_that_says_plus_or_minus(serve, models, folders, kind):
    server = serve(SGLang(folder=folders[kind]))
    remote = Remote(server.url, "sglang_score", tokenizer=folders[kind], reads=kind)
    alike(models[kind](SOLUTIONS), remote(SOLUTIONS))


def test_step_pooling_gives_a_row_for_each_sign(serve, models, folders):
    sign = models["qwen"]._checkpoint.tokenizer().convert_tokens_to_ids("<extra_0>")
    server = serve(VLLM(rows_of(models["qwen"]), step=sign))
    remote = Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen")
    alike(models["qwen"](SOLUTIONS), remote(SOLUTIONS))


@pytest.mark.parametrize("always", [True, False])
def test_a_server_that_does_not_know_activations_is_found_out(serve, models, folders, always):
    server = serve(VLLM(rows_of(models["qwen"]), obeys=False, always=always))
    remote = Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen")
    alike(models["qwen"](SOLUTIONS), remote(SOLUTIONS))


def test_one_number_that_may_be_either_is_not_guessed(serve, models, folders):
    server = serve(VLLM(rows_of(models["skywork"]), obeys=False, always=True))
    with pytest.raises(InvalidSpec, match="activated=True if they are"):
        Remote(server.url, "vllm", tokenizer=folders["skywork"], reads="skywork")(SOLUTIONS)
    told = Remote(server.url, "vllm", tokenizer=folders["skywork"], reads="skywork", activated=True)
    alike(models["skywork"](SOLUTIONS), told(SOLUTIONS))


def test_which_numbers_a_server_gives():
    raw = (1.0, -0.5)
    assert not which(raw, activated(raw), "it")
    assert which(activated(raw), activated(raw), "it")
    assert not which(raw, raw, "it")
    assert not which((3.0,), (3.0,), "it")
    assert not which((0.3,), activated((0.3,)), "it")
    for raw, cooked in (((0.3,), (0.3,)), ((0.3,), (0.9,)), ((0.3, 0.7), (0.5,))):
        with pytest.raises(InvalidSpec):
            which(raw, cooked, "it")


class Contract(ScorerContract):
    @pytest.fixture(autouse=True)
    def _served(self, serve, models, folders):
        self.server, self.folder = serve(VLLM(rows_of(models["qwen"]))), folders["qwen"]


class TestPublished(Contract):
    def make_scorer(self):
        return Remote(self.server.url, "vllm", tokenizer=self.folder, reads="qwen")


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    root = tmp_path_factory.mktemp("ours")
    tokenizer = train_tokenizer(texts(corridors(20)), 300)
    options = {"hidden": 32, "context": 256}
    made = {
        "plain": PromiseProgress.tiny(tokenizer, **options),
        "result": Discriminative.tiny(tokenizer, sees="result", **options),
    }
    for name, model in made.items():
        model.reader.head.weight.data.normal_(0, 0.3)
        model.save(root / name)
    return root, made


@pytest.mark.parametrize("name", ["plain", "result"])
def test_our_own_models_are_read_turn_by_turn_in_windows(serve, ours, name):
    root, made = ours
    server = serve(VLLM(rows_of(made[name]), limit=256))
    remote = Remote(
        server.url, "vllm", made[name].unit, made[name].sees, tokenizer=root / name, reads="plain", batch_size=3
    )
    played = [*corridors(6, seed=3), *hostile(), episode(*[(f"room {i}", f"go {i}") for i in range(40)])]
    here = made[name](played)
    assert any("read without" in (note or "") for note in here[-1].notes)
    alike(here, remote(played))


def test_a_tokenizer_without_the_markers_is_refused(serve, ours, folders):
    server = serve(VLLM(None))
    with pytest.raises(InvalidSpec, match="lacks 8 of the markers"):
        Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="plain")


WRONG = [
    ({}, "reads is how"),
    ({"reads": "whatever"}, "reads is how"),
    ({"reads": "qwen", "sees": "result"}, "by its action"),
    ({"reads": "qwen", "unit": "joy"}, "unit is one of"),
    ({"reads": "qwen", "context": 9_999}, "9999, and my-prm reads 512"),
    ({"reads": "qwen", "model": "another"}, "serves my-prm: say model="),
    ({"reads": "qwen", "tokenizer": None}, "tokenizer="),
    ({"reads": "qwen", "tokenizer": "no/such/folder/here"}, "no folder here"),
    ({"reads": "skywork"}, "bos_token"),
    ({"reads": "qwen", "api": "sglang_score"}, "head of its own"),
    ({"reads": "plain", "api": "sglang"}, "markers"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=range(len(WRONG)))
def test_settings_that_do_not_fit_are_refused(serve, models, folders, options, said):
    server = serve(VLLM(None))
    given = {"api": "vllm", "tokenizer": folders["qwen"], **options}
    with pytest.raises(InvalidSpec, match=said):
        Remote(server.url, **given)


def test_of_several_models_one_is_named(serve, models, folders):
    server = serve(VLLM(rows_of(models["qwen"]), names=("one", "two")))
    with pytest.raises(InvalidSpec, match="one, two: say model="):
        Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen")
    one, two = (
        Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen", model=name) for name in ("one", "two")
    )
    assert one.spec != two.spec


def test_who_it_is_has_every_part_of_its_name(serve, models, folders):
    def spec(names=(NAME,), **options):
        server = serve(VLLM(None, names=names))
        return Remote(server.url, "vllm", **{"tokenizer": folders["qwen"], "reads": "qwen", **options}).spec

    first = spec()
    assert spec() == first
    others = [spec(names=("x",)), spec(version="2"), spec(right=0), spec(unit="value"), spec(context=99)]
    others.append(spec(tokenizer=folders["token_classification"], reads="token_classification"))
    assert len({first, *others}) == 7
    assert make(json.loads(first.to_json())).spec == first


def test_another_model_behind_a_recorded_name_is_refused(serve, models, folders):
    server = serve(VLLM(rows_of(models["qwen"])))
    remote = Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen")
    recorded = remote.spec
    server.answer.names = ("another",)
    server.script += [(200, {}, json.dumps({"model": "another", "data": []}).encode())]
    with pytest.raises(ModelChanged, match="answered for 'another'"):
        remote(SOLUTIONS)
    with pytest.raises((ModelChanged, InvalidSpec), match="another"):
        make(recorded)(SOLUTIONS)


def pooled(rows, tokens=None, **more):
    """Return an answer of /pooling with these rows for one text."""
    usage = {"prompt_tokens": tokens} if tokens else {}
    said = {"model": NAME, "data": [{"index": 0, "data": rows}], "usage": usage, **more}
    return (200, {}, json.dumps(said).encode())


def scored(n):
    return [[0.5, 0.5]] * n


BROKEN = {
    "too few rows": (pooled(scored(7)), "7 rows for .* tokens and 3 steps"),
    "no rows": (pooled([]), "0 rows"),
    "a number": (pooled(0.5), "0 rows"),
    "base64": (pooled("AAAA"), "0 rows"),
    "NaN": (pooled([[0.5, None]] * 3), "finite number"),
    "bare NaN": ((200, {}, b'{"model": "my-prm", "data": [{"index": 0, "data": [[NaN]]}]}'), "JSON"),
    "infinite": ((200, {}, b'{"model": "my-prm", "data": [{"index": 0, "data": [[1e999], [0], [0]]}]}'), "finite|JSON"),
    "a text": (pooled([["0.5", "0.5"]] * 3), "finite number"),
    "true": (pooled([[True, False]] * 3), "finite number"),
    "embeddings": (pooled([[0.1] * 896] * 3), "896 numbers .* gives embeddings"),
    "three labels": (pooled([[0.2, 0.3, 0.5]] * 3), "say right="),
    "no chances": (pooled([[0.9, 0.9]] * 3), "no chances"),
    "other tokens": (pooled(scored(3), tokens=7), "read 7"),
    "another text": (pooled(scored(3), data=[{"index": 4, "data": scored(3)}]), "answered for texts"),
    "two texts": (pooled(scored(3), data=[{"index": 0}, {"index": 1}]), "about 1 texts, and answered 2"),
    "no data": (pooled(scored(3), data=None), "about 1 texts"),
    "a list": ((200, {}, b"[]"), "an object"),
    "html": ("html", "JSON"),
    "refused": ((400, {}, b'{"error": {"message": "too long for max_model_len", "code": 400}}'), "too long"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_is_no_score_is_refused_by_name(serve, models, folders, case):
    trick, said = BROKEN[case]
    server = serve(VLLM(rows_of(models["qwen"])))
    remote = Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen", activated=True)
    server.script.append(trick)
    with pytest.raises(RemoteError, match=said):
        remote(SOLUTIONS[:1])


def test_a_classifier_of_one_label_behind_a_softmax_is_no_silent_one(serve, models, folders):
    server = serve(VLLM(lambda ids: rows_of(models["qwen"])(ids)[:, :1]))
    remote = Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen", unit="reward")
    rewards = remote(SOLUTIONS[:1])[0].values
    raw = rows_of(models["qwen"])(models["qwen"].read(SOLUTIONS[0])[0].ids.tolist())[:, 0]
    assert rewards == pytest.approx(raw[list(models["qwen"].read(SOLUTIONS[0])[0].ends)].tolist(), abs=1e-5)


def test_sglang_that_answers_otherwise_is_refused(serve, models, folders):
    server = serve(SGLang(rows_of(models["qwen"])))
    remote = Remote(server.url, "sglang", tokenizer=folders["qwen"], reads="qwen")
    for trick, said in (
        (b'[{"text": "hello"}]', "embedding of each text"),
        (b'[{"embedding": [0.1, 0.2], "meta_info": {"prompt_tokens": 2}}]', "says that it read 2"),
        (b"[]", "about 1 texts, and answered 0"),
        (b'{"detail": "x"}', "embedding of each text"),
    ):
        server.script.append((200, {}, trick))
        with pytest.raises(BadAnswer, match=said):
            remote(SOLUTIONS[1:2])


def test_an_older_sglang_calls_it_get_model_info(serve, models, folders):
    server = serve(SGLang(rows_of(models["qwen"])))
    server.script += [(404, {}, b'{"detail": "Not Found"}')]
    remote = Remote(server.url, "sglang", tokenizer=folders["qwen"], reads="qwen")
    assert [path for path, _, _ in server.seen] == ["/model_info", "/get_model_info"]
    alike(models["qwen"](SOLUTIONS), remote(SOLUTIONS))


def test_steps_beyond_the_context_are_none_and_nothing_of_them_is_sent(serve, models, folders):
    server = serve(VLLM(rows_of(models["qwen"]), limit=120))
    remote = Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen")
    long = solution(QUESTION, [*STEPS, "and so on " * 40, "so 7"])
    scores = remote([long])[0]
    assert scores.values[-2:] == (None, None)
    assert "this model reads 120" in scores.notes[-1]
    assert all(len(ids) <= 120 for _, body, _ in server.seen if body for ids in json.loads(body)["input"])


def test_nothing_to_ask_asks_nothing(serve, models, folders):
    server = serve(VLLM(rows_of(models["qwen"])))
    remote = Remote(server.url, "vllm", tokenizer=folders["qwen"], reads="qwen")
    server.seen.clear()
    scores = remote([solution("<extra_0>?", STEPS), episode(status=None)])
    assert [s.values for s in scores] == [(None,) * 3, ()]
    assert server.seen == []


def test_it_pays_a_live_reward(serve, ours):
    root, made = ours
    server = serve(VLLM(rows_of(made["plain"]), limit=256))
    form = f"remote:url={server.url},api=vllm,unit=value,tokenizer={root / 'plain'},reads=plain"
    env = PRMRewardWrapper(Corridor(), form)
    env.reset(seed=0)
    *_, info = env.step("go left")
    (here,) = made["plain"]([env.trajectory])
    assert info["prm"]["score"] == pytest.approx(here.values[0], abs=1e-5)
    assert env.failed == 0
    env.close()


def test_published_folders_are_what_their_writers_say():
    assert set(KINDS) == set(published.WRITERS)
