"""The first wrong step of an episode, where several judges agree which it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from agentprm.errors import InvalidSpec, UnitError
from agentprm.spec import make, register
from agentprm.types import Scorer, Scores, Spec, Trajectory

__all__ = ["Consensus"]

_THRESHOLDS = {"value": 0.0, "correctness": 0.5}
"""What a step must score above to be right: some completion succeeded; it is likelier right than wrong."""


@register("consensus")
@dataclass(frozen=True)
class Consensus:
    """Labels steps right up to the first wrong one, which is wrong, in episodes where all judges find the same one.

    The consensus filter of Zhang et al. (2025, Qwen2.5-Math-PRM): Monte-Carlo labels and a model's verdicts err in
    different ways, and where they agree there is less to unlearn. A judge is any label method or scorer of values or
    correctness; a step is wrong to it where its score is no more than its threshold. All other episodes have no labels,
    nor have steps behind a first wrong one, nor those where a judge had no opinion before it found any.

    Raises InvalidSpec for fewer than two judges, or for other than one threshold in [0, 1) each; UnitError for judges
    that give rewards.

    >>> from agentprm.testing.trajectories import episode
    >>> lost = episode(("a door", "knock"), ("a door", "wait"), outcome=0.0)
    >>> both = Consensus(("outcome", "constant:value=0.25"), thresholds=(0.0, 0.5))
    >>> both([lost])[0].values, Consensus(("outcome", "constant:value=0.25"))([lost])[0].values
    ((0.0, None), (None, None))
    """

    judges: Sequence[Any]
    """Scorers, or their plain forms."""
    thresholds: Sequence[float] | None = None
    """One for each judge; by default 0 for values (no completion succeeded) and ½ for correctness."""
    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["correctness"]] = "correctness"

    def __post_init__(self) -> None:
        object.__setattr__(self, "judges", tuple(map(make, self.judges)))
        if len(self.judges) < 2:
            raise InvalidSpec(f"{len(self.judges)} judges agree with themselves: give two or more")
        for judge in self.judges:
            if judge.unit not in _THRESHOLDS:
                raise UnitError(f"a judge gives values or correctness, and {judge.spec.name} gives a {judge.unit}")
        given = self.thresholds
        chosen = [_THRESHOLDS[judge.unit] for judge in self.judges] if given is None else list(given)
        if len(chosen) != len(self.judges) or not all(0 <= threshold < 1 for threshold in chosen):
            raise InvalidSpec(f"thresholds={chosen} for {len(self.judges)} judges: give one each, in [0, 1)")
        object.__setattr__(self, "thresholds", tuple(map(float, chosen)))

    @property
    def spec(self) -> Spec:
        """The recipe; remade as far as its judges can be."""
        judges = [judge.spec for judge in self._judges]
        return Spec("consensus", {"judges": judges, "thresholds": list(self.thresholds or ())})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the labels of each trajectory; every judge is asked once."""
        asked = [judge(trajectories) for judge in self._judges]
        spec, said = self.spec, zip(*asked, strict=True)
        return [
            Scores(t.id, spec, self.unit, self._labels(len(t), one), sees=self.sees)
            for t, one in zip(trajectories, said, strict=True)
        ]

    @property
    def _judges(self) -> Sequence[Scorer]:
        return self.judges

    def _labels(self, n: int, said: Sequence[Scores]) -> tuple[float | None, ...]:
        found = {
            _first_wrong(n, scores, threshold) for scores, threshold in zip(said, self.thresholds or (), strict=True)
        }
        if len(found) > 1 or None in found:
            return (None,) * n
        wrong = found.pop() or 0
        return ((1.0,) * wrong + (0.0,) + (None,) * n)[:n]


def _first_wrong(n: int, scores: Scores, threshold: float) -> int | None:
    """Return the first step that is no better than the threshold, n for none, None where no opinion came before."""
    values = (None,) * scores.start + scores.values + (None,) * (n - scores.start - len(scores))
    for t, value in enumerate(values):
        if value is None:
            return None
        if value <= threshold:
            return t
    return n
