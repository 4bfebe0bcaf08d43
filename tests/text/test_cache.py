import copy
import pickle
import threading
import time
from array import array

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

from agentprm.scorers._passes import bytes_per_token, can_pack, packed, padded
from agentprm.text import attention
from agentprm.text.cache import PrefixCache
from agentprm.text.lines import Line
from agentprm.text.windows import Window

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
LLAMA = {**SIZES, "num_key_value_heads": 2, "intermediate_size": 64}
CONFIGS = {
    "llama": LlamaConfig(vocab_size=97, **LLAMA),
    "qwen2": Qwen2Config(vocab_size=97, **LLAMA),
    "mistral": MistralConfig(vocab_size=97, **{**LLAMA, "head_dim": 16}, sliding_window=None),
    "mistral of a narrow window": MistralConfig(vocab_size=97, **LLAMA, sliding_window=24),
    "gpt2": GPT2Config(vocab_size=97, n_positions=512, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0),
}
CHANCE = np.random.default_rng(0)
TOKENS = CHANCE.integers(0, 97, 600).tolist()
N_BYTES = 1 << 30


def backbone(name="llama"):
    torch.manual_seed(0)
    model = AutoModel.from_config(CONFIGS[name]).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)  # else all that is said is nearly the same
    return model


class Asked:
    """A cache in front of a backbone, beside the backbone alone."""

    def __init__(self, name="llama", most_bytes=N_BYTES):
        self.plain, self.model = backbone(name), backbone(name)
        assert can_pack(self.model)
        self.cache = PrefixCache(most_bytes, bytes_per_token(self.model))
        self.version = 0

    def __call__(self, *windows):
        before = self.cache.encoded_tokens
        with torch.no_grad():
            found = self.cache.states(windows, lambda rows: packed(self.model, rows), self.version)
            expected = padded(self.plain, windows, 4096)
        assert torch.cat(found) == pytest.approx(expected, abs=1e-5 * float(expected.abs().max()))
        return self.cache.encoded_tokens - before


def window(ids, *ends):
    return Window(array("i", ids), ends or (len(ids) - 1,), 0)


def turns(n, each=10, start=0):
    """An episode of n turns of so many tokens."""
    ids = TOKENS[start : start + n * each]
    return window(ids, *range(each - 1, n * each, each))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_turn_costs_its_own_tokens_and_says_what_a_whole_pass_says(name):
    asked = Asked(name)
    assert [asked(turns(n)) for n in range(1, 30)] == [10] * 29
    assert len(asked.cache) == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_alternatives_share_what_came_before(name):
    asked = Asked(name)
    for n in (1, 2, 3, 4):
        asked(turns(n))
    ends = turns(4).ends
    others = [window([*TOKENS[:40], *TOKENS[100 * k : 100 * k + 6]], *ends, 45) for k in range(1, 6)]
    assert asked(*others) == 5 * 6
    assert asked(turns(5)) == 10


def test_the_same_text_again_costs_nothing():
    asked = Asked()
    asked(turns(1))
    asked(turns(2))
    assert asked(turns(2)) == 0
    assert asked(turns(2), turns(2)) == 0


def test_a_fork_costs_what_comes_after_it_and_leaves_what_was_there():
    asked = Asked()
    for n in range(1, 7):
        asked(turns(n))
    fork = window([*TOKENS[:35], *TOKENS[300:325]], 9, 19, 29, 39, 49, 59)
    asked(window(fork.ids[:50], *fork.ends[:5]))  # looked at, as one looks at what was played
    assert asked(fork) <= 60 - 30
    assert asked(turns(7)) == 10
    assert len(asked.cache) == 2


def test_a_context_that_was_rewritten_costs_what_follows_the_change():
    asked = Asked()
    for n in range(1, 11):
        asked(turns(n))
    changed = [*TOKENS[:60], *TOKENS[200:250]]
    one, two = (window(changed[:k], *range(9, k, 10)) for k in (100, 110))
    asked(one)
    assert asked(two) <= 50


def test_many_episodes_in_step_are_one_batch():
    asked = Asked()
    for n in range(1, 6):
        assert asked(*(turns(n, each=12, start=60 * k) for k in range(5))) == 5 * 12
    assert len(asked.cache) == 5


def test_what_is_looked_back_on_is_not_kept():
    asked = Asked()
    assert asked(turns(20), turns(15, start=30)) == 350
    assert asked.cache.n_bytes == 0


def test_an_episode_that_is_met_in_the_middle_is_kept_from_the_second_turn_on():
    asked = Asked()
    assert [asked(turns(n)) for n in (20, 21, 22, 23)] == [200, 210, 10, 10]


def test_episodes_that_part_after_a_common_beginning_each_go_on_by_themselves():
    asked = Asked()
    for n in (1, 2):
        asked(turns(n))
    lives = [[*TOKENS[:20], *TOKENS[100 * k : 100 * k + 90]] for k in (1, 2, 3)]
    costs = [asked(*(window(ids[:n], *range(9, n, 10)) for ids in lives)) for n in range(30, 100, 10)]
    assert costs[2:] == [30] * 5


