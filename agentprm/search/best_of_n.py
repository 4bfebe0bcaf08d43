"""The best of several: of candidate actions before one is taken, of whole episodes afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentprm.errors import InvalidScores, InvalidTrajectory
from agentprm.ops.aggregate import default_aggregate
from agentprm.spec import as_action_scorer, make
from agentprm.types import Action, ActionScorer, Aggregate, Policy, Propose, Scorer, Spec, Step, Trajectory, Value

__all__ = ["Reranked", "best_action", "best_of_n"]

ScorerForm = Scorer | Spec | Mapping[str, Any] | str | Path


def best_action(
    propose: Propose, scorer: ScorerForm, trajectory: Trajectory, info: Mapping[str, Value], n: int
) -> Action:
    """Return the candidate that scores best as the next action, of `n` proposed (Choudhury 2025, turn-level best-of-N).

    Equal candidates are scored once; among equal scores the one proposed more often wins, then the one proposed first.
    One without a score comes last. No environment is touched. Raises SightError for a scorer that needs to see what an
    action leads to, InvalidTrajectory when nothing was proposed.

    >>> from agentprm.scorers.constant import Constant
    >>> from agentprm.testing.trajectories import episode
    >>> offered = [Action("wait"), Action("go"), Action("go")]
    >>> best_action(lambda trajectory, info, n: offered[:n], Constant(), episode(status=None), {}, 3).text
    'go'
    """
    judge = as_action_scorer(scorer)
    candidates = list(propose(trajectory, info, n))
    if not candidates:
        raise InvalidTrajectory("no candidate was proposed: there is nothing to choose from")
    kinds, counts = _distinct(candidates)
    if len(kinds) == 1:
        return kinds[0]
    scores = _scores(judge, trajectory, kinds)
    return kinds[max(range(len(kinds)), key=lambda i: (_rank(scores[i]), counts[i], -i))]


class Reranked:
    """A policy that takes the best of `n` candidates at every step.

    The candidates are what `propose` offers, its method ``propose`` if it has one; of a plain policy, `n` calls.
    Raises SightError for a scorer that needs to see what an action leads to.

    >>> from agentprm.record.policies import RandomPolicy
    >>> from agentprm.scorers.constant import Constant
    >>> from agentprm.testing.trajectories import episode
    >>> Reranked(RandomPolicy(), Constant(), n=4)(episode(status=None), {"actions": ["wait"]})
    'wait'
    """

    def __init__(self, policy: Policy, scorer: ScorerForm, n: int) -> None:
        if n < 1:
            raise InvalidTrajectory(f"the best of {n} candidates: there must be one at least")
        self.policy, self.scorer, self.n = policy, as_action_scorer(scorer), n
        self._propose: Propose = getattr(policy, "propose", None) or _repeated(policy)

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], /) -> Value:
        """Return the best candidate, as the environment takes it."""
        action = best_action(self._propose, self.scorer, trajectory, info, self.n)
        return action.text if action.native is None else action.native


def best_of_n(trajectories: Sequence[Trajectory], scorer: ScorerForm, aggregate: Aggregate | None = None) -> Trajectory:
    """Return the episode that scores best, the earliest of equals; those without any score come last.

    `aggregate` makes one number of the scores of an episode's steps; by default what fits the scorer's unit: the last
    of values, the product of correctness, the sum of rewards. Raises InvalidTrajectory for no episodes.

    >>> from agentprm.labels.outcome import Outcome
    >>> from agentprm.testing.trajectories import episode
    >>> played = [episode(("a door", "knock"), outcome=0.0), episode(("a door", "open it"), outcome=1.0)]
    >>> best_of_n(played, Outcome()).steps[0].action.text
    'open it'
    """
    if not trajectories:
        raise InvalidTrajectory("the best of no episodes: give at least one")
    judge = make(scorer)
    total = aggregate or default_aggregate(judge.unit)
    totals = [total(scores.values) for scores in judge(trajectories)]
    return trajectories[max(range(len(totals)), key=lambda i: (_rank(totals[i]), -i))]


def _scores(judge: ActionScorer, trajectory: Trajectory, candidates: Sequence[Action]) -> list[float | None]:
    """Return the score of each candidate as the next step; all are scored in one call."""
    taken = [trajectory.append(Step(trajectory.last, action), trajectory.last) for action in candidates]
    index = len(trajectory)
    scored = judge([one.seen(index, "action") for one in taken])
    values = [scores.values[index - scores.start] if _covers(scores, index) else None for scores in scored]
    if len(values) != len(candidates):
        raise InvalidScores(f"{judge.spec.name} gave {len(values)} scores for {len(candidates)} trajectories")
    return values


def _covers(scores: Any, index: int) -> bool:
    return bool(scores.start <= index < scores.start + len(scores))


def _rank(score: float | None) -> float:
    return float("-inf") if score is None else score


def _distinct(candidates: Sequence[Action]) -> tuple[list[Action], list[int]]:
    kinds: list[Action] = []
    counts: list[int] = []
    for candidate in candidates:
        if candidate in kinds:
            counts[kinds.index(candidate)] += 1
        else:
            kinds.append(candidate)
            counts.append(1)
    return kinds, counts


def _repeated(policy: Policy) -> Callable[[Trajectory, Mapping[str, Value], int], list[Action]]:
    def propose(trajectory: Trajectory, info: Mapping[str, Value], n: int, /) -> list[Action]:
        natives = [policy(trajectory, info) for _ in range(n)]
        return [Action(native if type(native) is str else "", native=native) for native in natives]

    return propose
