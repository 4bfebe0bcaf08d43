"""AgentPRM: a language model that says after every step what outcome to expect, taught promise and progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from agentprm.errors import InvalidSpec
from agentprm.ops.losses import progress_error, squared_error
from agentprm.scorers._heads import linear
from agentprm.scorers._identity import assert_train_serve_identity
from agentprm.scorers._language import LanguageScorer, Said
from agentprm.scorers._lesson import Lesson
from agentprm.spec import register

# After our own modules, which name the missing extra.
import torch  # isort: skip
from torch import Tensor, nn  # isort: skip

__all__ = ["PromiseProgress", "assert_train_serve_identity"]


@register("promise_progress")
@dataclass(frozen=True, eq=False)
class PromiseProgress(LanguageScorer):
    """The outcome to expect after each step, by a causal language model with one scalar head (Xi et al. 2025).

    It reads a trajectory once and says M_t, in [0, 1], at the token where step t ends. It learns *promise*,
    L_Q = mean ½ (M_t − Q_t)² (eq. 4), and *progress*, L_A = mean ((M_t − M_{t−1}) − (Q_t − Q_{t−1}))² (eq. 9), as
    L_Q + β L_A (eq. 10). Progress is a difference of two outputs, not a head of its own; a first step has none, nor has
    one beside a step without a label.

    A step that cannot be read (an empty action, a picture, a turn longer than the context) has no score, and a note
    that says why; so does, with its score, a step whose earlier turns had to be left out. Numbers in float32 are those
    of one trajectory at a time to 1e-5, whatever the company, and whatever was read before.

    The backbone is taken over: it gets embeddings for the template's markers, and dropout is off. Raises InvalidSpec
    for an unknown sight, a context that is not positive or not known, or a tokenizer without a tokenizer.json.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> model = PromiseProgress.tiny(train_tokenizer(["open the door"], vocab_size=280))
    >>> model([episode(("a door", "open it"), ("a wall", ""))])[0].values
    (0.5, None)
    """

    beta: float = 1.0
    """The weight of progress."""
    name: ClassVar[str] = "promise_progress"
    unit: ClassVar[Literal["value"]] = "value"

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise InvalidSpec(f"beta={self.beta} is 0 or more")
        super().__post_init__()

    def make_head(self) -> nn.Module:
        """Return a linear layer to one number; it begins at zero: untrained, every value is 0.5."""
        return linear(self.backbone, 1)

    def say(self, said: Tensor) -> Said:
        """Return the value of each step."""
        return said.squeeze(-1).sigmoid().tolist(), {}

    def teach(self, said: Tensor, lesson: Lesson) -> Tensor:
        """Return L_Q + β L_A; L_A is the mean over neighbouring steps that both have a label."""
        values = said.squeeze(-1).sigmoid()
        targets = values.new_tensor(lesson.targets)
        follows = torch.tensor(lesson.follows, device=values.device)
        return squared_error(values, targets) + self.beta * progress_error(values, targets, follows)
