"""A language model that says how likely its next token would be ``+`` rather than ``-``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from agentprm.errors import InvalidSpec
from agentprm.ops.losses import class_cross_entropy
from agentprm.scorers._heads import linear
from agentprm.scorers._identity import assert_train_serve_identity
from agentprm.scorers._language import LanguageScorer, Said
from agentprm.scorers._lesson import Lesson
from agentprm.scorers._outputs import as_embedded, pretrained_with_output
from agentprm.scorers._tokenizers import tokenizer_of
from agentprm.spec import register
from agentprm.text.tokens import Encoder, backend_of

# After our own modules, which name the missing extra.
import torch  # isort: skip
from torch import Tensor, nn  # isort: skip

__all__ = ["RewardToken"]

Meaning = Literal["correctness", "value"]


@register("reward_token")
@dataclass(frozen=True, eq=False)
class RewardToken(LanguageScorer):
    """The chance of one token against another where a step ends: Math-Shepherd's form (Wang et al. 2023).

    The head begins as two rows of the model's own output layer, those of `good` and `bad`, so that what it learnt of
    these tokens as a language model counts: the score is softmax over the two logits. It learns by cross entropy, and
    a label between 0 and 1 is shared by both. Both are looked up in the tokenizer, and must be one token each.
    Everything else is as in `PromiseProgress`. Raises InvalidSpec for a token that is none, or is both.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> model = RewardToken.tiny(train_tokenizer(["open the door"], vocab_size=280))
    >>> 0 < model([episode(("a door", "open it"))])[0].values[0] < 1
    True
    """

    good: str = "+"
    bad: str = "-"
    unit: Meaning = "value"
    """Of Monte-Carlo labels *value*, of human ones *correctness*."""
    name: ClassVar[str] = "reward_token"

    def __post_init__(self) -> None:
        if self.unit not in get_args(Meaning):
            raise InvalidSpec(f"unit={self.unit!r} is correctness or value")
        super().__post_init__()

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, tokenizer: Any = None, *, dtype: str = "float32", **options: Any
    ) -> Self:
        """Return a model around a pretrained language model, with its own rows of both tokens as the head."""
        where = str(path_or_name)
        backbone, rows = pretrained_with_output(where, dtype)
        model = cls(backbone, tokenizer_of(where, tokenizer), **options)
        with torch.no_grad():
            model.reader.head.load_state_dict({"weight": rows[model._token_ids()], "bias": torch.zeros(2)})
        assert_train_serve_identity(model)
        return model

    def make_head(self) -> nn.Module:
        """Return two rows of the output layer, *bad* and *good*; as embeddings, where both are the same."""
        head = linear(self.backbone, 2)
        with torch.no_grad():
            head.weight.copy_(as_embedded(self.backbone).weight[self._token_ids()])
        return head

    def say(self, said: Tensor) -> Said:
        """Return the chance of `good`."""
        return said.softmax(-1)[:, 1].tolist(), {}

    def teach(self, said: Tensor, lesson: Lesson) -> Tensor:
        """Return the mean cross entropy over the two tokens."""
        return class_cross_entropy(said, said.new_tensor(lesson.targets))

    def _token_ids(self) -> list[int]:
        """Return the ids of *bad* and *good*; raises InvalidSpec where one is no single token."""
        found = [self._token_id(self.bad), self._token_id(self.good)]
        if found[0] == found[1]:
            raise InvalidSpec(f"good={self.good!r} and bad={self.bad!r} are the same token")
        return found

    def _token_id(self, text: str) -> int:
        given = self.tokenizer
        known = backend_of(given.json) if isinstance(given, Encoder) else getattr(given, "backend_tokenizer", given)
        ids = known.encode(text, add_special_tokens=False).ids
        # SentencePiece writes a lone "+" as "▁+": what the checkpoint was trained on is the last piece.
        if not ids or (len(ids) > 1 and known.id_to_token(ids[0]) not in ("▁", "Ġ")):
            raise InvalidSpec(f"{text!r} is {len(ids)} tokens here, and a reward token is one: choose another")
        return int(ids[-1])
