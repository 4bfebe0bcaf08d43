"""What language models cost on a GPU: scores and tokens per second, and the share of what the card can do at most.

python benchmarks/gpu.py [--models 0.5B,7B] [--turns 40] [--envs 32] [--repeats 3] [--device cuda] [--quick] [--json]

Models of the shapes of Qwen2.5-0.5B and -7B with random weights, in bfloat16: episodes scored when they are over,
environments scored in step, candidates, one live session, and training (all weights of the small one; adapters of the
large one). The share of the peak counts two operations per weight and token that was read, three times as many in
training; what embeddings look up counts as nothing. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from scoring import choosing, prefixes, table
from transformers import AutoModel, Qwen2Config
from worded import encoder, episode

from agentprm.scorers.discriminative import Discriminative
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.types import Scores, Spec

SHAPES = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 1024},
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151_936},
    "7B": {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152_064},
}  # fmt: skip
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40": 181e12, "L4": 121e12, "4090": 165e12}
"""Dense bfloat16 operations per second, as the makers' data sheets say."""
WORDS = 26


def backbone(shape: str, device: str) -> Any:
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModel.from_config(Qwen2Config(**SHAPES[shape]), dtype=torch.bfloat16).eval()


def clock(device: str, run: Callable[[], object]) -> float:
    """Return the seconds on the clock, with everything done that was begun."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - started


def n_weights(model: Any) -> int:
    """Return the weights that every token is multiplied with."""
    return sum(p.numel() for p in model.reader.backbone.layers.parameters())


def median(repeats: int, once: Callable[[], float]) -> float:
    """Return the median, the first time left out."""
    return statistics.median([once() for _ in range(repeats + 1)][1:])


def scoring(shape: str, asked: argparse.Namespace) -> dict[str, Any]:
    judge = PromiseProgress(backbone(shape, asked.device), encoder(), context=32_768, memory=2**34)
    chance = random.Random(0)
    played = [episode(chance, asked.turns, WORDS)[0] for _ in range(asked.envs)]
    so_far = [prefixes(one) for one in played]
    n_scores = asked.envs * asked.turns
    runs = {
        "afterwards": (n_scores, lambda: [judge(played[i : i + 8]) for i in range(0, len(played), 8)]),
        f"{asked.envs} in step": (
            n_scores, lambda: [judge([one[t] for one in so_far]) for t in range(asked.turns)]),
        "one live": (asked.turns, lambda: [judge([now]) for now in so_far[0]]),
        "8 candidates live": (8 * asked.turns, lambda: choosing(8, asked.turns, judge)),
    }  # fmt: skip
    return {name: speed(judge, n, run, asked) for name, (n, run) in runs.items()}


def speed(judge: Any, n_scores: int, run: Callable[[], object], asked: argparse.Namespace) -> dict[str, Any]:
    before = judge.encoded_tokens

    def once() -> float:
        judge.reader.cache.clear()
        return clock(asked.device, run)

    seconds = median(asked.repeats, once)
    tokens = (judge.encoded_tokens - before) / (asked.repeats + 1)
    return {"scores/s": n_scores / seconds, "tokens/s": tokens / seconds,
            "of peak": of_peak(asked, 2 * n_weights(judge) * tokens / seconds)}  # fmt: skip


def training(shape: str, asked: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(1)
    batch = []
    for _ in range(8):
        played, labels = episode(chance, asked.turns, WORDS)
        batch.append((played, Scores(played.id, Spec("given"), "correctness", tuple(labels))))
    options: dict[str, Any] = {"train": "lora"} if shape == "7B" else {}
    model = Discriminative(backbone(shape, asked.device), encoder(), context=32_768, checkpointing=True, **options)
    tokens = sum(len(window.ids) for one, _ in batch for window in model.read(one)[0])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        optimiser.zero_grad()
        model.loss(batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    seconds = median(asked.repeats, lambda: clock(asked.device, step))
    return {"tokens/s": tokens / seconds, "of peak": of_peak(asked, 6 * n_weights(model) * tokens / seconds)}


def of_peak(asked: argparse.Namespace, per_second: float) -> float | None:
    name = torch.cuda.get_device_name() if asked.device == "cuda" else ""
    peak = next((peak for part, peak in PEAKS.items() if part in name), None)
    return None if peak is None else per_second / peak


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if asked.device == "cuda" else asked.device}
    for shape in asked.models.split(","):
        found[shape] = {"scoring": scoring(shape, asked), "training": training(shape, asked)}
        if asked.device == "cuda":
            torch.cuda.empty_cache()
    return {**found, "versions": {name: version(name) for name in ("torch", "transformers")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="0.5B,7B", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--envs", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda", help="cpu tries the script out, with --models tiny")
    parser.add_argument("--quick", action="store_true", help="8 environments of 8 turns, once")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.turns, asked.envs, asked.repeats = 8, 8, 1
    if asked.device == "cuda" and not torch.cuda.is_available():
        print(json.dumps({"skipped": "no GPU"}) if asked.json else "no GPU here: nothing was measured")
        return
    found = measured(asked)
    print("\n".join(table(found)))
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
