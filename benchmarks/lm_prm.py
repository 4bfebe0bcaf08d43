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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labels import kept, machine
from labels_world import World

from agentprm.labels.lookahead import Lookahead
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.ops.agree import wilson
from agentprm.record.replay import Replay
from agentprm.scorers.constant import Constant
from agentprm.scorers.discriminative import Discriminative
from agentprm.scorers.hashed import Hashed
from agentprm.scorers.pairwise import Pairwise
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.text.brief import Brief, brief
from agentprm.text.render import PLAIN
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.train.batches import Labelled, Pair, split
from agentprm.train.fit import Recipe, fit
from agentprm.train.order import Order
from agentprm.types import Scorer, Trajectory

SKIP = r"^Your goal: [^\n]*\n|\nAvailable actions.*"
APART = ["red", "green", "blue", "purple", "yellow", "grey", "key", "ball", "box", "door", "wall"]
LEVEL = "UnlockPickup"
MODELS: dict[str, Callable[..., Any]] = {
    "cross entropy": lambda *given, **options: Discriminative.tiny(*given, unit="value", **options),
    "promise": lambda *given, **options: PromiseProgress.tiny(*given, beta=0.0, **options),
    "promise + progress": PromiseProgress.tiny,
    "pairs": Pairwise.tiny,
}


@dataclass(frozen=True)
class Variant:
    """What is read, what is learnt, and from which labels."""

    labels: str = "lookahead"
    """*lookahead*, by a critic of the same make; *outcome*; or *TD*, of the model itself."""
    model: str = "cross entropy"
    tells: str = "brief"
    """*brief*, with or without a part, or *episode*: all turns so far."""
    chosen: str = "last"
    """Which weights are kept: the *last*, or those of the best *order* of held-out actions in one state."""
    hidden: int = 64
    layers: int = 2

    @property
    def template(self) -> Any:
        """How steps are worded."""
        without = self.tells.partition("without ")[2]
        return (
            Brief(skip=SKIP, matches=without != "matches", again=without != "again")
            if self.tells != "episode"
            else PLAIN
        )


CHOSEN = "lookahead"
VARIANTS = {
    CHOSEN: Variant(),
    "lookahead, chosen by order": Variant(chosen="order"),
    "lookahead, and pairs": Variant(model="pairs"),
    "lookahead, squared error": Variant(model="promise"),
    "lookahead, without matches": Variant(tells="brief without matches"),
    "lookahead, without again": Variant(tells="brief without again"),
    "outcome": Variant(labels="outcome"),
    "TD λ=.95": Variant(labels="TD"),
    "TD λ=.95, promise + progress": Variant(labels="TD", model="promise + progress"),
    "outcome, whole episodes": Variant(labels="outcome", tells="episode"),
}
PEERS = ("policy alone", "majority", "hashed, TD λ=.95")
NS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Cell:
    """What one row is about."""

    world: World
    budget: int
    seed: int
    method: str
    ns: tuple[int, ...]
    episodes: int
    steps: tuple[int, int]
    """Optimiser steps of critic and model, 64 labels each."""

    def plain(self) -> dict[str, Any]:
        """Return what tells this cell from all others."""
        plain = {**asdict(self.world), **asdict(self), "world": None, "ns": list(self.ns), "steps": list(self.steps)}
        return {**plain, **(asdict(VARIANTS[self.method]) if self.method in VARIANTS else {})}


