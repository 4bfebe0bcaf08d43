"""What all language models have in common: reading trees, remembering episodes, choosing what learns."""

import copy
import json
import os
import pickle
from pathlib import Path
from uuid import uuid4

import gymnasium as gym
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from transformers import (
    AutoModel,
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from agentprm import PRMRewardWrapper, best_action
from agentprm.errors import InvalidSpec, MissingExtra, TrainingError
from agentprm.feedback.gymnasium_vector import PRMVectorRewardWrapper
from agentprm.record.policies import RandomPolicy
from agentprm.record.rollout import rollout
from agentprm.scorers.discriminative import Discriminative
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.spec import load_scorer
from agentprm.testing.trajectories import corridors, episode
from agentprm.text.render import samples
from agentprm.text.tokens import Encoder, texts, train_tokenizer
from agentprm.types import Action, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory, new_id

DATA = Path(__file__).parents[3] / "shared" / "data" / "agentprocessbench_hotpotqa.jsonl"
PLAYED = corridors(8)
TOKENIZER = train_tokenizer(texts(PLAYED), vocab_size=360)
ENCODER = Encoder.of(TOKENIZER)
BABYAI = "agentprm_envs:BabyAIText/GoToLocal-v0"
LLAMA = {
    "vocab_size": ENCODER.size,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
CONFIGS = {
    "llama": LlamaConfig(**LLAMA),
    "qwen2": Qwen2Config(**LLAMA),
    "qwen3": Qwen3Config(**LLAMA, head_dim=8),
    "mistral": MistralConfig(**LLAMA),
    "gpt2": GPT2Config(
        vocab_size=ENCODER.size, n_positions=4096, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    ),
}
PADDED = {
    "bloom": BloomConfig(vocab_size=ENCODER.size, hidden_size=32, n_layer=2, n_head=2),
    "mamba": MambaConfig(vocab_size=ENCODER.size, hidden_size=32, num_hidden_layers=2, state_size=4),
    "gemma2": Gemma2Config(**LLAMA, head_dim=8),
}


def made(config=None, kind=PromiseProgress, encoder=ENCODER, **options):
    """A model whose head says something: untrained, every value would be the same."""
    torch.manual_seed(0)
    backbone = AutoModel.from_config(config or CONFIGS["llama"])
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.mul_(2)
    model = kind(backbone, encoder, **{"context": 4096, **options})
    with torch.no_grad():
        for weight in model.reader.head.parameters():
            weight.copy_(torch.linspace(-1, 1, weight.numel()).view_as(weight))
    return model


def n_tokens(model, *trajectories):
    return sum(len(window.ids) for trajectory in trajectories for window in model.read(trajectory)[0])


def live(model, trajectory):
    """What it says of each step when it is asked after each, and how many tokens that took."""
    before = model.encoded_tokens
    said = [model([trajectory.seen(t, model.sees)])[0].values[t] for t in range(len(trajectory))]
    return said, model.encoded_tokens - before


def assert_same(one, other):
    assert [v is None for v in one] == [v is None for v in other]
    assert [v for v in one if v is not None] == pytest.approx([v for v in other if v is not None], abs=1e-5)


def labelled(*trajectories, unit="value"):
    values = [tuple(float((i + t) % 2) for t in range(len(one))) for i, one in enumerate(trajectories)]
    return [(t, Scores(t.id, Spec("given"), unit, v)) for t, v in zip(trajectories, values, strict=True)]


def forks(n, shared=6, own=2):
    """Episodes that part after some turns: Monte-Carlo rollouts from one state, a group of one task."""
    begin = [(f"a place {t} of many with walls and doors", f"go {t}") for t in range(shared)]
    return [episode(*begin, *[(f"another {k} {t}", f"take {k}") for t in range(own)], last="end") for k in range(n)]


# Live


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("sees", ["action", "result"])
def test_an_episode_scored_turn_by_turn_costs_each_token_once(name, sees):
    model, plain = made(CONFIGS[name], sees=sees), made(CONFIGS[name], sees=sees, memory=0)
    assert model.reader.packs
    trajectory = episode(*[(f"a place {t} of many, a door and a wall", f"go {t}") for t in range(20)], last="home")
    said, tokens = live(model, trajectory)
    assert_same(said, plain([trajectory])[0].values)
    assert tokens == n_tokens(model, trajectory)
    assert live(plain, trajectory)[1] > 8 * tokens


@pytest.mark.parametrize("name", PADDED)
def test_a_backbone_that_cannot_be_packed_is_read_as_a_whole(name):
    model = made(PADDED[name], **({"context": 512} if name != "gemma2" else {}))
    assert not model.reader.packs
    trajectory = PLAYED[0]
    said, tokens = live(model, trajectory)
    assert_same(said, model([trajectory])[0].values)
    assert tokens > n_tokens(model, trajectory)
    assert float(model.loss(labelled(*PLAYED)).detach()) > 0


def test_what_tools_return_after_a_decision_is_read_in_the_next_turn():
    calls = (ToolCall("look", {"at": "door"}, "1", "a long answer " * 5), ToolCall("go", {}, "2", "bad", "error"))
    steps = tuple(Step(Observation("q" * t), Action(f"say {t}", "plan", calls)) for t in range(8))
    trajectory = Trajectory(
        new_id(), Task("t"), steps, Observation("end"), meta={"system": "be brief", "tools": [{"a": 1}]}
    )
    model = made()
    said, tokens = live(model, trajectory)
    assert_same(said, made(memory=0)([trajectory])[0].values)
    assert tokens == n_tokens(model, trajectory)


def test_windows_of_a_long_episode_are_remembered_too():
    trajectory = episode(*[(f"a place {t} of many", f"go {t}") for t in range(40)], last="home")
    model = made(context=120)
    said, tokens = live(model, trajectory)
    assert_same(said, made(context=120, memory=0)([trajectory])[0].values)
    assert tokens < 1.5 * n_tokens(model, trajectory)


def test_trained_in_between_it_forgets_what_it_knew():
    model, trajectory = made(), PLAYED[0]
    half = len(trajectory) // 2
    for t in range(half):
        model([trajectory.seen(t, "action")])
    model.loss(labelled(*PLAYED)).backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    before = model.encoded_tokens
    said = model([trajectory.seen(half, "action")])[0].values
    assert model.encoded_tokens - before == n_tokens(model, trajectory.seen(half, "action"))
    plain = made(memory=0)
    plain.reader.load_state_dict(model.reader.state_dict())
    assert_same(said, plain([trajectory.seen(half, "action")])[0].values)


def test_a_replaced_weight_is_noticed():
    model, trajectory = made(), PLAYED[0]
    one = model([trajectory.seen(0, "action")])[0]
    norm = model.backbone.norm
    other = torch.nn.Parameter(norm.weight.detach() + 1)
    with torch.no_grad():
        while other._version < norm.weight._version:
            other.mul_(1)
    norm.weight = other
    assert model([trajectory.seen(0, "action")])[0].values != one.values
    assert model.spec != one.source


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_remembers_nothing_and_reads_alike(copied):
    model = made()
    said, tokens = live(model, PLAYED[0])
    again = copied(model)
    assert live(again, PLAYED[0]) == (pytest.approx(said, abs=1e-6), tokens)


def test_candidates_share_everything_but_themselves():
    model, plain = made(), made(memory=0)
    so_far = episode(*[(f"a place {t} of many", f"go {t}") for t in range(10)], last="a door", status=None)
    for t in range(10):
        model([so_far.seen(t, "action")])
    offered = [Action(f"take the {word}") for word in ("key", "box", "ball", "door", "left", "right", "wall", "way")]
    before = model.encoded_tokens
    chosen = best_action(lambda trajectory, info, n: offered[:n], model, so_far, {}, 8)
    alone = n_tokens(model, so_far.append(Step(so_far.last, offered[0]), Observation()).seen(10, "action"))
    assert model.encoded_tokens - before < alone
    assert chosen == best_action(lambda trajectory, info, n: offered[:n], plain, so_far, {}, 8)


def played_live(wrapped, steps, seed=0):
    wrapped.reset(seed=seed)
    wrapped.action_space.seed(0)
    rewards = []
    for _ in range(steps):
        _, reward, terminated, truncated, _ = wrapped.step(wrapped.action_space.sample())
        rewards.append(reward)
        if isinstance(terminated, bool) and (terminated or truncated):
            wrapped.reset()
    return rewards


@pytest.mark.parametrize("sees", ["action", "result"])
def test_a_reward_wrapper_pays_the_same_and_reads_each_token_once(sees):
    model, plain = made(sees=sees), made(sees=sees, memory=0)
    rewards = [played_live(PRMRewardWrapper(gym.make(BABYAI), one), 15) for one in (model, plain)]
    assert rewards[0] == pytest.approx(rewards[1], abs=1e-5)
    assert model.encoded_tokens < plain.encoded_tokens / 4


def test_a_vector_of_environments_is_one_batch_and_pays_the_same():
    def wrapped(one):
        envs = SyncVectorEnv([lambda: gym.make(BABYAI)] * 4, autoreset_mode=AutoresetMode.NEXT_STEP)
        return PRMVectorRewardWrapper(envs, one)

    model, plain = made(), made(memory=0)
    rewards = [played_live(wrapped(one), 12) for one in (model, plain)]
    for one, other in zip(*rewards, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert model.encoded_tokens < plain.encoded_tokens / 3


def test_recorded_babyai_is_scored_alike_live_and_afterwards():
    env = gym.make(BABYAI)
    played = rollout(RandomPolicy(seed=0), env, episodes=3, progress=False)
    model, plain = made(), made(memory=0)
    for trajectory, scores in zip(played, plain(played), strict=True):
        said, tokens = live(model, trajectory)
        assert_same(said, scores.values)
        assert tokens <= n_tokens(model, trajectory)


def conversation(row):
    """One of AgentProcessBench as a trajectory: an assistant message is a step, tool messages are its results."""
    said, steps, task, system = row["messages"], [], "", ""
    answers = {m["tool_call_id"]: m["content"] for m in said if m["role"] == "tool" and "tool_call_id" in m}
    waiting = iter([m["content"] for m in said if m["role"] == "tool" and "tool_call_id" not in m])
    for message in said:
        if message["role"] == "system":
            system = message["content"]
        elif message["role"] == "user":
            task = task or message["content"]
        elif message["role"] == "assistant":
            calls = []
            for call in message.get("tool_calls") or ():
                asked = call["function"]
                output = answers.get(call["id"]) or next(waiting, None)
                calls.append(ToolCall(asked["name"], json.loads(asked["arguments"]), call["id"], output))
            steps.append(Step(Observation(), Action(message["content"] or "", "", tuple(calls))))
    meta = {"system": system, "tools": row["tools"]}
    return Trajectory(uuid4(), Task(task), tuple(steps), Observation(), meta=meta)


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA.name} is not beside this project")
def test_real_agents_with_tools_are_scored_alike_live_and_afterwards():
    rows = [json.loads(line) for line in DATA.read_text().splitlines()[:100:10]]
    played = [t for t in map(conversation, rows) if len(t)]
    model, plain = made(), made(memory=0)
    for trajectory, scores in zip(played, plain(played), strict=True):
        said, tokens = live(model, trajectory)
        assert_same(said, scores.values)
        if len(model.read(trajectory)[0]) == 1:
            assert tokens <= n_tokens(model, trajectory)


# Learning


@pytest.mark.parametrize("name", [*CONFIGS, "gemma2"])
def test_gradients_of_forks_that_are_read_as_a_tree_are_those_of_each_alone(name):
    config = CONFIGS.get(name) or PADDED[name]
    played = [*forks(4), *PLAYED[:3]]

    def gradients(*groups):
        model = made(config)
        model.reader.double()
        assert model.reader.packs == (name in CONFIGS)
        for group in groups:
            said = model.reader.head(model.reader.states([w for t in group for w in model.read(t)[0]]).double())
            said.sigmoid().square().sum().backward()
        return {name: p.grad for name, p in model.reader.named_parameters()}

    together, alone = gradients(played), gradients(*([one] for one in played))
    for key, gradient in alone.items():
        assert together[key] == pytest.approx(gradient, abs=1e-5 * float(gradient.abs().max())), key


def test_what_forks_share_goes_through_the_backbone_once(monkeypatch):
    model, played, seen = made(), forks(8), []
    forward = type(model.backbone).forward

    def counted(self, input_ids=None, **rest):
        seen.append(input_ids.numel())
        return forward(self, input_ids=input_ids, **rest)

    assert model.reader.packs
    monkeypatch.setattr(type(model.backbone), "forward", counted)
    model.loss(labelled(*played))
    (passed,) = seen
    assert passed < n_tokens(model, *played) / 3


def test_nothing_is_padded(monkeypatch):
    model, seen = made(), []
    forward = type(model.backbone).forward
    assert model.reader.packs
    monkeypatch.setattr(
        type(model.backbone),
        "forward",
        lambda self, input_ids=None, **k: seen.append(input_ids.numel()) or forward(self, input_ids=input_ids, **k),
    )
    played = [episode((f"{k} " * n, "go"), task=f"{k}") for k, n in enumerate((1, 30, 200))]
    model.loss(labelled(*played))
    assert sum(seen) == n_tokens(model, *played)


def test_layers_computed_twice_teach_the_same():
    def gradients(**options):
        model, computed = made(**options), []
        assert model.reader.packs
        model.backbone.layers[0].mlp.register_forward_pre_hook(lambda *_: computed.append(1))
        model.loss(labelled(*PLAYED)).backward()
        return {name: p.grad for name, p in model.reader.named_parameters()}, len(computed)

    (one, once), (other, twice) = gradients(), gradients(checkpointing=True)
    assert (once, twice) == (1, 2)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    assert not made(checkpointing=True).backbone.layers[0].self_attn.training


def test_the_head_alone_may_learn():
    model = made(train="head")
    assert len(model.parameters()) == 2
    model.loss(labelled(*PLAYED)).backward()
    assert model.backbone.layers[0].mlp.up_proj.weight.grad is None


def test_adapters_learn_and_are_folded_in(tmp_path):
    pytest.importorskip("peft")
    model, whole = made(train="lora", rank=4), made()
    assert_same(model(PLAYED)[0].values, whole(PLAYED)[0].values)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in whole.parameters()) / 2
    assert model.spec == whole.spec
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(3):
        optimiser.zero_grad()
        model.loss(labelled(*PLAYED)).backward()
        optimiser.step()
    assert model.spec != whole.spec
    model.save(tmp_path)
    again = load_scorer(tmp_path)
    assert again.spec == model.spec
    assert (again.train, again.rank) == ("lora", 4)
    for one, other in zip(model(PLAYED), again(PLAYED), strict=True):
        assert_same(one.values, other.values)
    assert "adapter" not in " ".join(os.listdir(tmp_path))
    AutoModel.from_pretrained(tmp_path)


def test_adapters_without_peft_name_the_way_out(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"agentprm\[lora\]"):
        made(train="lora")


def test_in_half_precision_it_says_about_the_same():
    one, other = made()(PLAYED)[0].values, made(half=True)(PLAYED)[0].values
    assert one != other
    assert one == pytest.approx(other, abs=0.05)


def test_in_half_precision_it_learns_about_the_same():
    batch = labelled(*forks(3))
    found = []
    for half in (False, True):
        model = made(half=half)
        model.loss(batch).backward()
        found.append(torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None]))
    one, other = found
    assert not torch.equal(one, other)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.999


