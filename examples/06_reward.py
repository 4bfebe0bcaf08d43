"""Stage 6, feedback: the model's opinion as a dense reward, beside the world's own, both kept.

python examples/06_reward.py runs.db model        (after 04_train.py)
"""

import sys

import gymnasium as gym

from agentprm import PRMRewardWrapper, Store
from agentprm.record.policies import RandomPolicy
from agentprm.record.rollout import play


def main(path="runs.db", folder="model"):
    with Store(path) as store:
        bare = gym.make("agentprm_envs:BabyAIText/PickupLoc-v0")
        env = PRMRewardWrapper(bare, folder, store, gamma=1.0, policy="paid wanderer")
        trajectory = play(RandomPolicy(seed=3), env, seed=12)
        rewards = store.rewards(trajectory.id)
        print(f"{trajectory.task.text}: {trajectory.ending.status}, outcome {trajectory.outcome:g}\n")
        print("  world  model   paid   action")
        for world, model, paid, step in zip(*rewards, trajectory.steps, strict=True):
            print(f"  {world:5.2f}  {model:5.2f}  {paid:+5.2f}   {step.action.text}")
        paid, world = sum(rewards.given), sum(rewards.env)
        print(f"\npaid in all {paid:.2f}, the world's return {world:.2f}: what shaping lends it takes back at the end")


if __name__ == "__main__":
    main(*sys.argv[1:])
