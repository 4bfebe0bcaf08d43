"""The callback that records LangChain agents and scores their turns while they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID

from agentprm.errors import InvalidScores, StoreError
from agentprm.feedback.judge import require_in_range
from agentprm.record.langchain import LangChainRecorder
from agentprm.spec import as_live_scorer
from agentprm.store.store import Store
from agentprm.types import Event, LiveScorer, Scorer, Scores, Spec, Trajectory

__all__ = ["PRMCallbackHandler"]


class _Sink(Protocol):
    def write(self, event: Event, /) -> None: ...


class PRMCallbackHandler(LangChainRecorder):
    """Records every agent run it is attached to in `store`, and scores each turn as soon as the scorer may see it.

    Attach it with ``config={"callbacks": [handler]}``; one handler serves any number of runs, threads and event loops.
    `store` is a Store, its URL, or whatever has ``write(event)``. A `scorer` that sees the action is asked as soon as
    the calls of a turn are known, one that sees the result when the last of them has ended: in a thread of its own, so
    that the agent never waits. Each score is stored with its step, told to `on_score`, and sent to the other handlers
    of the run as the custom event ``prm_score``; the end of a run waits `patience` seconds for scores on their way, as
    nobody hears of one that comes later. `task` is the task's text or a function of the inputs, `outcome` a function of
    the final outputs to [0, 1] or None.

    What goes wrong in here is counted in `dropped`, logged once and never reaches the agent. Raises SightError for a
    scorer that sees the whole episode.

    >>> from langchain_core.language_models import FakeListChatModel
    >>> store = Store(":memory:")
    >>> handler = PRMCallbackHandler(store, "constant:value=0.5", outcome=lambda message: message.content == "Lima")
    >>> answer = FakeListChatModel(responses=["Lima"]).invoke("The capital of Peru?", {"callbacks": [handler]})
    >>> handler.flush()
    >>> [(t.task.text, t.steps[0].action.text, t.outcome) for t in store.trajectories()]
    [('The capital of Peru?', 'Lima', 1.0)]
    >>> [s.values for s in store.scores()]
    [(0.5,)]
    >>> store.close()
    """

    def __init__(
        self,
        store: _Sink | str | Path,
        scorer: Scorer | Spec | Mapping[str, Any] | str | Path | None = None,
        *,
        outcome: Callable[[Any], float | None] | None = None,
        task: str | Callable[[Any], str] | None = None,
        on_score: Callable[[Scores], None] | None = None,
        patience: float = 0.0,
    ) -> None:
        judge = None if scorer is None else _Judge(as_live_scorer(scorer))
        self._store: Any = Store(store) if isinstance(store, (str, Path)) else store
        super().__init__(self._store.write, task=task, outcome=outcome, judge=judge, tell=on_score, patience=patience)

    @property
    def store(self) -> Any:
        """Where it records."""
        return self._store

    def flush(self, timeout: float | None = None) -> None:
        """Return when every score on its way is there, or after so many seconds, and all that is known is stored.

        Raises StoreError when the database refuses.
        """
        self.wait(timeout)
        flush = getattr(self._store, "flush", None)
        if flush is not None:
            flush()

    def finish(self, *, close: bool = False) -> None:
        """Flush, and close the store if told so; what the database refuses is counted in `dropped`, not raised."""
        self._failures.attempt("record", self.flush)
        if close and (shut := getattr(self._store, "close", None)) is not None:
            self._failures.attempt("record", shut)

    def scores(self, run_id: UUID | str) -> list[Scores]:
        """Return the stored scores of a root run, one `Scores` per scorer; empty for a run that was not recorded.

        Raises StoreError where it does not record into a Store.
        """
        if not isinstance(self._store, Store):
            raise StoreError(
                f"scores are read from a Store, and it records into a {type(self._store).__name__}: give one"
            )
        self.flush()
        ids = [trajectory.id for trajectory in self._store.trajectories(external_id=str(run_id))]
        return list(self._store.scores(ids)) if ids else []


class _Judge:
    """Asks a scorer about the last step of what it may see, and keeps that one number."""

    def __init__(self, scorer: LiveScorer) -> None:
        self._scorer = scorer

    @property
    def sees(self) -> Literal["action", "result"]:
        return self._scorer.sees

    @property
    def spec(self) -> Spec:
        return self._scorer.spec

    def __call__(self, trajectory: Trajectory, /) -> Scores:
        (scores,) = self._scorer([trajectory])
        if len(scores) != len(trajectory):
            raise InvalidScores(f"{self._scorer.spec.name} gave {len(scores)} scores for {len(trajectory)} steps")
        latest = _last(scores, self.sees)
        require_in_range(latest.values[0], latest, latest.start)
        return latest


def _last(scores: Scores, sees: Literal["action", "result"]) -> Scores:
    """Return the score of the last step alone."""
    parts = {name: values[-1:] for name, values in scores.parts.items()}
    index = len(scores) - 1
    return Scores(
        scores.trajectory_id, scores.source, scores.unit, scores.values[-1:], index, parts, scores.notes[-1:], sees
    )
