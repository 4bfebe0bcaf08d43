"""A language model that orders the steps of an episode: right ones rise, wrong ones stand below all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from agentprm.errors import InvalidSpec
from agentprm.ops.losses import ranking_error
from agentprm.scorers._heads import linear
from agentprm.scorers._language import LanguageScorer, Said
from agentprm.scorers._lesson import Lesson
from agentprm.spec import register

# After our own modules, which name the missing extra.
import torch  # isort: skip
from torch import Tensor, nn  # isort: skip

__all__ = ["Ranking"]

Meaning = Literal["correctness", "value"]


@register("ranking")
@dataclass(frozen=True, eq=False)
class Ranking(LanguageScorer):
    """A number per step of which the order is learnt, not the height (Li and Li 2024, PQM).

    Labels of ½ and more are right, others wrong. Along an episode right steps should score ever higher, and above the
    start; wrong ones lower than all of these, by a margin `zeta`. What it says is the logistic of that number: good to
    compare steps, and no chance of anything; `agentprm.train.calibrate` can make it one. Everything else is as in
    `PromiseProgress`. Raises InvalidSpec for a negative margin or another unit.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> Ranking.tiny(train_tokenizer(["open the door"], vocab_size=280))([episode(("a door", "open it"))])[0].values
    (0.5,)
    """

    zeta: float = 4.0
    """The margin between right and wrong, in logits."""
    unit: Meaning = "correctness"
    name: ClassVar[str] = "ranking"

    def __post_init__(self) -> None:
        if not self.zeta >= 0 or self.unit not in get_args(Meaning):
            raise InvalidSpec(f"zeta={self.zeta} is 0 or more, unit={self.unit!r} is correctness or value")
        super().__post_init__()

    def make_head(self) -> nn.Module:
        """Return a linear layer to one number, zero at first."""
        return linear(self.backbone, 1)

    def say(self, said: Tensor) -> Said:
        """Return the logistic of each step's number; the start of an episode stands at ½."""
        return said.squeeze(-1).sigmoid().tolist(), {}

    def teach(self, said: Tensor, lesson: Lesson) -> Tensor:
        """Return the mean ranking error of the trajectories."""
        right = torch.tensor(lesson.targets, device=said.device) >= 0.5
        owners = torch.tensor(lesson.owners, device=said.device)
        each = [ranking_error(said[owners == i, 0], right[owners == i], self.zeta) for i in sorted(set(lesson.owners))]
        return torch.stack(each).mean()
