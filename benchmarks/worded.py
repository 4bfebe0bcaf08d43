"""Episodes of an agent that calls tools, in words, for benchmarks of language models; a small Llama to read them."""

from __future__ import annotations

import random
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from agentprm.text.render import render
from agentprm.text.tokens import Encoder, texts, train_tokenizer
from agentprm.types import Action, Ending, Observation, Step, Task, ToolCall, Trajectory, new_id

NOUNS = ["file", "door", "key", "list", "page", "item", "price", "order", "mail", "user", "date", "name", "value"]
WORDS = ["open", "close", "find", "read", "write", "send", *NOUNS]
GOOD, BAD = "verified", "guessed"
"""One of these words in a step decides its label."""

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def episode(chance: random.Random, turns: int, words: int = 12, task: str = "") -> tuple[Trajectory, list[float]]:
    """Return an ended episode and a label per step; actions are tool calls, so that they end in ``})``."""
    labels = [float(chance.random() < 0.6) for _ in range(turns)]
    steps = tuple(step(chance, words, label) for label in labels)
    trajectory = Trajectory(new_id(), Task(task or said(chance, 12)), steps, Observation("done"))
    return trajectory.end(Ending("terminated", True, outcome=labels[-1])), labels


def step(chance: random.Random, words: int, label: float = 1.0) -> Step:
    asked = {"query": f"{GOOD if label else BAD} {said(chance, 2)}"}
    return Step(Observation(said(chance, words)), Action("", "", (ToolCall(chance.choice(WORDS), asked, output="ok"),)))


def said(chance: random.Random, n: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(n))


def encoder(vocab: int = 440) -> Encoder:
    chance = random.Random(0)
    return Encoder.of(train_tokenizer(texts(episode(chance, 12)[0] for _ in range(60)), vocab))


def tokenizer(vocab: int = 440) -> PreTrainedTokenizerFast:
    """Return a BPE tokenizer that splits texts as Qwen2's does: a run of punctuation takes the line ends behind it."""
    chance, learnt = random.Random(0), Tokenizer(models.BPE())
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learnt.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"), bytes_only])
    learnt.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    played = [episode(chance, 12)[0] for _ in range(60)]
    learnt.train_from_iterator(("\n".join(in_turns(one)) + "\n" for one in played), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=learnt, pad_token="!")  # type: ignore[no-untyped-call]


def in_turns(trajectory: Trajectory) -> list[str]:
    """Return the task, and then the words of each turn up to its decision."""
    parts: list[list[str]] = [[]]
    for segment in render(trajectory):
        parts[-1].append(segment.text)
        if segment.role == "task" or segment.scored:
            parts.append([])
    return ["".join(part) for part in parts[:-1]]


def backbone(n_ids: int, context: int = 4096, seed: int = 0, **sizes: Any) -> LlamaModel:
    """Return a Llama of 0.5 million weights, unless sizes say otherwise, with random ones."""
    torch.manual_seed(seed)
    shape = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        **sizes,
    }
    return LlamaModel(LlamaConfig(vocab_size=n_ids, max_position_embeddings=context, **shape)).eval()
