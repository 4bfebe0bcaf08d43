"""Stage 3, train: a step-reward model from the recorded episodes, its targets recomputed as it learns.

python examples/04_train.py runs.db model        (after 01_record.py)
"""

import sys

from agentprm import Recipe, Store, fit
from agentprm.labels.temporal import Temporal
from agentprm.scorers.hashed import Hashed
from agentprm.train.batches import Labelled


def main(path="runs.db", folder="model"):
    with Store(path) as store:
        played = [t for t in store.trajectories(ended=True) if len(t)]
    model = Hashed()
    report = fit(model, Labelled(played, Temporal(model, lambda_=0.95)), Recipe(seed=0))
    print(report)
    model.save(folder)
    print(f"→ {folder}: load_scorer({folder!r}) reads it back")


if __name__ == "__main__":
    main(*sys.argv[1:])