class Lesson:
    """The data of one label seed: episodes, single other steps in their states, and what both cost."""

    def __init__(self, cell: Cell, *, forked: bool) -> None:
        world, self.seed = cell.world, cell.seed
        self.played = world.recorded(cell.seed, cell.budget // 2 if forked else cell.budget)
        replay = Replay(world.env(), world.policy)
        self.forks = [fork for t in self.played for fork in self._forks(replay, t)] if forked else []
        self.env_steps = sum(map(len, self.played)) + replay.env_steps
        self.replayed = replay.replayed_steps

    def _forks(self, replay: Replay, trajectory: Trajectory) -> Iterator[Trajectory]:
        """Yield a fork for each step: another listed action, drawn at random."""
        chance = np.random.default_rng([self.seed, trajectory.seed or 0])
        infos = [trajectory.meta["info"], *(step.info for step in trajectory.steps)]
        for t, (step, info) in enumerate(zip(trajectory.steps, infos, strict=False)):
            others = [native for native in info["actions"] if native != step.action.native]
            if others:
                yield from replay.instead(trajectory, t, [str(chance.choice(others))])


def tokenizer(played: Sequence[Trajectory], template: Any) -> Any:
    """Return one that was trained on some episodes, as they are worded."""
    some = played[:200]
    told = (s.text for e in some for t in range(len(e)) for s in brief(e, t, template))
    words = told if isinstance(template, Brief) else texts(some)
    return train_tokenizer(words, 512, superwords=True, apart=APART)


def recipe(cell: Cell, steps: int, states: int | None = 4, *, choose: bool = False) -> Recipe:
    """Return how to train: so many steps of 64 labels, a few states of each episode at a pass."""
    return Recipe(
        min_steps=steps // 2 if choose else steps, max_steps=steps, patience=100, evaluate_every=max(1, steps // 8),
        batch_size=64, learning_rate=1e-3, schedule="linear", held_out=0.06 if choose else 0.0, states=states,
        seed=cell.seed,
    )  # fmt: skip


def train(cell: Cell, variant: Variant) -> tuple[Scorer, dict[str, Any]]:
    """Return a model and what it cost: CPU seconds of labels (single steps and critic) and of training."""
    started = time.process_time()
    lesson = Lesson(cell, forked=variant.labels == "lookahead")
    tokens, template = tokenizer(lesson.played, variant.template), variant.template
    make, size = (
        MODELS[variant.model],
        {"hidden": variant.hidden, "layers": variant.layers, "template": template, "memory": 0},
    )
    model = make(tokens, seed=cell.seed, **size)
    pairs: Any
    if variant.labels == "lookahead":
        critic = MODELS["cross entropy"](tokens, sees="result", seed=cell.seed + 100, **size)
        outcomes = list(zip(lesson.played, Outcome()(lesson.played), strict=True))
        fit(critic, outcomes, recipe(cell, cell.steps[0]), progress=False)
        pairs = list(labelled(lesson, critic))
    elif variant.labels == "TD":
        pairs = Labelled(lesson.played, Temporal(model))
    else:
        pairs = list(zip(lesson.played, Outcome()(lesson.played), strict=True))
    made = time.process_time()
    ours = recipe(cell, cell.steps[1], 4 if template is not PLAIN else None, choose=variant.chosen == "order")
    report = fit(model, pairs, ours, quality=order(pairs, ours) if variant.chosen == "order" else None, progress=False)
    ended = time.process_time()
    return model, {
        "env_steps": lesson.env_steps, "replayed": lesson.replayed, "labels": report.n_labels, "best": report.best_step,
        "weights": sum(p.numel() for p in model.parameters()),
        "cpu_labels": round(made - started, 1), "cpu_training": round(ended - made, 1),
    }  # fmt: skip


def labelled(lesson: Lesson, critic: Scorer) -> Iterator[Pair]:
    """Yield episodes and forks with their labels, some families at a time."""
    label, at = Lookahead(critic), {}
    for fork in lesson.forks:
        at.setdefault(fork.parent and fork.parent.trajectory_id, []).append(fork)
    for i in range(0, len(lesson.played), 50):
        some = [one for t in lesson.played[i : i + 50] for one in (t, *at.get(t.id, ()))]
        yield from zip(some, label(some), strict=True)


def order(pairs: Sequence[Pair], recipe: Recipe) -> Order:
    """Return the order of actions in the states that are held out."""
    _, held = split([trajectory for trajectory, _ in pairs], recipe.held_out, recipe.seed)
    return Order([pairs[i] for i in held], least=0.02)


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
    parser.add_argument("--variants", nargs="+", default=[CHOSEN], help=f"'all', or some of {list(VARIANTS)}")
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
