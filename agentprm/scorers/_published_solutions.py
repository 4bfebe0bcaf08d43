"""A question and the steps of its solution, as a trajectory; and what any scorer says of it, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast, overload

from agentprm.errors import InvalidTrajectory
from agentprm.ops.aggregate import minimum
from agentprm.spec import make
from agentprm.types import Action, Observation, Scorer, Scores, Spec, Step, Task, Trajectory, new_id

__all__ = ["Judged", "score_reasoning_steps", "solution"]

Judged: TypeAlias = tuple[tuple[float | None, ...], float | None]
"""The score of each step, and the least of them; None where a step has none."""


def solution(question: str, steps: Sequence[str]) -> Trajectory:
    """Return a question and the steps of its solution as a trajectory, to be stored, scored and compared.

    Raises InvalidTrajectory for no steps, or steps that are no texts.

    >>> solution("What is 1 + 1?", ["One and one is two.", "So 2."]).steps[1].action.text
    'So 2.'
    """
    listed = isinstance(steps, Sequence) and not isinstance(steps, str)
    if not listed or not steps or not all(isinstance(text, str) for text in (question, *steps)):
        raise InvalidTrajectory(f"a solution is a question and a list of texts, one at least, not {steps!r:.80}")
    seen = (Observation(question), *[Observation()] * (len(steps) - 1))
    return Trajectory(new_id(), Task(question), tuple(map(Step, seen, map(Action, steps))), Observation())


ScorerForm: TypeAlias = Scorer | Spec | Mapping[str, Any] | str | Path


Steps: TypeAlias = list[str] | tuple[str, ...]


@overload
def score_reasoning_steps(prm: ScorerForm, question: str, steps: Steps) -> Judged: ...
@overload
def score_reasoning_steps(prm: ScorerForm, question: str | Sequence[str], steps: Sequence[Steps]) -> list[Judged]: ...
def score_reasoning_steps(
    prm: ScorerForm, question: str | Sequence[str], steps: Steps | Sequence[Steps]
) -> Judged | list[Judged]:
    """Return the score of each step of a solution, and the least of them (Wang et al. 2023); of many, a list of these.

    Many are a list of solutions, of one question or of as many. A step that the model cannot read is None, and then
    so is the least; ``prm([solution(question, steps)])[0].notes`` says why. Raises InvalidTrajectory for no steps.

    >>> from agentprm.scorers.constant import Constant
    >>> score_reasoning_steps(Constant(0.5), "What is 1 + 1?", ["One and one is two.", "So 2."])
    ((0.5, 0.5), 0.5)
    """
    if isinstance(steps, str) or not isinstance(question, str) or not all(isinstance(step, str) for step in steps):
        many = cast(Sequence[Steps], steps)
        asked = [question] * len(many) if isinstance(question, str) else list(question)
        if len(asked) != len(many):
            raise InvalidTrajectory(f"{len(asked)} questions for {len(many)} solutions: give one, or one each")
        return [_judged(scores) for scores in make(prm)([*map(solution, asked, many)])]
    return _judged(make(prm)([solution(question, cast(Steps, steps))])[0])


def _judged(scores: Scores) -> Judged:
    return scores.values, None if None in scores.values else minimum(scores.values)
