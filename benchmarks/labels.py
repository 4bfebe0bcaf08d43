"""Label methods at the same number of environment steps, on BabyAI: which scorer do they teach?

A weak policy (cloned from 20 lucky random episodes, made erratic by temperature) is recorded for a budget of
environment steps; Monte-Carlo labels pay for their rollouts from the same budget. Each method trains the same scorer
by the same recipe, with the same least number of optimiser steps. Measured against the weak policy's rollouts:

    auc      a step after which success is likelier than in the median scores higher
    pair     order of two actions in the same state whose true values differ by more than 0.25
    best-N   success on unseen seeds when the best-scored of N proposals is executed at every step

    python benchmarks/labels.py --quick
    python benchmarks/labels.py --rows rows.jsonl --resume     # all of it; go on where it was interrupted
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labels_world import TEMPERATURES, World

from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.scorers.hashed import Hashed
from agentprm.train.batches import Labelled
from agentprm.train.fit import Fit, Recipe, fit
from agentprm.types import Scorer

METHODS = ("TD λ=.95", "TD λ=.8", "outcome (λ=1)", "MC K=8", "MC K=2", "ORM (last step)")
BUDGETS = (10_000, 20_000, 40_000, 80_000)
NS = (1, 2, 4, 8, 16, 32)
DECISIVE = 8
"""The number of candidates that claims are made about: evaluated on more episodes than the others."""
LIBRARIES = ("agentprm", "gymnasium", "minigrid", "numpy", "torch")


@dataclass(frozen=True)
class Cell:
    """What one row is about; the same for the same seeds and sizes, whatever else is measured."""

    world: World
    budget: int
    seed: int
    method: str
    ns: tuple[int, ...]
    episodes: int
    """For N = 8; a third of them for any other N."""

    def plain(self) -> dict[str, Any]:
        """Return what tells this cell from all others."""
        return {**asdict(self.world), **asdict(self), "world": None, "ns": list(self.ns)}


def train(cell: Cell) -> tuple[Hashed, Fit]:
    model, world, recipe = Hashed(seed=cell.seed), cell.world, Recipe(seed=cell.seed)
    if cell.method.startswith("MC"):
        k = int(cell.method.partition("=")[2])
        return model, fit(model, world.rolled(cell.seed, k, cell.budget), recipe)
    played = world.recorded(cell.seed, cell.budget)
    if cell.method.startswith("TD"):
        return model, fit(model, Labelled(played, Temporal(model, float(cell.method.partition("=")[2]))), recipe)
    label = Outcome(last_only=cell.method.startswith("ORM"))
    return model, fit(model, list(Labelled(played, label)), recipe)


def measured(cell: Cell) -> dict[str, Any]:
    model, report = train(cell)
    success = {f"best-{n}": success_of(cell, model, n) for n in cell.ns}
    fitted = {"labels": report.n_labels, "steps": report.steps, "train_s": round(report.seconds, 1)}
    return {**cell.plain(), **fitted, **cell.world.agreement(model), **success}


def success_of(cell: Cell, model: Scorer, n: int) -> float:
    return cell.world.success(model, n, cell.episodes if n == DECISIVE else cell.episodes // 3, cell.seed)


def cells(asked: argparse.Namespace) -> Iterator[Cell]:
    for level in asked.levels:
        world = World(level, asked.draw, max(asked.budgets), asked.states, asked.rollouts)
        for seed, budget, method in product(range(asked.seeds), asked.budgets, asked.methods):
            yield Cell(world, budget, seed, method, tuple(asked.ns), asked.episodes)


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


def kept(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of an earlier run; a last line that was cut off is measured anew."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    yield from map(json.loads, whole.splitlines())


def summary(found: Sequence[dict[str, Any]], ns: Sequence[int]) -> list[dict[str, Any]]:
    """Return, for each level, budget and method, the mean over label seeds and the standard error of that mean."""
    columns, summed = ["labels", "auc", "pair", *(f"best-{n}" for n in ns)], list[dict[str, Any]]()
    for key in dict.fromkeys((row["level"], row["budget"], row["method"]) for row in found):
        group = [row for row in found if (row["level"], row["budget"], row["method"]) == key]
        values = {c: np.array([row[c] for row in group if row[c] is not None], float) for c in columns}
        numbers = {c: {"mean": v.mean(), "se": standard_error(v)} for c, v in values.items() if len(v)}
        summed.append({"level": key[0], "budget": key[1], "method": key[2], "seeds": len(group), **numbers})
    return summed


def standard_error(values: Any) -> float | None:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def table(summed: Sequence[dict[str, Any]], ns: Sequence[int]) -> str:
    columns = ["auc", "pair", *(f"best-{n}" for n in ns)]
    lines = [f"{'level':>12}{'budget':>8}{'labels':>8}" + "".join(f"{name:>11}" for name in columns) + "  method"]
    for row in summed:
        cells = "".join(f"{shown(row.get(column)):>11}" for column in columns)
        lines.append(f"{row['level']:>12}{row['budget']:>8}{row['labels']['mean']:>8.0f}{cells}  {row['method']}")
    return "\n".join([*lines, "Mean over label seeds ± its standard error, in thousandths."])


def shown(number: dict[str, float | None] | None) -> str:
    if number is None:
        return "-"
    return f"{number['mean']:.3f}" + (f"±{1000 * number['se']:.0f}" if number["se"] is not None else "")


def machine() -> dict[str, Any]:
    versions = {name: version(name) for name in LIBRARIES}
    return {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1, **versions}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one level, budget and label seed: within 2 minutes")
    parser.add_argument("--levels", nargs="+", default=list(TEMPERATURES), choices=list(TEMPERATURES))
    parser.add_argument("--methods", nargs="+", default=METHODS, help="such as 'TD λ=.5' or 'MC K=4'")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="environment steps")
    parser.add_argument("--ns", type=int, nargs="+", default=NS, help="candidates to choose among")
    parser.add_argument("--seeds", type=int, default=3, help="label seeds")
    parser.add_argument("--episodes", type=int, default=300, help=f"per seed at N = {DECISIVE}; a third elsewhere")
    parser.add_argument("--states", type=int, default=320, help="of the ground truth")
    parser.add_argument("--rollouts", type=int, default=16, help="per action of the ground truth")
    parser.add_argument("--draw", type=int, default=0, help="which draw of all seeds; choose settings on another")
    parser.add_argument("--rows", help="append each row to this file of JSON lines as soon as it is measured")
    parser.add_argument("--resume", action="store_true", help="do not measure again what stands in that file")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    asked = parser.parse_args()
    if asked.quick:
        asked.levels, asked.budgets, asked.ns = ["UnlockPickup"], (5_000,), (1, 8)
        asked.seeds, asked.episodes, asked.states, asked.rollouts = 1, 90, 60, 8
    return asked


def main() -> None:
    asked, started, found = arguments(), time.perf_counter(), list[dict[str, Any]]()
    columns = ["auc", "pair", *(f"best-{n}" for n in asked.ns)]
    torch.set_num_threads(1)
    for row in rows(asked):
        found.append(row)
        measures = {c: round(row[c], 3) for c in columns if row[c] is not None}
        print(row["level"], row["budget"], row["seed"], row["method"], measures, flush=True)
    summed, seconds = summary(found, asked.ns), round(time.perf_counter() - started, 1)
    print(table(summed, asked.ns))
    print(f"{seconds} s")
    if asked.json:
        result = {"machine": machine(), "seconds": seconds, "summary": summed, "rows": found}
        print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
