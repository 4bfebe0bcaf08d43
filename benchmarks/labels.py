"""Label methods at the same number of environment steps, on BabyAI: which scorer do they teach?

A weak policy (cloned from 20 lucky random episodes, made erratic by temperature) is recorded for a budget of
environment steps; Monte-Carlo labels pay for their rollouts from the same budget. Each method trains the same scorer
by the same recipe. Measured against rollouts of the weak policy (ground truth):

    auc      a step after which success is likelier than in the median scores higher
    pair     order of two actions in the same state whose true values differ by more than 0.25
    best-N   success on unseen seeds when the best-scored of N proposals is executed at every step

    python benchmarks/labels.py --quick
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from agentprm.labels.monte_carlo import MonteCarlo
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.ops.agree import auc
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.record.rollout import play, rollout
from agentprm.rl.clone import ClonedPolicy, clone
from agentprm.scorers.hashed import Hashed
from agentprm.search.best_of_n import Reranked
from agentprm.train.batches import Labelled, Pair
from agentprm.train.fit import Fit, Recipe, fit
from agentprm.types import Action, Observation, Step, Trajectory

FIRST_SUCCESSES, RECORDING, TRUTH, EVALUATION = 1_000_000, 2_000_000, 5_000_000, 7_000_000
METHODS = ("TD λ=.95", "TD λ=.8", "outcome (λ=1)", "MC K=8", "MC K=2", "ORM (last step)")


@dataclass
class Setting:
    """How much is played."""

    env_id: str
    budgets: Sequence[int]
    label_seeds: int
    episodes: int
    ns: Sequence[int]
    states: int
    rollouts: int
    temperature: float


@dataclass(frozen=True)
class Judged:
    """A step of the ground truth: where it was taken, and the share of rollouts that succeeded after it."""

    state: int
    trajectory: Trajectory
    value: float


def weak_policy(setting: Setting) -> ClonedPolicy:
    env, wanderer, won = gym.make(setting.env_id), RandomPolicy(0), list[Trajectory]()
    for seed in count(FIRST_SUCCESSES):
        trajectory = play(wanderer, env, seed)
        won += [trajectory] if trajectory.outcome == 1.0 else []
        if len(won) == 20:
            return clone(won, seed=0).at(setting.temperature)
    raise AssertionError


def ground_truth(setting: Setting, policy: ClonedPolicy) -> list[Judged]:
    """Return up to four actions at each of some states that the policy visits, with their values by rollout."""
    chance, env, judged = np.random.default_rng(0), gym.make(setting.env_id), list[Judged]()
    for state in range(setting.states):
        visited = play(policy.seeded(state), gym.make(setting.env_id), TRUTH + state)
        t = int(chance.integers(len(visited)))
        listed = (visited.meta["info"] if t == 0 else visited.steps[t - 1].info)["actions"]
        for native in chance.permutation(listed)[:4]:
            trajectory, value = value_of(env, policy, visited, t, str(native), setting.rollouts)
            judged.append(Judged(state, trajectory, value))
    return judged


def value_of(
    env: gym.Env[Any, Any], policy: ClonedPolicy, visited: Trajectory, t: int, native: str, n: int
) -> tuple[Trajectory, float]:
    _, info = env.reset(seed=visited.seed)
    for step in visited.steps[:t]:
        env.step(step.action.native)
    before = visited.seen(t, "action")
    seen, reward, terminated, truncated, info = env.step(native)
    step = Step(visited.steps[t].observation, Action(native, native=native), float(reward), info)
    taken = before._with(steps=(*visited.steps[:t], step), last=Observation(seen, seen))
    if terminated or truncated:
        return taken, float(info["success"])
    world: Any = env.unwrapped
    snapshot, wins = world.snapshot(), 0.0
    for _ in range(n):
        world.restore(snapshot)
        wins += play_on(world, policy, taken, info)
    return taken, wins / n


def play_on(world: Any, policy: ClonedPolicy, trajectory: Trajectory, info: Any) -> float:
    over = False
    while not over:
        native = policy(trajectory, info)
        seen, reward, terminated, truncated, info = world.step(native)
        step = Step(trajectory.last, Action(native, native=native), float(reward), info)
        trajectory, over = trajectory.append(step, Observation(seen, seen)), terminated or truncated
    return float(info["success"])


def monte_carlo(setting: Setting, policy: ClonedPolicy, k: int, budget: int, seed: int) -> list[Pair]:
    """Record and label until the budget is spent, by episodes and by rollouts together."""
    env, replay = gym.make(setting.env_id), Replay(gym.make(setting.env_id), policy.seeded(seed + 50))
    label, player, pairs, spent = MonteCarlo(replay, rollouts=k, seed=seed), policy.seeded(seed), list[Pair](), 0
    for episode in count(RECORDING + 100_000 * seed):
        trajectory = play(player, env, episode)
        pairs += zip([trajectory], label([trajectory]), strict=True)
        spent += len(trajectory)
        if spent + replay.env_steps >= budget:
            return pairs
    raise AssertionError


def train(
    method: str, setting: Setting, policy: ClonedPolicy, played: Sequence[Trajectory], budget: int, seed: int
) -> tuple[Hashed, Fit]:
    model, recipe = Hashed(seed=seed), Recipe(seed=seed)
    pairs: Any
    if method.startswith("TD"):
        pairs = Labelled(played, Temporal(model, float(method.partition("=")[2])))
    elif method.startswith("MC"):
        pairs = monte_carlo(setting, policy, int(method.partition("=")[2]), budget, seed)
    else:
        pairs = list(Labelled(played, Outcome(last_only=method.startswith("ORM"))))
    return model, fit(model, pairs, recipe)


def agreement(model: Hashed, judged: Sequence[Judged]) -> dict[str, float | None]:
    scores = [scored.values[-1] or 0.0 for scored in model([j.trajectory for j in judged])]
    median = float(np.median([j.value for j in judged]))
    right = [
        (scores[i] - scores[j]) * (judged[i].value - judged[j].value) > 0
        for i, j in combinations(range(len(judged)), 2)
        if judged[i].state == judged[j].state and abs(judged[i].value - judged[j].value) > 0.25
    ]
    return {
        "auc": auc(scores, [j.value > median for j in judged]),
        "pair": sum(right) / len(right) if right else None,
        "pairs": len(right),
    }


def reranked(setting: Setting, policy: ClonedPolicy, model: Hashed, n: int, seed: int) -> float:
    chooser = Reranked(policy.seeded(1000 + seed), model, n)
    first = EVALUATION + 10_000 * seed
    played = rollout(chooser, gym.make(setting.env_id), episodes=setting.episodes, seeds=first, progress=False)
    return sum(t.outcome or 0.0 for t in played) / len(played)


def rows(setting: Setting) -> Iterator[dict[str, Any]]:
    policy = weak_policy(setting)
    judged = ground_truth(setting, policy)
    for budget in setting.budgets:
        for seed in range(setting.label_seeds):
            first = RECORDING + 100_000 * seed
            played = rollout(policy.seeded(seed), gym.make(setting.env_id), steps=budget, seeds=first, progress=False)
            weak = sum(t.outcome or 0.0 for t in played) / len(played)
            for method in METHODS:
                model, report = train(method, setting, policy, played, budget, seed)
                success = {f"best-{n}": reranked(setting, policy, model, n, seed) for n in setting.ns}
                fitted = {"labels": report.n_labels, "steps": report.steps, "train_s": round(report.seconds, 1)}
                start = {"method": method, "budget": budget, "seed": seed, "weak": weak}
                yield {**start, **fitted, **agreement(model, judged), **success}


def table(found: Sequence[dict[str, Any]], ns: Sequence[int]) -> str:
    columns = ["labels", "train_s", "auc", "pair", *(f"best-{n}" for n in ns)]
    lines = ["".join(f"{name:>9}" for name in ["budget", *columns]) + "  method (mean over label seeds)"]
    for budget, method in dict.fromkeys((row["budget"], row["method"]) for row in found):
        group = [row for row in found if (row["budget"], row["method"]) == (budget, method)]
        means = [np.mean([row[c] for row in group if row[c] is not None]) for c in columns]
        shown = [f"{m:>9.0f}" if c == "labels" else f"{m:>9.3f}" for c, m in zip(columns, means, strict=True)]
        lines.append(f"{budget:>9}" + "".join(shown) + f"  {method}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one label seed, few states and episodes: 1 to 2 minutes")
    parser.add_argument("--level", default="UnlockPickup")
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--budgets", type=int, nargs="+", default=[10_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", help="also write every row there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    env_id = f"agentprm_envs:BabyAIText/{asked.level}-v0"
    setting = Setting(env_id, asked.budgets, asked.seeds, 150, (1, 2, 4, 8, 16, 32), 160, 16, asked.temperature)
    if asked.quick:
        setting = Setting(env_id, (3_000,), 1, 50, (1, 8), 30, 8, asked.temperature)
    started, found = time.perf_counter(), list[dict[str, Any]]()
    for row in rows(setting):
        found.append(row)
        print(json.dumps(row), flush=True)
    print(table(found, setting.ns))
    print(f"{time.perf_counter() - started:.0f} s; weak policy alone {np.mean([row['weak'] for row in found]):.2f}")
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
