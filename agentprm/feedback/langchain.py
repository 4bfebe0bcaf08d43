"""The callback that records LangChain agents and scores their turns while they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from agentprm.errors import InvalidScores
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
    `store` is a Store, its URL, or whatever has ``write(event)``. A `scorer` that sees the action speaks before the
    tools of a turn run, one that sees the result when the last of them has ended; `on_score` is told each score.
    `task` is the task's text or a function of the inputs, `outcome` a function of the final outputs to [0, 1] or None.

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
    ) -> None:
        judge = None if scorer is None else _Judge(as_live_scorer(scorer), self._tell)
        self._store: _Sink = Store(store) if isinstance(store, (str, Path)) else store
        self._on_score = on_score
        super().__init__(self._store.write, task=task, outcome=outcome, judge=judge)

    @property
    def store(self) -> Any:
        """Where it records."""
        return self._store

    def flush(self) -> None:
        """Return when everything recorded so far is in the store."""
        flush = getattr(self._store, "flush", None)
        if flush is not None:
            flush()

    def _tell(self, scores: Scores) -> None:
        if self._on_score is not None:
            self._failures.attempt("on_score", self._on_score, scores)


class _Judge:
    """Asks a scorer about the last step of what it may see, and keeps that one number."""

    def __init__(self, scorer: LiveScorer, tell: Callable[[Scores], None]) -> None:
        self._scorer, self._tell = scorer, tell

    @property
    def sees(self) -> Literal["action", "result"]:
        return self._scorer.sees

    def __call__(self, trajectory: Trajectory, /) -> Scores:
        (scores,) = self._scorer([trajectory])
        if len(scores) != len(trajectory):
            raise InvalidScores(f"{self._scorer.spec.name} gave {len(scores)} scores for {len(trajectory)} steps")
        latest = _last(scores, self.sees)
        self._tell(latest)
        return latest


def _last(scores: Scores, sees: Literal["action", "result"]) -> Scores:
    """Return the score of the last step alone."""
    parts = {name: values[-1:] for name, values in scores.parts.items()}
    index = len(scores) - 1
    return Scores(
        scores.trajectory_id, scores.source, scores.unit, scores.values[-1:], index, parts, scores.notes[-1:], sees
    )
