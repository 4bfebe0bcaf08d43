"""Stages 4 and 5, score and credit: what the model thinks of every step, and who deserves the blame.

python examples/05_score_and_credit.py runs.db model        (after 04_train.py)
"""

import sys

from agentprm import Store, credit, load_scorer


def main(path="runs.db", folder="model"):
    scorer = load_scorer(folder)
    with Store(path) as store:
        played = [t for t in store.trajectories(without=scorer.spec) if len(t)]
        print(f"{store.add(scorer(played))} trajectories scored\n")
        for table in (
            credit.sinking_steps(store, scorer.spec, limit=3),
            credit.value_by_action(store, scorer.spec),
            credit.agreement(store, scorer.spec),
        ):
            print(f"{table.title}\n\n{table.to_markdown()}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
