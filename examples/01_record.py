"""Stage 1, record: a real environment, an agent that knows nothing, and every step in a SQL file.

python examples/01_record.py runs.db
"""

import random
import sqlite3
import sys

import gymnasium as gym

from agentprm import Store, TrajectoryRecorder, rollout


def wanderer(trajectory, info):
    """Take any of the actions that the environment offers."""
    return random.Random(f"{trajectory.seed}-{len(trajectory)}").choice(info["actions"])


def main(path="runs.db"):
    env = gym.make("agentprm_envs:BabyAIText/PickupLoc-v0")
    with Store(path) as store:
        played = rollout(wanderer, TrajectoryRecorder(env, store, policy="wanderer"), episodes=200)
        won = sum(t.outcome for t in played)
        print(f"{len(played)} episodes, {sum(map(len, played))} steps, {won / len(played):.0%} succeeded → {path}\n")

        trajectory = next(store.trajectories(outcome=(1, 1)))
        print(f"The task of the first success: {trajectory.task.text}")
        for step in trajectory.steps[-3:]:
            print(f"  {step.observation.text.splitlines()[0][:100]}…\n  → {step.action.text}   reward {step.reward:g}")

    print("\nThe same in plain SQL:")
    rows = sqlite3.connect(path).execute("SELECT idx, action, env_reward FROM v_step WHERE env_reward > 0 LIMIT 3")
    print("\n".join(f"  step {idx}: {action}, reward {reward:g}" for idx, action, reward in rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
