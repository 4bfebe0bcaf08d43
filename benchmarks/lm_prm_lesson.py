"""What the rows of `lm_prm.py` are about: what a model reads, what it learns, from which labels, and at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from labels_world import World

from agentprm.labels.lookahead import Lookahead
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.record.replay import Replay
from agentprm.scorers.discriminative import Discriminative
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
