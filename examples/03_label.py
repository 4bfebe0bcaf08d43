"""Stage 2, label: what was each step worth? Three answers, from the same episodes, at different prices.

python examples/03_label.py runs.db        (after 01_record.py)
"""

import sys

import gymnasium as gym

from agentprm import Store
from agentprm.labels.monte_carlo import MonteCarlo
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.scorers.constant import Constant


def main(path="runs.db"):
    replay = Replay(gym.make("agentprm_envs:BabyAIText/PickupLoc-v0"), RandomPolicy(seed=1))
    methods = {
        "outcome": Outcome(),
        "temporal, critic says 0.3": Temporal(Constant(0.3), lambda_=0.8),
        "Monte-Carlo, 4 rollouts": MonteCarlo(replay, rollouts=4),
    }
    with Store(path) as store:
        short = [t for t in store.trajectories(outcome=(1, 1)) if 3 <= len(t) <= 6][:5]
        for name, method in methods.items():
            labels = method(short)
            store.add(labels)
            values = " ".join("  .  " if v is None else f"{v:.2f} " for v in labels[0].values)
            print(f"{name:28}{values}")
        print(f"\nThe rollouts cost {replay.env_steps} environment steps for {sum(map(len, short))} labels.")


if __name__ == "__main__":
    main(*sys.argv[1:])