def test_memory_is_bounded_and_the_line_not_used_for_longest_goes():
    asked = Asked()
    size = asked.cache.bytes_per_token
    asked.cache.most_bytes = 2 * 128 * size
    for k in range(3):
        asked(turns(1, start=50 * k))
        assert asked.cache.n_bytes <= asked.cache.most_bytes
    assert len(asked.cache) == 2
    assert asked(turns(2, start=100)) == 10
    assert asked(turns(2, start=0)) == 20


def test_what_has_no_room_is_read_anew_and_rightly():
    asked = Asked(most_bytes=0)
    assert [asked(turns(n)) for n in (1, 2, 3)] == [10, 20, 30]
    asked = Asked()
    asked.cache.most_bytes = 150 * asked.cache.bytes_per_token
    assert [asked(turns(n)) for n in range(1, 16)][-3:] == [130, 140, 150]


def test_room_grows_by_doubling():
    line = Line()
    rooms = []
    for n in range(1, 1000):
        line.reserve(n)
        rooms.append(line.room)
    assert sorted(set(rooms)) == [128, 256, 512, 1024]


def test_what_was_kept_is_never_copied_between_turns():
    asked = Asked()
    for n in range(1, 10):
        asked(turns(n))
    (line,) = asked.cache._lines
    before = [tensor.data_ptr() for pair in line._kept.values() for tensor in pair]
    asked(turns(10))
    assert [tensor.data_ptr() for pair in line._kept.values() for tensor in pair] == before


def test_under_other_weights_everything_is_forgotten():
    asked = Asked()
    for n in (1, 2, 3):
        asked(turns(n))
    with torch.no_grad():
        for model in (asked.plain, asked.model):
            model.layers[0].mlp.up_proj.weight.add_(0.1)
    asked.version = 1
    assert asked(turns(4)) == 40


def test_an_interrupted_pass_leaves_what_was_known():
    asked = Asked()
    for n in (1, 2, 3):
        asked(turns(n))

    def broken(rows):
        packed(asked.model, rows)
        raise KeyboardInterrupt

    with torch.no_grad(), pytest.raises(KeyboardInterrupt):
        asked.cache.states([turns(4)], broken, 0)
    asked(turns(4))
    asked(turns(5))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_last_layer_attends_only_where_steps_end(name, monkeypatch):
    asked, queries = Asked(name), []
    attend = attention.scaled_dot_product_attention

    def counted(query, *others, **options):
        queries.append(query.shape[2])
        return attend(query, *others, **options)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", counted)
    asked(turns(7))
    assert queries == [70, 7]
    for n in (1, 2, 3):
        asked(turns(n, start=100))
    queries.clear()
    asked(turns(4, start=100))
    assert queries == [10, 1]


def test_threads_do_not_disturb_one_another():
    asked, errors, inside = Asked(), [], []

    def alone(rows):
        inside.append(rows)
        states = packed(asked.model, rows)
        time.sleep(0.001)  # lets the others in, if they may
        assert inside == [rows]
        inside.clear()
        return states

    def play(k):
        try:
            for n in range(1, 12):
                with torch.no_grad():
                    found = asked.cache.states([turns(n, start=20 * k)], alone, 0)
                    expected = padded(asked.plain, [turns(n, start=20 * k)], 4096)
                assert torch.cat(found) == pytest.approx(expected, abs=1e-5 * float(expected.abs().max()))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=play, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert asked.cache.encoded_tokens == 4 * 110


def test_ends_that_were_not_asked_for_before_are_read():
    asked = Asked()
    asked(window(TOKENS[:20], 19))
    asked(window(TOKENS[:40], 19, 39))
    assert asked(window(TOKENS[:60], 9, 19, 39, 59)) > 20


moves = st.lists(
    st.tuples(st.sampled_from(["go on", "fork", "choose", "look back", "all"]), st.integers(0, 30)),
    min_size=1,
    max_size=12,
)


@given(moves, st.sampled_from([N_BYTES, 700 * 256, 200 * 256]))
@settings(max_examples=40, deadline=None)
def test_whatever_is_asked_in_whatever_order_is_what_a_whole_pass_says(moves, most_bytes):
    asked, lives = Asked(most_bytes=most_bytes), [TOKENS[:12]]
    for n, (move, k) in enumerate(moves):
        life = lives[k % len(lives)]
        new = TOKENS[40 + 7 * n : 40 + 7 * n + 5 + k % 9]
        if move == "go on":
            lives[k % len(lives)] = life = [*life, *new]
        elif move == "fork":
            life = [*life[: max(6, len(life) - 1 - k)], *new]
            lives.append(life)
        kept = {"all": lives, "look back": [life, [*TOKENS[300 : 330 + k]]]}.get(move, [life])
        if move == "choose":
            kept = [[*life, *TOKENS[100 * i : 100 * i + 3 + k % 5]] for i in range(3)]
        asked(*(window(ids, *sorted({*range(5, len(ids), 6), len(ids) - 1})) for ids in kept))
        assert asked.cache.n_bytes <= most_bytes


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_a_copy_begins_empty(copied):
    asked = Asked()
    asked(turns(1))
    again = copied(asked.cache)
    assert (len(again), again.most_bytes, again.encoded_tokens) == (0, N_BYTES, 0)
