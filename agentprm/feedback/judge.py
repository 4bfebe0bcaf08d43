"""Asking a live scorer about the step just taken: once per step, in one call for all episodes that moved."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agentprm.errors import InvalidScores, MissingText
from agentprm.types import Ending, LiveScorer, Observation, Scores, Step, Trajectory

__all__ = ["Judge", "last_score", "require_in_range", "stepped"]

_log = logging.getLogger("agentprm.feedback")


class Judge:
    """A scorer whose failures are counted, logged once, and never reach the agent.

    >>> from agentprm.scorers.constant import Constant
    >>> from agentprm.testing.trajectories import episode
    >>> Judge(Constant(0.5))([episode(("a door", "open it"), ("a garden", "rest"))])[0].values
    (0.5,)
    """

    def __init__(self, scorer: LiveScorer) -> None:
        self.scorer = scorer
        self.failed = 0
        """How often it raised, or gave an answer that is none of the step."""

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores | None]:
        """Return the score of each trajectory's last step, in one call; None where the scorer failed.

        Raises MissingText: an environment without words is a mistake of whoever wired it, at every step.
        """
        if not trajectories:
            return []
        seen = [t.seen(len(t) - 1, self.scorer.sees) for t in trajectories]
        try:
            answers = list(zip(self.scorer(seen), seen, strict=True))
        except MissingText:
            raise
        except Exception as error:
            self._count(error)
            return [None] * len(seen)
        return [self._last(scores, trajectory) for scores, trajectory in answers]

    def _last(self, scores: Scores, trajectory: Trajectory) -> Scores | None:
        try:
            return last_score(scores, trajectory)
        except Exception as error:
            self._count(error)
            return None

    def _count(self, error: Exception) -> None:
        self.failed += 1
        if self.failed == 1:
            _log.warning("the scorer failed (further failures are only counted): %r", error)


def stepped(trajectory: Trajectory, step: Step, result: Observation, terminated: bool, truncated: bool) -> Trajectory:
    """Return a running trajectory one step on, with the flags that the world set."""
    now = trajectory.append(step, result)
    if not (terminated or truncated):
        return now
    return now.end(Ending("terminated" if terminated else "truncated", bool(terminated), bool(truncated)))


def last_score(scores: Scores, trajectory: Trajectory) -> Scores:
    """Return the score of the last step alone.

    Raises InvalidScores when these are not the scores of it, and for a value or a chance outside [0, 1].
    """
    index = len(trajectory) - 1
    if scores.trajectory_id != trajectory.id or not scores.start <= index < scores.start + len(scores):
        raise InvalidScores(
            f"{scores.source.name} was asked for step {index} of {trajectory.id}, and scored {len(scores)} steps "
            f"from {scores.start} on of {scores.trajectory_id}"
        )
    i = index - scores.start
    value = scores.values[i]
    require_in_range(value, scores, index)
    parts = {name: (series[i],) for name, series in scores.parts.items()}
    notes = scores.notes[i : i + 1]
    return Scores(trajectory.id, scores.source, scores.unit, (value,), index, parts, notes, scores.sees)


def require_in_range(value: float | None, scores: Scores, index: int) -> None:
    """Return if a score is one that its unit allows; raises InvalidScores for a value or a chance outside [0, 1]."""
    if value is not None and scores.unit != "reward" and not 0.0 <= value <= 1.0:
        raise InvalidScores(
            f"a {scores.unit} lies in [0, 1], and {scores.source.name} said {value} of step {index}: scale it, or say "
            "that its unit is reward"
        )
