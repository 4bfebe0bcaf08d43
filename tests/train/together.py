"""Trains models in however many processes this was started in, and writes what became of them."""

import json
import sys
from functools import partial

import torch

from agentprm import Recipe, fit
from agentprm.cli import main
from agentprm.errors import TrainingError
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.scorers._reader import Reader
from agentprm.scorers.discriminative import Discriminative
from agentprm.scorers.hashed import Hashed
from agentprm.scorers.implicit import Implicit
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.scorers.ranking import Ranking
from agentprm.testing.trajectories import corridors
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.train import fit as fitting
from agentprm.train.batches import Labelled
from agentprm.train.processes import Processes

PLAYED = corridors(24, seed=0)
TINY = {"hidden": 16, "layers": 1, "heads": 2, "context": 256}


def models():
    tokenizer = train_tokenizer(texts(PLAYED), 300)
    yield "all", PromiseProgress.tiny(tokenizer, **TINY)
    yield "lora", PromiseProgress.tiny(tokenizer, train="lora", rank=2, checkpointing=True, **TINY)
    yield "head", Discriminative.tiny(tokenizer, unit="value", train="head", **TINY)
    yield "ranking", Ranking.tiny(tokenizer, unit="value", **TINY)
    yield "implicit", Implicit.tiny(tokenizer, **TINY)
    yield "hashed", Hashed()


def labelled(name, model):
    """Temporal labels follow the model, and so do the targets of every process."""
    if name in ("all", "hashed"):
        return Labelled(PLAYED, Temporal(model))
    return list(zip(PLAYED, Outcome()(PLAYED), strict=True))


def count_tokens():
    """Count what goes through backbones to be learnt from; return where it is counted."""
    read, states = [0], Reader.states

    def counting(self, windows):
        read[0] += sum(len(window.ids) for window in windows)
        return states(self, windows)

    Reader.states = counting
    return read


def train_all():
    recipe, said, read = (
        Recipe(min_steps=3, max_steps=6, evaluate_every=2, batch_size=24, held_out=0.25),
        {},
        count_tokens(),
    )
    for name, model in models():
        before = read[0]
        report = fit(model, labelled(name, model), recipe)
        weights = torch.cat([p.detach().flatten().float() for p in model.parameters()])
        said[name] = {
            "weights": weights[:20_000].tolist(),
            "curve": [list(point) for point in report.curve],
            "tokens": read[0] - before,
            "spec": model.spec.digest,
        }
    return said


def among_several(store, where, index):
    """Return what happens where processes are given different data, or train alone, or run the command line."""
    own = PLAYED[index:]
    pairs = list(zip(own, Outcome()(own), strict=True))
    try:
        fit(Hashed(), pairs, Recipe(min_steps=1, max_steps=1))
        different = ""
    except TrainingError as error:
        different = str(error)
    alone = fit(Hashed(), pairs, Recipe(min_steps=1, max_steps=1), alone=True).n_trajectories
    # Few steps, for the command line has no option for it.
    fitting.Recipe = partial(Recipe, min_steps=2, max_steps=2)
    try:
        main(["train", store, "-o", f"{where}.model", "--labels", "outcome", "--json"])
        code = None
    except SystemExit as done:
        code = done.code
    return {"different": different, "alone": alone, "code": code}


def write(where, store=None):
    said, here = train_all(), Processes.here()
    said |= {"n": here.n} | (among_several(store, where, here.index) if store else {})
    with open(f"{where}.{here.index}", "w") as file:
        json.dump(said, file)


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(*sys.argv[1:])