@pytest.mark.parametrize("bad", [{"train": "some"}, {"rank": 0}, {"memory": -1}])
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(InvalidSpec):
        made(**bad)


# Folders


def test_a_backbone_that_is_given_another_attention_is_tried_again():
    model, plain = made(), made(memory=0)
    assert model.reader.packs
    model.backbone.set_attn_implementation("eager")
    assert_same(live(model, PLAYED[0])[0], plain([PLAYED[0]])[0].values)


def test_a_place_without_a_pretrained_model_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidSpec, match="holds no pretrained model that can be loaded"):
        PromiseProgress.from_pretrained(tmp_path)


def test_a_folder_keeps_no_trace_of_how_it_was_read(tmp_path):
    model = made()
    assert model.reader.packs
    model.save(tmp_path)
    assert "agentprm" not in (tmp_path / "config.json").read_text()
    loaded = AutoModel.from_pretrained(tmp_path)
    ids = torch.tensor([model.read(PLAYED[0])[0][0].ids.tolist()])
    with torch.no_grad():
        assert torch.allclose(loaded(ids).last_hidden_state, model.backbone(ids).last_hidden_state, atol=1e-5)


def test_a_padded_batch_of_somebody_else_is_read_as_before():
    model, plain = made(), made()
    assert model.reader.packs
    ids = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    with torch.no_grad():
        found, expected = (one.backbone(ids, attention_mask=mask).last_hidden_state for one in (model, plain))
    assert torch.allclose(found[:, 2:], expected[:, 2:], atol=1e-6)


