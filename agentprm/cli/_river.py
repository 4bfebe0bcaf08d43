"""The whole river on BabyAI, stage by stage: what `agentprm demo` runs, and a script to copy from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import gymnasium as gym

from agentprm import credit
from agentprm.credit.table import Table
from agentprm.labels.monte_carlo import MonteCarlo
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.ops.agree import Interval, wilson
from agentprm.progress import progress_bar
from agentprm.record.gymnasium import TrajectoryRecorder
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.record.rollout import play, rollout
from agentprm.rl.clone import ClonedPolicy, clone
from agentprm.scorers.constant import Constant
from agentprm.scorers.hashed import Hashed
from agentprm.search.best_of_n import Reranked
from agentprm.spec import load_scorer
from agentprm.store.store import Store
from agentprm.train.batches import Labelled
from agentprm.train.fit import Fit, Recipe, fit
from agentprm.types import Policy, Scorer, Scores, Trajectory

__all__ = ["Result", "River", "comparison"]

_FIRST_SUCCESSES, _RECORDING, _EVALUATION = 1_000_000, 2_000_000, 9_000_000
"""First seeds of three disjoint worlds: what the policy is cloned from, what is recorded, what nobody has seen."""


@dataclass(frozen=True)
class Result:
    """How one way of choosing fared on unseen seeds, pooled over label seeds."""

    method: str
    won: int
    n: int
    per_seed: tuple[float, ...]
    env_steps: int = 0
    """Environment steps that its labels cost, per label seed."""

    @property
    def success(self) -> float:
        """Share of episodes that succeeded."""
        return self.won / self.n

    @property
    def interval(self) -> Interval:
        """Its 95 % interval (Wilson)."""
        return wilson(self.won, self.n) or Interval(0.0, 1.0)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        low, high = self.interval
        return {"method": self.method, "success": self.success, "low": low, "high": high,
                "per_seed": list(self.per_seed), "label_env_steps": self.env_steps}  # fmt: skip

    def __add__(self, other: Result) -> Result:
        return replace(self, won=self.won + other.won, n=self.n + other.n, per_seed=self.per_seed + other.per_seed)


@dataclass
class River:
    """One run of the demonstration: where it writes, how much it plays, what it says meanwhile."""

    folder: Path
    say: Callable[[str], None]
    env_id: str = "agentprm_envs:BabyAIText/UnlockPickup-v0"
    env_steps: int = 10_000
    episodes: int = 150
    candidates: int = 8
    successes: int = 20
    temperature: float = 4.0
    database: Path = field(init=False)
    """Where the episodes go: a new file, so that an earlier run is never mixed in."""
    mark: str = field(init=False)
    """What tells this run's files from an earlier one's."""

    def __post_init__(self) -> None:
        marks = ("" if i == 1 else f"-{i}" for i in count(1))
        self.mark = next(mark for mark in marks if not (self.folder / f"runs{mark}.db").exists())
        self.database = self.folder / f"runs{self.mark}.db"

    def weak_policy(self) -> ClonedPolicy:
        """Return a policy cloned from a few successes of an agent that knows nothing, made erratic by temperature."""
        env, wanderer = TrajectoryRecorder(gym.make(self.env_id)), RandomPolicy(seed=0)
        won: list[Trajectory] = []
        with progress_bar("waiting for lucky episodes", self.successes) as advance:
            for seed in count(_FIRST_SUCCESSES):
                trajectory = play(wanderer, env, seed)
                if trajectory.outcome == 1.0:
                    won.append(trajectory)
                    advance(1, f"{seed - _FIRST_SUCCESSES + 1} played")
                if len(won) == self.successes:
                    break
        self.say(f"{len(won)} successes among {seed - _FIRST_SUCCESSES + 1} random episodes; cloning them")
        return clone(won, seed=0).at(self.temperature)

    def record(self, policy: Policy, store: Store, label_seed: int) -> list[Trajectory]:
        """Record the weak policy for `env_steps` steps."""
        env = TrajectoryRecorder(gym.make(self.env_id), store, policy="weak")
        first = _RECORDING + label_seed * 100_000
        played = rollout(policy, env, steps=self.env_steps, seeds=first)
        env.close()
        return played

    @property
    def model(self) -> Path:
        """Where the trained scorer lies."""
        return self.folder / f"model{self.mark}"

    def trained(self, pairs: Any, seed: int) -> Hashed:
        """Return a scorer trained on labelled trajectories."""
        model = Hashed(seed=seed)
        _whole(fit(model, pairs, Recipe(seed=seed)))
        return model

    def temporal(self, played: Sequence[Trajectory], seed: int) -> Hashed:
        """Return a scorer trained on TD + GAE targets, recomputed from the scorer itself at every pass."""
        model = Hashed(seed=seed)
        _whole(fit(model, Labelled(played, Temporal(model)), Recipe(seed=seed)))
        return model

    def monte_carlo(self, played: Sequence[Trajectory], policy: Policy, seed: int) -> tuple[Hashed, int]:
        """Return a scorer trained on rollouts from every step (Math-Shepherd), for the same number of env steps."""
        replay = Replay(gym.make(self.env_id), policy)
        label = MonteCarlo(replay, rollouts=8, seed=seed)
        pairs: list[tuple[Trajectory, Scores]] = []
        spent = 0
        with progress_bar("Monte-Carlo rollouts", self.env_steps) as advance:
            for trajectory in played:
                before = spent
                pairs.append((trajectory, label([trajectory])[0]))
                spent = replay.env_steps + sum(len(t) for t, _ in pairs)
                advance(spent - before, f"{len(pairs)} episodes labelled")
                if spent >= self.env_steps:
                    break
        return self.trained(pairs, seed), spent

    def evaluate(self, method: str, policy: Policy, store: Store, label_seed: int, env_steps: int = 0) -> Result:
        """Return how a policy fares on seeds that nobody has seen, and record that too."""
        env = TrajectoryRecorder(gym.make(self.env_id), store, policy=method)
        first = _EVALUATION + label_seed * 10_000
        played = rollout(policy, env, episodes=self.episodes, seeds=first)
        won = int(sum(t.outcome or 0.0 for t in played))
        self.say(f"{method}: {won / len(played):.0%} of {len(played)} unseen episodes")
        return Result(method, won, len(played), (won / len(played),), env_steps)

    def compare(
        self, policy: ClonedPolicy, played: Sequence[Trajectory], store: Store, label_seed: int
    ) -> list[Result]:
        """Return how each way of choosing fares with labels from these episodes; keep the scorer and its labels."""
        budget = sum(map(len, played))
        ours = self.temporal(played, label_seed)
        ours.save(self.model)
        store.add(Temporal(ours)(played))
        orm = self.trained(Labelled(played, Outcome(last_only=True)), label_seed)
        outcomes = self.trained(Labelled(played, Outcome()), label_seed)
        rollouts, spent = self.monte_carlo(played, policy.seeded(label_seed), label_seed)
        ways: list[tuple[str, Policy, int]] = [
            ("policy alone", policy.seeded(label_seed), 0),
            ("majority", self._choosing(policy, Constant(), label_seed), 0),
            ("outcome reward model", self._choosing(policy, orm, label_seed), budget),
            ("Monte-Carlo labels", self._choosing(policy, rollouts, label_seed), spent),
            ("outcome on every step", self._choosing(policy, outcomes, label_seed), budget),
            ("TD + GAE labels", self._choosing(policy, ours, label_seed), budget),
        ]
        return [self.evaluate(name, way, store, label_seed, cost) for name, way, cost in ways]

    def run(self, seeds: int) -> tuple[list[Result], list[Table]]:
        """Return results pooled over label seeds, and credit tables on episodes that the scorer did not learn from."""
        policy = self.weak_policy()
        pooled: list[Result] = []
        with Store(self.database, durability="group") as store:
            for label_seed in range(seeds):
                played = self.record(policy.seeded(label_seed), store, label_seed)
                results = self.compare(policy, played, store, label_seed)
                pooled = [a + b for a, b in zip(pooled, results, strict=True)] if pooled else results
            self.keep_scores(store)
            unseen = "policy alone"
            tables = [
                credit.sinking_steps(store, limit=5, policy=unseen),
                credit.value_by_action(store, policy=unseen),
                credit.agreement(store, policy=unseen),
            ]
        return pooled, tables

    def keep_scores(self, store: Store) -> None:
        """Store what the trained scorer says of every step played."""
        scorer, n = load_scorer(self.model), 0
        with progress_bar("scoring what was played", None) as advance:
            waiting = store.trajectories(without=scorer.spec)
            while batch := list(islice(waiting, 64)):
                store.add(scorer(batch))
                n += len(batch)
                advance(len(batch), "")
        self.say(f"scored every step of {n} episodes")

    def plot(self, results: Sequence[Result]) -> Path | None:
        """Draw success with its interval per way of choosing; None without matplotlib."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return None
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.add_subplot()
        names = [r.method for r in results]
        spans = [[r.success - r.interval.low for r in results], [r.interval.high - r.success for r in results]]
        colours = ["#8a94a6"] * (len(results) - 1) + ["#1f6feb"]
        axes.barh(names, [r.success for r in results], xerr=spans, color=colours, height=0.6, capsize=3)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="success on unseen episodes, 95 % interval")
        axes.set_title(f"UnlockPickup: best of {self.candidates} actions at every turn", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        picture = self.folder / f"success{self.mark}.png"
        figure.savefig(picture, dpi=150)
        return picture

    def _choosing(self, policy: ClonedPolicy, scorer: Scorer, seed: int) -> Policy:
        return Reranked(policy.seeded(seed), scorer, self.candidates)


def _whole(report: Fit) -> None:
    """Let an interruption of the training end the run: figures of a model cut short would mean nothing."""
    if report.interrupted:
        raise KeyboardInterrupt


def comparison(results: Sequence[Result], candidates: int) -> Table:
    """Return the results as a table."""
    rows = [
        (r.method, r.success, *r.interval, r.n, r.env_steps, " ".join(f"{s:.2f}" for s in r.per_seed)) for r in results
    ]
    columns = ("chosen by", "success", "low", "high", "n", "label steps", "seeds")
    title = f"UnlockPickup, unseen episodes: the best of {candidates} candidate actions at every turn"
    return Table(title, columns, tuple(rows), "", "95 % intervals (Wilson); label steps are environment steps")
