"""A language model as step-reward model (AgentPRM): a tiny Llama from scratch, on what a random agent did.

python examples/07_language_model.py [folder] [optimiser steps]        half a minute on one core
"""

import sys
import tempfile

import gymnasium as gym
import torch

from agentprm import Recipe, fit, load_scorer, rollout
from agentprm.labels.outcome import Outcome
from agentprm.ops.agree import auc
from agentprm.record.policies import RandomPolicy
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.train.batches import Labelled

APART = ["red", "green", "blue", "purple", "yellow", "grey", "key", "ball", "box", "door", "left", "right"]


def main(folder=None, steps=250):
    torch.set_num_threads(1)
    folder = folder or f"{tempfile.mkdtemp()}/model"
    env = gym.make("agentprm_envs:BabyAIText/UnlockLocal-v0", list_actions=False)
    played = rollout(RandomPolicy(seed=0), env, episodes=600)
    learn, test = played[:400], played[400:]
    print(f"{len(played)} episodes of a random agent, {sum(t.outcome for t in played) / len(played):.0%} succeeded")

    tokenizer = train_tokenizer(texts(learn), vocab_size=1024, superwords=True, apart=APART)
    model = PromiseProgress.tiny(tokenizer, hidden=64, layers=2)
    n_tokens = sum(len(window.ids) for trajectory in learn for window in model.read(trajectory)[0])
    print(f"{len(tokenizer)} tokens in the vocabulary, {n_tokens / sum(map(len, learn)):.0f} for each turn")

    n = int(steps)
    recipe = Recipe(learning_rate=3e-3, batch_size=128, min_steps=n, max_steps=n, held_out=0)
    print(f"\n{fit(model, Labelled(learn, Outcome()), recipe)}")
    model.save(folder)
    model = load_scorer(folder)
    print(f"→ {folder}, weights {model.spec.params['weights']}")
    report(test, [scores.values for scores in model(test)])


def report(test, values):
    steps = [
        (v, t, trajectory.outcome == 1) for trajectory, vs in zip(test, values, strict=True) for t, v in enumerate(vs)
    ]
    print("\nHeld out: how often is a step of a success worth more than a step of a failure?")
    print(f"  {auc(*columns(steps, 0, 2)):.0%} of all pairs of the {len(steps)} steps")
    print(f"  {1 - auc(*columns(steps, 1, 2)):.0%} if all one knows is how late a step is, for failures are long")
    print(f"  {alike(steps):.0%} of the pairs that are equally late\n")

    trajectory, said = max(zip(test, values, strict=True), key=lambda pair: (pair[0].outcome, len(pair[0]) == 11))
    print(trajectory.task.text)
    for step, value in zip(trajectory.steps, said, strict=True):
        print(f"  {value:.2f}  {step.action.text}")


def alike(steps):
    """Return the share of pairs in the right order, of those with the same number."""
    right = pairs = 0
    for number in {t for _, t, _ in steps}:
        values, won = columns([step for step in steps if step[1] == number], 0, 2)
        n = sum(won) * (len(won) - sum(won))
        pairs += n
        right += n * (auc(values, won) or 0)
    return right / pairs


def columns(rows, *which):
    return [[row[i] for row in rows] for i in which]


if __name__ == "__main__":
    main(*sys.argv[1:])
