"""The step that sank an episode, found by halving: rollouts for a few of its steps instead of for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from agentprm.errors import InvalidSpec
from agentprm.labels._rollouts import Estimate, estimate, named, required
from agentprm.spec import register
from agentprm.types import Continue, Scores, Spec, Trajectory

__all__ = ["Omega"]

Mode = Literal["soft", "hard"]


@register("omega")
@dataclass(frozen=True)
class Omega:
    """Labels failed episodes by searching, in log₂ T probes, the first step after which no completion succeeds.

    The binary search of OmegaPRM (Luo et al. 2024), on recorded episodes: each probe plays on `rollouts` times from
    after the middle of what is left; where any completion succeeds the error comes later, else there or before.
    *soft* gives the probed steps their mean outcome, and the last step its own. *hard* labels all steps: 1 before the
    error, for whoever can still succeed later could before; 0 from it on. A successful episode needs no rollouts: it is
    evidence itself, and *hard* gives it 1 everywhere. Parts ``rollouts`` and ``env_steps`` say what each probe cost.

    An episode without an outcome has no labels; where the completions of a probe have none, the search ends, and steps
    that it left open have none. Raises InvalidSpec for fewer than one rollout, an unknown mode, `above` outside [0, 1).

    >>> from agentprm.testing.trajectories import episode
    >>> def play_on(trajectory, t, n):
    ...     return [episode(*[("a", "b")] * (t + 2), outcome=1.0 if t < 2 else 0.0)] * n
    >>> lost = episode(*[("a", "b")] * 5, outcome=0.0)
    >>> Omega(play_on)([lost])[0].values, Omega(play_on, mode="hard")([lost])[0].values
    ((None, 1.0, 0.0, None, 0.0), (1.0, 1.0, 0.0, 0.0, 0.0))
    """

    continue_: Continue
    """Plays on from the middle of an episode, for example `agentprm.record.replay.Replay`."""
    rollouts: int = 8
    mode: Mode = "soft"
    above: float = 0.0
    """An outcome above this is a success."""
    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["value"]] = "value"

    def __post_init__(self) -> None:
        required(self.continue_, self.rollouts)
        if self.mode not in get_args(Mode):
            raise InvalidSpec(f"a mode is one of {get_args(Mode)}, not {self.mode!r}")
        if not 0 <= self.above < 1:
            raise InvalidSpec(f"above={self.above}: outcomes lie in [0, 1], and something must count as a success")

    @property
    def spec(self) -> Spec:
        """The recipe; remaking it needs `continue_` anew, unless that has a spec of its own."""
        params = {"rollouts": self.rollouts, "mode": self.mode, "above": self.above}
        return Spec("omega", {"continue_": named(self.continue_), **params})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the labels of each trajectory."""
        return [self._label(trajectory) for trajectory in trajectories]

    def _label(self, trajectory: Trajectory) -> Scores:
        found, steps = self._search(trajectory), range(len(trajectory))
        probes = [found.probes.get(t) for t in steps]
        parts = {
            "rollouts": tuple(None if probe is None else len(probe.outcomes) for probe in probes),
            "env_steps": tuple(None if probe is None else probe.env_steps for probe in probes),
        }
        values = found.hard(len(steps)) if self.mode == "hard" else found.soft(len(steps), trajectory.outcome)
        return Scores(trajectory.id, self.spec, self.unit, values, parts=parts, sees=self.sees)

    def _search(self, trajectory: Trajectory) -> _Search:
        n, outcome = len(trajectory), trajectory.outcome
        if outcome is None:
            return _Search(0, n)
        if outcome > self.above:
            return _Search(n, n)
        search = _Search(0, n - 1)
        while search.right < search.wrong:
            middle = (search.right + search.wrong) // 2
            probe = search.probes[middle] = estimate(self.continue_, trajectory, middle, self.rollouts)
            if not probe.outcomes:
                break
            if max(probe.outcomes) > self.above:
                search.right = middle + 1
            else:
                search.wrong = middle
        return search


@dataclass
class _Search:
    """What is known: the first `right` steps are, those from `wrong` on are not."""

    right: int
    wrong: int
    probes: dict[int, Estimate] = field(default_factory=dict)

    def hard(self, n: int) -> tuple[float | None, ...]:
        return tuple(1.0 if t < self.right else 0.0 if t >= self.wrong else None for t in range(n))

    def soft(self, n: int, outcome: float | None) -> tuple[float | None, ...]:
        means = {t: probe.mean for t, probe in self.probes.items()} | {n - 1: outcome}
        return tuple(means.get(t) for t in range(n))
