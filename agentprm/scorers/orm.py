"""An outcome reward model: a language model taught by how episodes ended, at their last steps alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from agentprm.ops.losses import soft_cross_entropy
from agentprm.scorers._heads import linear
from agentprm.scorers._labels import Labels
from agentprm.scorers._language import LanguageScorer, Said
from agentprm.scorers._lesson import Lesson
from agentprm.spec import register
from agentprm.types import Scores, Trajectory

# After our own modules, which name the missing extra.
from torch import Tensor, nn  # isort: skip

__all__ = ["ORM"]


@register("orm")
@dataclass(frozen=True, eq=False)
class ORM(LanguageScorer):
    """The chance of success, learnt at the last step of each episode only (Cobbe et al. 2021).

    The baseline that a process reward model must beat. It may be asked at every step, but was never taught what an
    unfinished episode is worth. Of labels only those of last steps are used; any label method that gives values will
    do. Everything else is as in `PromiseProgress`.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> ORM.tiny(train_tokenizer(["open the door"], vocab_size=280))([episode(("a door", "open it"))])[0].values
    (0.5,)
    """

    name: ClassVar[str] = "orm"
    unit: ClassVar[Literal["value"]] = "value"

    def make_head(self) -> nn.Module:
        """Return a linear layer to one number, zero at first."""
        return linear(self.backbone, 1)

    def say(self, said: Tensor) -> Said:
        """Return the chance of success, as it looks after each step."""
        return said.squeeze(-1).sigmoid().tolist(), {}

    def labels(self, trajectory: Trajectory, scores: Scores) -> Labels:
        """Return the label of the last step, and None for every other."""
        labels = super().labels(trajectory, scores)
        labels[:-1] = [None] * len(labels[:-1])
        return labels

    def teach(self, said: Tensor, lesson: Lesson) -> Tensor:
        """Return the mean cross entropy with the outcomes, which may lie between 0 and 1."""
        return soft_cross_entropy(said.squeeze(-1), said.new_tensor(lesson.targets))
