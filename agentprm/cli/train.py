"""`agentprm train`: a scorer from labelled trajectories."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from agentprm.cli.output import as_json, say
from agentprm.errors import TrainingError

__all__ = ["train"]


@click.command()
@click.argument("url")
@click.option("-o", "--output", required=True, help="Folder for the trained model.")
@click.option("--labels", default="temporal", show_default=True, help="temporal[:lambda_=…], outcome, or stored:NAME.")
@click.option("--model", default="hashed", show_default=True, help="What to train: name:key=value, or a folder.")
@click.option("--seed", default=0, show_default=True, help="Of the split, the batches and the first weights.")
@click.option("--policy", help="Only this policy's episodes.")
@click.option("--env", help="Only episodes in this environment.")
@as_json
def train(
    url: str, output: str, labels: str, model: str, seed: int, policy: str | None, env: str | None, as_json: bool
) -> None:
    """Train a scorer on the trajectories of the store at URL and save it to a folder.

    `temporal` targets are recomputed from the model itself as it learns; `stored:NAME` uses the labels that `agentprm
    label` stored under that name. Ctrl-C keeps the best weights so far.
    """
    from agentprm.spec import make
    from agentprm.store.store import Store
    from agentprm.train.fit import Recipe, fit
    from agentprm.train.processes import Processes

    trained: Any = make(model)
    if not hasattr(trained, "loss"):
        raise TrainingError(f"{model} has nothing to train: choose a model, such as hashed")
    with Store(url, create=False) as store:
        pairs = _pairs(store, labels, trained, policy=policy, env=env)
    report = fit(trained, pairs, Recipe(seed=seed))
    if not Processes.here().is_first:
        return
    trained.save(output)
    say({"model": output, **asdict(report)}, as_json, f"{report} → {output}")


def _pairs(store: Any, labels: str, model: Any, **filters: str | None) -> Any:
    from agentprm.spec import make, parse
    from agentprm.train.batches import Labelled

    trajectories = [t for t in store.trajectories(ended=True, **filters) if len(t)]
    if labels.startswith("stored:"):
        name = labels.removeprefix("stored:")
        known = {t.id: t for t in trajectories}
        pairs = [(known[s.trajectory_id], s) for s in store.scores(source=name) if s.trajectory_id in known]
        if not pairs:
            raise TrainingError(f"the store holds no labels called {name!r}: make some with `agentprm label`")
        return pairs
    spec = parse(labels)
    if spec.name == "temporal":
        from agentprm.labels.temporal import Temporal

        return Labelled(trajectories, Temporal(model, **spec.params))
    return Labelled(trajectories, make(spec))
