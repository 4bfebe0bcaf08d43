"""What all cells of `labels.py` share: who plays, what it recorded, what is true.

Every seed is counted from a first one, and `draw` moves all of them: what is chosen on one draw is measured on another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, combinations, count
from typing import Any

import gymnasium as gym
import numpy as np

from agentprm.labels.monte_carlo import MonteCarlo
from agentprm.ops.agree import auc
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.record.rollout import play, rollout
from agentprm.rl.clone import ClonedPolicy, clone
from agentprm.scorers.constant import Constant
from agentprm.search.best_of_n import Reranked
from agentprm.train.batches import Pair
from agentprm.types import Action, Observation, Policy, Scorer, Step, Trajectory

DRAW = 100_000_000
FIRST_SUCCESSES, RECORDING, TRUTH, EVALUATION = 1_000_000, 2_000_000, 5_000_000, 7_000_000
TEMPERATURES = {"UnlockPickup": 4.0, "PickupLoc": 6.0}
"""How erratic the cloned policy is made: it succeeds in a quarter to a half of its episodes."""


@dataclass(frozen=True)
class Judged:
    """A step of the ground truth: where it was taken, and the share of rollouts that succeeded after it."""

    state: int
    trajectory: Trajectory
    value: float


@dataclass(frozen=True)
class World:
    """A level with its weak policy, the ground truth of its steps, and recordings up to `most` environment steps."""

    level: str
    draw: int = 0
    most: int = 80_000
    states: int = 320
    rollouts: int = 16

    def env(self) -> gym.Env[Any, Any]:
        """Return a fresh environment of the level."""
        return gym.make(f"agentprm_envs:BabyAIText/{self.level}-v0")

    def first(self, seed: int) -> int:
        """Return this draw's seed for one of draw 0."""
        return seed + DRAW * self.draw

    @cached_property
    def policy(self) -> ClonedPolicy:
        """The policy whose steps are valued: cloned from 20 lucky random episodes, made erratic by temperature."""
        env, wanderer, won = self.env(), RandomPolicy(self.draw), list[Trajectory]()
        for seed in count(self.first(FIRST_SUCCESSES)):
            trajectory = play(wanderer, env, seed)
            won += [trajectory] if trajectory.outcome == 1.0 else []
            if len(won) == 20:
                break
        return clone(won, seed=self.draw).at(TEMPERATURES[self.level])

    @cached_property
    def truth(self) -> list[Judged]:
        """Up to four actions at each of some states that the policy visits, with their values by rollout."""
        chance, env, judged = np.random.default_rng(self.draw), self.env(), list[Judged]()
        for state in range(self.states):
            visited = play(self.policy.seeded(state), self.env(), self.first(TRUTH) + state)
            t = int(chance.integers(len(visited)))
            listed = (visited.meta["info"] if t == 0 else visited.steps[t - 1].info)["actions"]
            for native in chance.permutation(listed)[:4]:
                judged.append(Judged(state, *self._value(env, visited, t, str(native))))
        return judged

    def _value(self, env: gym.Env[Any, Any], visited: Trajectory, t: int, native: str) -> tuple[Trajectory, float]:
        env.reset(seed=visited.seed)
        for step in visited.steps[:t]:
            env.step(step.action.native)
        seen, reward, terminated, truncated, info = env.step(native)
        step = Step(visited.steps[t].observation, Action(native, native=native), float(reward), info)
        taken = visited.seen(t, "action")._with(steps=(*visited.steps[:t], step), last=Observation(seen, seen))
        if terminated or truncated:
            return taken, float(info["success"])
        world: Any = env.unwrapped
        snapshot, wins = world.snapshot(), 0.0
        for _ in range(self.rollouts):
            world.restore(snapshot)
            wins += _play_on(world, self.policy, taken, info)
        return taken, wins / self.rollouts

    @lru_cache(maxsize=1)  # noqa: B019 - a world lives as long as the script
    def _recorded(self, seed: int) -> list[Trajectory]:
        first = self.first(RECORDING) + 100_000 * seed
        return rollout(self.policy.seeded(seed), self.env(), steps=self.most, seeds=first, progress=False)

    def recorded(self, seed: int, budget: int) -> list[Trajectory]:
        """Return episodes of the policy until the budget is spent; a smaller budget gives the first of a larger."""
        played = self._recorded(seed)
        return _until(played, accumulate(map(len, played)), budget)

    @lru_cache(maxsize=2)  # noqa: B019
    def _rolled(self, seed: int, k: int) -> list[tuple[Pair, int]]:
        env, replay = self.env(), Replay(self.env(), self.policy.seeded(seed + 50))
        label, player = MonteCarlo(replay, rollouts=k, seed=seed), self.policy.seeded(seed)
        labelled, spent = list[tuple[Pair, int]](), 0
        for episode in count(self.first(RECORDING) + 100_000 * seed):
            trajectory = play(player, env, episode)
            spent += len(trajectory)
            labelled.append(((trajectory, label([trajectory])[0]), spent + replay.env_steps))
            if spent + replay.env_steps >= self.most:
                break
        return labelled

    def rolled(self, seed: int, k: int, budget: int) -> list[Pair]:
        """Return episodes with Monte-Carlo labels until the budget is spent, by playing and by rollouts together."""
        labelled = self._rolled(seed, k)
        return _until([pair for pair, _ in labelled], (spent for _, spent in labelled), budget)

    def agreement(self, model: Scorer) -> dict[str, Any]:
        """Return how well scores agree with the truth: across states, and between actions of the same state."""
        judged = self.truth
        scores = [scored.values[-1] or 0.0 for scored in model([j.trajectory for j in judged])]
        median = float(np.median([j.value for j in judged]))
        right = [
            (scores[i] - scores[j]) * (judged[i].value - judged[j].value) > 0
            for i, j in combinations(range(len(judged)), 2)
            if judged[i].state == judged[j].state and abs(judged[i].value - judged[j].value) > 0.25
        ]
        pair = sum(right) / len(right) if right else None
        return {"auc": auc(scores, [j.value > median for j in judged]), "pair": pair, "pairs": len(right)}

    def success(self, model: Scorer, n: int, episodes: int, seed: int) -> float:
        """Return the success on unseen seeds when the best of `n` proposals is taken at every step."""
        if n == 1:
            return self._alone(episodes, seed)
        return self._played(Reranked(self.policy.seeded(1000 + seed), model, n), episodes, seed)

    @lru_cache(maxsize=1)  # noqa: B019
    def _alone(self, episodes: int, seed: int) -> float:
        """Return the success of the policy itself: what is the best of one proposal, whoever judges it."""
        return self._played(Reranked(self.policy.seeded(1000 + seed), Constant(), 1), episodes, seed)

    def _played(self, policy: Policy, episodes: int, seed: int) -> float:
        first = self.first(EVALUATION) + 10_000 * seed
        played = rollout(policy, self.env(), episodes=episodes, seeds=first, progress=False)
        return sum(t.outcome or 0.0 for t in played) / len(played)


def _until(items: Sequence[Any], spent: Iterator[int], budget: int) -> list[Any]:
    taken = []
    for item, cost in zip(items, spent, strict=True):
        taken.append(item)
        if cost >= budget:
            break
    return taken


def _play_on(world: Any, policy: ClonedPolicy, trajectory: Trajectory, info: Any) -> float:
    over = False
    while not over:
        native = policy(trajectory, info)
        seen, reward, terminated, truncated, info = world.step(native)
        step = Step(trajectory.last, Action(native, native=native), float(reward), info)
        trajectory, over = trajectory.append(step, Observation(seen, seen)), terminated or truncated
    return float(info["success"])
