"""A language model that compares what might have been done in the same state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from agentprm.errors import InvalidSpec
from agentprm.ops.losses import preference_error, soft_cross_entropy
from agentprm.scorers._heads import linear
from agentprm.scorers._language import LanguageScorer, Said
from agentprm.scorers._lesson import Lesson
from agentprm.spec import register

# After our own modules, which name the missing extra.
import torch  # isort: skip
from torch import Tensor, nn  # isort: skip

__all__ = ["Pairwise"]

Meaning = Literal["correctness", "value"]


@register("pairwise")
@dataclass(frozen=True, eq=False)
class Pairwise(LanguageScorer):
    """The worth of each step, learnt by comparing actions in the same state (Bradley and Terry 1952).

    Two labelled steps of a batch are compared when everything read before their decisions is the same, as in forks of
    one episode, and their labels differ by at least `delta`: the better should score higher, by
    −log σ(x_better − x_worse), the relative loss of AgentPRM of Choudhury (2025). `absolute` weighs the cross entropy
    with the labels themselves, which fixes the height of the scores; 0 leaves order alone. A batch without such a pair
    teaches by the labels only. Put the forks of an episode into the same batch. Everything else is as in
    `PromiseProgress`. Raises InvalidSpec for weights below 0, a `delta` that is not above 0, or another unit.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> Pairwise.tiny(train_tokenizer(["open the door"], vocab_size=280))([episode(("a door", "open it"))])[0].values
    (0.5,)
    """

    delta: float = 0.03
    """By how much two labels differ at least, to be a pair."""
    absolute: float = 1.0
    """The weight of the labels themselves, beside that of comparisons, which is 1."""
    unit: Meaning = "value"
    name: ClassVar[str] = "pairwise"

    def __post_init__(self) -> None:
        if not (self.delta > 0 and self.absolute >= 0) or self.unit not in get_args(Meaning):
            raise InvalidSpec(
                f"delta={self.delta} is above 0, absolute={self.absolute} is 0 or more, unit={self.unit!r} is "
                "correctness or value"
            )
        super().__post_init__()

    def make_head(self) -> nn.Module:
        """Return a linear layer to one number, zero at first."""
        return linear(self.backbone, 1)

    def say(self, said: Tensor) -> Said:
        """Return the logistic of each step's number."""
        return said.squeeze(-1).sigmoid().tolist(), {}

    def teach(self, said: Tensor, lesson: Lesson) -> Tensor:
        """Return the mean over pairs of the preference error, and `absolute` times the cross entropy."""
        scores, targets = said.squeeze(-1), said.new_tensor(lesson.targets)
        better, worse = self._pairs(lesson)
        loss = preference_error(scores[better], scores[worse])
        return loss + self.absolute * soft_cross_entropy(scores, targets)

    def _pairs(self, lesson: Lesson) -> tuple[Tensor, Tensor]:
        """Return the places of the better and of the worse target of every pair."""
        in_state: dict[bytes, list[int]] = {}
        for place, state in enumerate(_states(lesson)):
            in_state.setdefault(state, []).append(place)
        gap = self.delta
        targets = lesson.targets
        pairs = [(i, j) for met in in_state.values() for i in met for j in met if targets[i] - targets[j] >= gap]
        found = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
        return found[:, 0], found[:, 1]


def _states(lesson: Lesson) -> list[bytes]:
    """Return, for each target, all that was read before the decision it is about."""
    befores = [window.ids[:begin].tobytes() for window in lesson.windows for begin in window.begins]
    return [befores[pick] for pick in lesson.picks]
