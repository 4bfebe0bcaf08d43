"""A language model that says of every step how likely it is right: a classifier read where the step ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from agentprm.errors import InvalidSpec
from agentprm.ops.losses import class_cross_entropy
from agentprm.scorers._heads import linear
from agentprm.scorers._language import LanguageScorer, Said
from agentprm.scorers._lesson import Lesson
from agentprm.spec import register

# After our own modules, which name the missing extra.
from torch import Tensor, nn  # isort: skip

__all__ = ["Discriminative"]

_CLASSES = {2: ("wrong", "right"), 3: ("wrong", "neutral", "right")}
Meaning = Literal["correctness", "value"]


@register("discriminative")
@dataclass(frozen=True, eq=False)
class Discriminative(LanguageScorer):
    """The chance that each step is right, by a causal language model with a classifying head (Lightman et al. 2023).

    Two classes, wrong and right, or three, with neutral between them; it learns by cross entropy. A label is a number
    in [0, 1]: 0 is wrong, 1 is right, and of three classes ½ is neutral. A soft label lies between two classes and is
    shared by them: with two, 0.3 is 0.7 wrong and 0.3 right; with three, 0.3 is 0.4 wrong and 0.6 neutral. What it
    says is P(right) + `neutral` · P(neutral); each probability is a part of its scores.

    Labels have the unit that it has itself. `unit="value"` makes of it the value model of Math-Shepherd (Wang et al.
    2023), taught by Monte-Carlo labels. Everything else is as in `PromiseProgress`. Raises InvalidSpec for a number of
    classes other than 2 and 3, a `neutral` outside [0, 1] or another unit.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> model = Discriminative.tiny(train_tokenizer(["open the door"], vocab_size=280), classes=3, neutral=1.0)
    >>> scores = model([episode(("a door", "open it"))])[0]
    >>> round(scores.values[0], 3), sorted(scores.parts)
    (0.667, ['neutral', 'right', 'wrong'])
    """

    classes: int = 2
    neutral: float = 0.5
    """How much of P(neutral) counts as right: PRM800K counts all of it (1.0)."""
    unit: Meaning = "correctness"
    name: ClassVar[str] = "discriminative"

    def __post_init__(self) -> None:
        if self.classes not in _CLASSES or self.unit not in get_args(Meaning):
            raise InvalidSpec(f"classes={self.classes} is 2 or 3, unit={self.unit!r} is correctness or value")
        if not 0 <= self.neutral <= 1:
            raise InvalidSpec(f"neutral={self.neutral} lies in [0, 1]")
        super().__post_init__()

    def make_head(self) -> nn.Module:
        """Return a linear layer to one number per class; untrained, all classes are equally likely."""
        return linear(self.backbone, self.classes)

    def say(self, said: Tensor) -> Said:
        """Return P(right) + neutral · P(neutral) of each step, and the probability of each class."""
        chances = said.softmax(-1)
        worth = chances.new_tensor([0.0, 1.0] if self.classes == 2 else [0.0, self.neutral, 1.0])
        parts = dict(zip(_CLASSES[self.classes], chances.T.tolist(), strict=True))
        # A sum of float32 may lie beyond 1 by its last digit.
        return (chances @ worth).clamp(0, 1).tolist(), parts

    def teach(self, said: Tensor, lesson: Lesson) -> Tensor:
        """Return the mean cross entropy between the chances it gives and those that the labels say."""
        return class_cross_entropy(said, said.new_tensor(lesson.targets))
