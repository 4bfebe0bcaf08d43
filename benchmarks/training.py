"""What training costs, and what becomes of it: ours beside the PRM trainer of TRL 1.13 on the same model and data.

python benchmarks/training.py [--episodes 80] [--repeats 3] [--quick] [--json]

Real tokens (no padding) per second of CPU time: on episodes of 4 to 14 turns, and on groups of 8 forks that share three
quarters of their tokens. Then the accuracy of the trained models on unseen steps that end in ``})``: read as in
training, and read turn by turn as one does with it. One thread; rows are interleaved; medians. TRL's rows need
``pip install trl==1.13.0 datasets`` and are left out otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from scoring import table
from transformers import LlamaForTokenClassification, pipeline
from worded import backbone, episode, in_turns, said, step, tokenizer

from agentprm.scorers.discriminative import Discriminative
from agentprm.text.tokens import Encoder
from agentprm.types import Observation, Scores, Spec, Task, Trajectory, new_id

Labelled = Sequence[tuple[Trajectory, list[float]]]
SEPARATOR = "\n"
BATCH = 8


def mixed(n: int, seed: int) -> Labelled:
    chance = random.Random(seed)
    return [episode(chance, chance.randint(4, 14), 20) for _ in range(n)]


def forked(n_groups: int, seed: int) -> Labelled:
    """Groups of 8 episodes that part after 9 of 12 turns."""
    chance, found = random.Random(seed), []
    for _ in range(n_groups):
        task = Task(said(chance, 12))
        labels = [float(chance.random() < 0.6) for _ in range(9)]
        shared = [step(chance, 20, label) for label in labels]
        for _ in range(8):
            own = [float(chance.random() < 0.6) for _ in range(3)]
            steps = (*shared, *(step(chance, 20, label) for label in own))
            found.append((Trajectory(new_id(), task, steps, Observation("done")), [*labels, *own]))
    return found


# Ours


def ours(**options: Any) -> Discriminative:
    words = Encoder.of(tokenizer())
    model = Discriminative(backbone(words.size), words, **options)
    assert model.reader.packs  # tried once, when a model is first used: not part of the times
    return model


def pairs(played: Labelled) -> list[tuple[Trajectory, Scores]]:
    return [(t, Scores(t.id, Spec("given"), "correctness", tuple(labels))) for t, labels in played]


def taught(model: Discriminative, played: Labelled, epochs: int = 1, rate: float = 1e-3) -> Discriminative:
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    given = pairs(played)
    for _ in range(epochs):
        for i in range(0, len(given), BATCH):
            optimiser.zero_grad()
            model.loss(given[i : i + BATCH]).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
    return model


def n_tokens(model: Discriminative, played: Labelled) -> int:
    return sum(len(window.ids) for trajectory, _ in played for window in model.read(trajectory)[0])


# TRL


def trl_trainer(played: Labelled, epochs: float = 1, rate: float = 1e-3, **options: Any) -> Any:
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from datasets import Dataset, disable_progress_bars
    from trl.experimental.prm import PRMConfig, PRMTrainer

    disable_progress_bars()
    rows = [{"prompt": task, "completions": steps, "labels": [label > 0.5 for label in labels]}
            for (trajectory, labels) in played for task, *steps in [in_turns(trajectory)]]  # fmt: skip
    words = tokenizer()
    body = backbone(len(words))
    body.config.num_labels, body.config.pad_token_id = 2, words.pad_token_id
    classify: Any = LlamaForTokenClassification(body.config)
    classify.model.load_state_dict(body.state_dict())
    config: Any = PRMConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, num_train_epochs=epochs, learning_rate=rate,
        max_length=None, report_to=[], save_strategy="no", disable_tqdm=True, logging_strategy="no", use_cpu=True,
        step_separator=SEPARATOR, **options,
    )  # fmt: skip
    return PRMTrainer(model=classify, args=config, processing_class=words, train_dataset=Dataset.from_list(rows))


def trl_tokens(trainer: Any) -> int:
    return sum(len(row["input_ids"]) for row in trainer.train_dataset)


# What it costs


def cpu_seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def speeds(played: Labelled, repeats: int) -> dict[str, Any]:
    """Real tokens per second of CPU time, by trainer."""
    found: dict[str, list[float]] = defaultdict(list)
    for i in range(repeats + 1):
        rates = {}
        for name, half in {"ours": False, "ours, half": True}.items():
            model = ours(half=half)
            rates[name] = n_tokens(model, played) / cpu_seconds(lambda model=model: taught(model, played))  # type: ignore[misc]
        if find_spec("trl"):
            for name, options in {"trl": {}, "trl, bf16=False": {"bf16": False}}.items():
                trainer = trl_trainer(played, **options)
                rates[name] = trl_tokens(trainer) / cpu_seconds(trainer.train)
        for name, rate in rates.items() if i else ():
            found[name].append(rate)
    medians: dict[str, Any] = {name: statistics.median(rates) for name, rates in found.items()}
    if "trl" in medians:
        # TRL computes in bfloat16 unless told otherwise.
        medians["ours, half against trl"] = medians["ours, half"] / medians["trl"]
        medians["ours against trl, bf16=False"] = medians["ours"] / medians["trl, bf16=False"]
    return medians


# What becomes of it


def accuracies(n: int, epochs: int) -> dict[str, Any]:
    """Share of unseen steps whose label is told: reading as in training, and reading turn by turn."""
    learn, test = mixed(n, seed=1), mixed(24, seed=2)
    labels = [label > 0.5 for _, one in test for label in one]
    model = taught(ours(), learn, epochs)
    whole = [value > 0.5 for scores in model([t for t, _ in test]) for value in scores.values]
    turn = [model([t.seen(i, "action")])[0].values[i] > 0.5 for t, _ in test for i in range(len(t))]
    found = {
        "steps": len(labels),
        "ours as in training": share(whole, labels),
        "ours turn by turn": share(turn, labels),
    }
    return found | (trl_accuracies(learn, test, labels, epochs) if find_spec("trl") else {})


def trl_accuracies(learn: Labelled, test: Labelled, labels: list[bool], epochs: int) -> dict[str, Any]:
    trainer = trl_trainer(learn, epochs, bf16=False, gradient_checkpointing=False)
    trainer.train()
    model, words = trainer.model.eval(), tokenizer()
    classes = pipeline("token-classification", model=model, tokenizer=words, device="cpu")
    as_trained, documented = [], []
    for trajectory, _ in test:
        task, *steps = in_turns(trajectory)
        ids, ends = list(words(task).input_ids), []
        for one in steps:
            ids += words(one).input_ids + words(SEPARATOR).input_ids
            ends.append(len(ids) - 1)
        with torch.no_grad():
            as_trained += (model(torch.tensor([ids])).logits[0, ends].argmax(-1) == 1).tolist()
        for i in range(len(steps)):
            text = SEPARATOR.join((task, *steps[: i + 1])) + SEPARATOR
            documented.append(classes(text)[-1]["entity"] == "LABEL_1")
    return {"trl as in training": share(as_trained, labels), "trl as documented": share(documented, labels)}


def share(said_so: Sequence[bool], labels: Sequence[bool]) -> float:
    return sum(a == b for a, b in zip(said_so, labels, strict=True)) / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="for the accuracies")
    parser.add_argument("--quick", action="store_true", help="24 episodes, one repeat")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    n, repeats = (24, 1) if asked.quick else (asked.episodes, asked.repeats)
    found = {
        "episodes": speeds(mixed(n, seed=0), repeats),
        "forks": speeds(forked(max(1, n // 16), seed=0), repeats),
        "accuracy": accuracies(3 * n, 1 if asked.quick else asked.epochs),
    }
    print("\n".join(table(found)))
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
