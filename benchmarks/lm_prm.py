"""A language model of at most a million weights, from scratch, that ranks the actions of a state on BabyAI as text.

Half of the budget of environment steps is episodes of the weak policy of `labels.py`; the other half is single steps:
in some of their states another of the listed actions is tried, once. Each variant is measured against the same truth,
and on the same unseen episodes, as the peers: the policy alone, the majority of its candidates, the hashed scorer.

    python benchmarks/lm_prm.py --quick
    python benchmarks/lm_prm.py --rows rows.jsonl --resume     # go on where it was interrupted
    python benchmarks/lm_prm.py --draw 1 --variants all        # what was tried, on seeds of its own
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labels import kept, machine
from labels_world import World
from lm_prm_lesson import CHOSEN, VARIANTS, Cell, train

from agentprm.labels.temporal import Temporal
from agentprm.ops.agree import wilson
from agentprm.scorers.constant import Constant
from agentprm.scorers.hashed import Hashed
from agentprm.train.batches import Labelled
from agentprm.train.fit import Recipe, fit
from agentprm.types import Scorer

LEVEL = "UnlockPickup"
PEERS = ("policy alone", "majority", "hashed, TD λ=.95")
NS = (1, 2, 4, 8, 16)


def judge(cell: Cell) -> tuple[Scorer, dict[str, Any]]:
    if cell.method in VARIANTS:
        return train(cell, VARIANTS[cell.method])
    if not cell.method.startswith("hashed"):
        return Constant(), {}
    started, model, played = time.process_time(), Hashed(seed=cell.seed), cell.world.recorded(cell.seed, cell.budget)
    report = fit(model, Labelled(played, Temporal(model)), Recipe(seed=cell.seed), progress=False)
    steps = sum(map(len, played))
    return model, {
        "env_steps": steps,
        "labels": report.n_labels,
        "cpu_training": round(time.process_time() - started, 1),
    }


def measured(cell: Cell) -> dict[str, Any]:
    model, cost = judge(cell)
    started = time.process_time()
    agreed = cell.world.agreement(model) if cell.world.states and cost else {}
    ns = [1] if cell.method == "policy alone" else [n for n in cell.ns if n > 1]
    wins = {f"best-{n}": round(cell.world.success(model, n, cell.episodes, cell.seed) * cell.episodes) for n in ns}
    return {**cell.plain(), **cost, **agreed, **wins, "cpu_evaluation": round(time.process_time() - started, 1)}


def cells(asked: argparse.Namespace) -> Iterator[Cell]:
    world = World(LEVEL, asked.draw, max(asked.budgets), asked.states, asked.rollouts)
    for seed, budget, method in product(range(asked.seeds), asked.budgets, (*asked.peers, *asked.variants)):
        if method in PEERS[:2] and budget != asked.budgets[0]:
            continue
        yield Cell(world, budget, seed, method, tuple(asked.ns), asked.episodes, tuple(asked.steps))


def rows(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row per cell; append each to the file as soon as it is measured, and skip those that stand in it."""
    path = Path(asked.rows) if asked.rows else None
    found = list(kept(path)) if path and asked.resume else []
    if path and not asked.resume:
        path.write_text("", encoding="utf-8")
    for cell in cells(asked):
        plain = cell.plain()
        row = next((row for row in found if {**row, **plain} == row), None)
        if row is None:
            row = measured(cell)
            if path:
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        yield row


def table(found: Sequence[dict[str, Any]], ns: Sequence[int]) -> str:
    """Return a line per method and budget: sums over label seeds, with Wilson's 95 % intervals."""
    lines = [f"{'steps':>7}{'CPU s':>7}{'auc':>6}{'pair':>6}" + "".join(f"{f'N = {n}':>17}" for n in ns) + "  method"]
    for key in dict.fromkeys((row["method"], row["budget"]) for row in found):
        group = [row for row in found if (row["method"], row["budget"]) == key]
        cpu = mean([row.get("cpu_labels", 0) + row["cpu_training"] for row in group if "cpu_training" in row], 0)
        agreed = "".join(f"{mean([row[c] for row in group if row.get(c) is not None], 3):>6}" for c in ("auc", "pair"))
        steps = mean([row["env_steps"] for row in group if "env_steps" in row], 0)
        lines.append(f"{steps:>7}{cpu:>7}{agreed}" + "".join(f"{success(group, n):>17}" for n in ns) + f"  {key[0]}")
    return "\n".join(lines)


def mean(numbers: Sequence[float], digits: int) -> str:
    return f"{np.mean(numbers):.{digits}f}".replace("0.", ".", digits > 0) if numbers else "-"


def success(group: Sequence[dict[str, Any]], n: int) -> str:
    wins, played = sum(row.get(f"best-{n}", 0) for row in group), sum(row["episodes"] for row in group)
    if not any(f"best-{n}" in row for row in group):
        return "-"
    low, high = wilson(wins, played)
    return f"{wins / played:.2f} ({low:.2f}–{high:.2f})"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps and episodes: about 2 minutes")
    parser.add_argument("--variants", nargs="*", default=[CHOSEN], help=f"'all', or some of {list(VARIANTS)}")
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--budgets", type=int, nargs="+", default=(40_000, 66_000), help="environment steps")
    parser.add_argument("--steps", type=int, nargs=2, default=(1000, 1500), help="optimiser steps of critic and model")
    parser.add_argument("--ns", type=int, nargs="+", default=NS, help="candidates to choose among")
    parser.add_argument("--seeds", type=int, default=1, help="label seeds")
    parser.add_argument("--episodes", type=int, default=100, help="unseen ones, per N and seed")
    parser.add_argument("--states", type=int, default=160, help="of the ground truth; 0 leaves it out")
    parser.add_argument("--rollouts", type=int, default=8, help="per action of the ground truth")
    parser.add_argument("--draw", type=int, default=0, help="which draw of all seeds; choose settings on another")
    parser.add_argument("--rows", help="append each row to this file of JSON lines as soon as it is measured")
    parser.add_argument("--resume", action="store_true", help="do not measure again what stands in that file")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    asked = parser.parse_args()
    asked.variants = list(VARIANTS) if asked.variants == ["all"] else asked.variants
    if unknown := [name for name in asked.variants if name not in VARIANTS]:
        parser.error(f"no variants {unknown}: there are {list(VARIANTS)}")
    if asked.quick:
        asked.budgets, asked.steps, asked.ns, asked.episodes, asked.states = (4_000,), (120, 200), (1, 8), 30, 0
    return asked


def main() -> None:
    asked, started, found = arguments(), time.perf_counter(), list[dict[str, Any]]()
    torch.set_num_threads(1)
    for row in rows(asked):
        found.append(row)
        wins = {f"best-{n}": row[f"best-{n}"] / row["episodes"] for n in asked.ns if f"best-{n}" in row}
        cost = {key: row[key] for key in ("cpu_labels", "cpu_training", "auc", "pair") if key in row}
        print(row["budget"], row["seed"], row["method"], wins, cost, flush=True)
    print(table(found, asked.ns))
    seconds = round(time.perf_counter() - started, 1)
    print(f"{seconds} s")
    if asked.json:
        print(json.dumps({"machine": machine(), "seconds": seconds, "rows": found}, ensure_ascii=False))


if __name__ == "__main__":
    main()
