"""A scorer's opinion on all that a store holds, by one process or by many."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from agentprm.progress import progress_bar
from agentprm.serve.children import children
from agentprm.serve.worker import Batch, Stop, Worker
from agentprm.spec import make
from agentprm.store.jobs import ScoreJob
from agentprm.store.store import Store
from agentprm.store.tally import Failure, Tally, failures, tally
from agentprm.types import Scorer, Spec

__all__ = ["Scored", "score_store"]


@dataclass
class Scored:
    """What a run of scoring did."""

    name: str = ""
    """The scorer's."""
    digest: str = ""
    """Of its recipe: which version."""
    job: UUID | None = None
    """Names the job in the table `score_job`; the same one for every machine that works on it."""
    done: Batch = field(default_factory=Batch)
    """What the workers of this run did."""
    tally: Tally = field(default_factory=lambda: Tally(0, 0, 0, 0))
    """How far the job is, by whomever."""
    failures: list[Failure] = field(default_factory=list)
    """What failed in the job, the first twenty."""
    is_stopped: bool = False
    """Whether it was asked to stop before nothing was left."""


def score_store(
    url: str | Path,
    scorer: Scorer | Spec | Mapping[str, Any] | str | Path,
    *,
    workers: int = 1,
    follow: bool = False,
    batch: int = 32,
    tries: int = 3,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda _: None,
    **selector: Any,
) -> Scored:
    """Score every trajectory of a store that this version of the scorer has not scored yet; return what was done.

    Several `workers` are processes that share the work, each with the model loaded once and one torch thread; so do all
    machines that run the same against the same PostgreSQL. `selector` holds filters of `Store.trajectories` (`task`,
    `policy`, `env`, `group`, `seed`, `parent`, `since`, `until`). `follow` goes on with what ends later, until it is
    interrupted. Ctrl-C (SIGINT, SIGTERM) finishes the batch in hand, twice gives it back; called again, it goes on. A
    trajectory on which the scorer raises, or on which a worker dies, is tried `tries` times. `progress` draws a bar, by
    default on a terminal; `say` is told what happens.

    Raises StoreError, what `make` raises, and InvalidSpec for a live scorer with several workers.
    """
    how: dict[str, Any] = {"selector": selector, "follow": follow, "batch": batch, "tries": tries}
    with Stop(say, raises=workers == 1).listening() as stop, Store(url, create=False) as store:
        how["counts"] = progress = sys.stderr.isatty() if progress is None else progress  # that takes a walk
        told = _alone(store, scorer, stop, **how) if workers == 1 else children(url, scorer, workers, stop, say, **how)
        scored = _gather(told, progress)
        if scored.job is not None:
            scored.tally = tally(store._database, scored.job)
            scored.failures = failures(store._database, scored.job)
        scored.is_stopped = stop.is_asked.is_set()
    return scored


def _alone(
    store: Store,
    scorer: Any,
    stop: Stop,
    *,
    selector: Mapping[str, Any],
    follow: bool,
    batch: int,
    tries: int,
    counts: bool,
) -> Iterator[dict[str, Any]]:
    model, database = make(scorer), store._database
    job = ScoreJob(database, model, selector, tries=tries, follow=follow)
    total = job.unscored.count() if counts else None
    yield {"name": model.spec.name, "digest": model.spec.digest, "job": job.id, "total": total}
    for done in Worker(database, job, model, stop, batch=batch, follow=follow).run():
        yield {"batch": done}


def _gather(told: Iterator[dict[str, Any]], progress: bool) -> Scored:
    """Add up what workers tell, the first of them what there is to do; draw a bar meanwhile."""
    scored = Scored()
    head = next(told, None)
    if head is None:
        return scored
    scored.name, scored.digest, scored.job = head["name"], head["digest"], UUID(str(head["job"]))
    with progress_bar("scoring", head["total"], progress) as advance:
        for said in told:
            new = Batch(*said["batch"])
            scored.done = Batch(*map(sum, zip(scored.done, new, strict=True)))
            advance(new.scored + new.none + new.failed, f"{scored.done.steps} steps")
    return scored
