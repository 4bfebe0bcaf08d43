"""A language model as step-reward model (AgentPRM): a tiny Llama from scratch, on what a random agent did.

python examples/07_language_model.py [folder]
"""

import sys
import tempfile

import gymnasium as gym
import torch

from agentprm import Recipe, fit, load_scorer, rollout
from agentprm.labels.temporal import Temporal
from agentprm.ops.agree import auc
from agentprm.record.policies import RandomPolicy
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.train.batches import Labelled

APART = "red green blue purple yellow grey ball box key door left right".split()
RECIPE = Recipe(learning_rate=2e-3, batch_size=128, min_steps=80, max_steps=80)


def main(folder=None, episodes=160, held_out=100):
    torch.set_num_threads(1)
    env = gym.make("agentprm_envs:BabyAIText/PickupLoc-v0", list_actions=False)
    played = rollout(RandomPolicy(0), env, episodes=episodes + held_out)
    learn, test = played[:episodes], played[episodes:]
    print(f"{len(played)} episodes, {sum(t.outcome for t in played) / len(played):.0%} succeeded")

    tokenizer = train_tokenizer(texts(learn), 1024, superwords=True, apart=APART)
    model = PromiseProgress.tiny(tokenizer)
    n_tokens = sum(len(window.ids) for t in learn for window in model.read(t)[0])
    print(f"{len(tokenizer)} tokens in the vocabulary, {n_tokens / sum(map(len, learn)):.0f} per turn")

    print(fit(model, Labelled(learn, Temporal(model, lambda_=0.95)), RECIPE))

    found = [(value, t, trajectory.outcome > 0) for trajectory, s in zip(test, model(test)) for t, value in enumerate(s.values)]
    values, index, won = zip(*found)
    print(f"held out: AUC {auc(values, won):.2f} of {len(values)} steps; by the number of the step alone {auc([-t for t in index], won):.2f}")

    folder = folder or tempfile.mkdtemp()
    model.save(folder)
    again = load_scorer(folder)
    shown = max(test, key=lambda t: (t.outcome, len(t)))
    print(f"\n{shown.task.text}   ({folder}: {again.spec.params['weights']})")
    for step, value in zip(shown.steps, again([shown])[0].values):
        print(f"  {value:.2f}  {step.action.text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
