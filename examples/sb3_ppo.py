"""Stable-Baselines3's PPO, paid by a step-reward model: record, train the model, train the agent.

python examples/sb3_ppo.py [steps]

The Monitor stands inside the wrapper, so that its returns are the world's own; what the agent was paid is in the store.
"""

import sys
import tempfile
from pathlib import Path

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from agentprm import PRMRewardWrapper, Recipe, Store, TrajectoryRecorder, fit, rollout
from agentprm.labels.temporal import Temporal
from agentprm.record.policies import RandomPolicy
from agentprm.scorers.hashed import Hashed
from agentprm.train.batches import Labelled

GAMMA = 0.99


def frozen_lake():
    return gym.make("FrozenLake-v1", is_slippery=False)


def where(observation):
    """Words for a square: a model that reads words cannot tell 11 from 1 and 1 otherwise."""
    return f"row{observation // 4} column{observation % 4} square{observation}"


def step_reward_model(episodes):
    env = frozen_lake()
    recorder = TrajectoryRecorder(env, task="reach the goal", render=where, outcome="reward")
    played = rollout(RandomPolicy(seed=0, space=env.action_space), recorder, episodes=episodes)
    print(f"{len(played)} random episodes, {sum(t.outcome for t in played):.0f} reached the goal")
    model = Hashed()
    print(fit(model, Labelled(played, Temporal(model)), Recipe(held_out=0, min_steps=150)))
    return model


def main(steps=6_000):
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "runs.db", durability="group") as store:
        model = step_reward_model(episodes=600)
        words = {"task": "reach the goal", "render": where, "outcome": "reward"}
        env = PRMRewardWrapper(Monitor(frozen_lake()), model, store, gamma=GAMMA, policy="ppo", **words)
        agent = PPO("MlpPolicy", env, gamma=GAMMA, n_steps=256, learning_rate=1e-3, ent_coef=0.01, seed=0)
        agent.learn(int(steps))
        env.close()
        paid = [store.rewards(t.id) for t in list(store.trajectories(policy="ppo", ended=True))[-50:]]
        print(f"last {len(paid)} episodes: world's return {mean(sum(r.env) for r in paid):.2f}, "
              f"paid {mean(sum(r.given) for r in paid):.2f}")  # fmt: skip
        reward, _ = evaluate_policy(agent, Monitor(frozen_lake()), n_eval_episodes=20)
        print(f"the agent without the wrapper: success {reward:.0%}")


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers) if numbers else float("nan")


if __name__ == "__main__":
    main(*sys.argv[1:])