def test_a_folder_of_another_kind_is_named(tmp_path):
    made(kind=Discriminative).save(tmp_path)
    with pytest.raises(InvalidSpec, match="a model called 'discriminative', not 'promise_progress'"):
        PromiseProgress.load(tmp_path)
    with pytest.raises(InvalidSpec, match="no language model"):
        PromiseProgress.load(tmp_path / "nowhere")


def test_a_tokenizer_of_more_words_than_the_vocabulary_is_refused():
    big = train_tokenizer([f"word{i} other{i}" for i in range(400)], vocab_size=900)
    with pytest.raises(InvalidSpec, match=r"a tokenizer of \d+ ids beside a backbone of \d+ embeddings"):
        made(encoder=Encoder.of(big))


def test_a_label_that_would_be_lost_is_an_error_and_the_count_is_kept():
    long = episode(("a " * 5000, "go"), ("b", "go"))
    with pytest.raises(TrainingError, match=r"label of step 0 .* would be lost"):
        made(context=512).loss(labelled(long))
    model = made(context=512, unreadable="skip")
    model.loss(labelled(long))
    assert model.skipped == 1


def test_samples_are_read_alike_live_and_afterwards_whatever_they_spell():
    model, plain = made(), made(memory=0)
    for trajectory in samples(model.template):
        assert_same(live(model, trajectory)[0], plain([trajectory])[0].values)
