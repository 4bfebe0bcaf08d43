"""What every language model that scores steps has: a backbone, a tokenizer, windows, weights that change, a folder.

A kind is a subclass that says which head is read where a step ends, what its numbers mean, and what is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from agentprm.errors import MissingExtra, TrainingError
from agentprm.scorers import _adapters as adapters
from agentprm.scorers import _checkpoint as checkpoint
from agentprm.scorers._answers import Said, answers
from agentprm.scorers._backbones import make_room, own_chance, positions, pretrained, tiny_llama
from agentprm.scorers._identity import assert_train_serve_identity
from agentprm.scorers._labels import Labels, readable, unit_labels
from agentprm.scorers._learnt import Learnt
from agentprm.scorers._lesson import Lesson
from agentprm.scorers._reader import Reader
from agentprm.scorers._settings import Train, Unreadable, check
from agentprm.scorers._tokenizers import tokenizer_of
from agentprm.text.chat import Chat, encoder_of
from agentprm.text.render import PLAIN, LiveSight, Template
from agentprm.text.tokens import Encoder
from agentprm.text.windows import Keep, Window, read, remarks
from agentprm.types import Scores, Spec, Trajectory

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import Parameter
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["LanguageScorer", "Said"]


@dataclass(frozen=True, eq=False)
class LanguageScorer:
    """A causal language model with a head at the token where each step ends.

    A subclass is a frozen dataclass of the same kind with `name`, `unit` and the four methods `make_head`, `say`,
    `teach` and, if need be, `labels`; its own fields are part of its spec.

    The backbone is taken over: it gets embeddings for the template's markers, dropout is off, and it attends to packed
    texts if it can. Raises InvalidSpec for an unknown sight, a context that is not positive or not known, or a
    tokenizer without a tokenizer.json.
    """

    backbone: Any = field(repr=False)
    """A model of transformers without an output layer, as AutoModel loads it."""
    tokenizer: Any = field(repr=False)
    """A fast tokenizer of transformers, one of tokenizers, or an `Encoder`."""
    sees: LiveSight = "action"
    """Where a step is judged: at the end of its action, or of the observation that follows."""
    context: int | None = None
    """How many tokens it reads at once; by default as many as the backbone has positions."""
    keep: Keep = "left"
    """What it keeps of an episode that is longer: the latest turns, or (*middle*) the first ones, too."""
    template: Template | Chat | Literal["chat"] = PLAIN
    """How a trajectory is worded: by markers, or (*chat*) by the tokenizer's own chat template."""
    unreadable: Unreadable = "raise"
    """What a label on a step that cannot be read does to training: TrainingError, or it is left out, and counted."""
    train: Train = "all"
    """What learns: all weights, the head alone, or the head and low-rank adapters (Hu et al. 2021) of every layer."""
    rank: int = 8
    """Of the adapters."""
    checkpointing: bool = False
    """Whether training computes each layer twice instead of remembering what it made."""
    half: bool = False
    """Whether it multiplies in bfloat16; weights stay as they are. Numbers then agree to two digits, not to 1e-5."""
    memory: int = 256 * 2**20
    """How many bytes may hold what was computed of running episodes; 0 computes everything anew at every call."""
    seed: int = 0
    """Of the embeddings of new markers, the head and the adapters."""
    name: ClassVar[str]
    _learnt: Learnt = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check(self)
        encoder = encoder_of(self.tokenizer, self.template)
        context = positions(self.backbone, self.context)
        make_room(self.backbone, encoder, self.seed)
        with own_chance(self.seed):
            reader = Reader(self.backbone, self.make_head(), self.memory, in_half=self.half)
            adapters.choose(reader.backbone, self.train, self.rank)
        if self.checkpointing:
            adapters.checkpoint(reader.backbone)
        learnt = Learnt(self.name, reader, encoder)
        for name, value in (("context", context), ("template", encoder.template), ("_learnt", learnt)):
            object.__setattr__(self, name, value)

    @property
    def unit(self) -> Any:
        """What its numbers mean: a class variable or field of the subclass."""
        raise NotImplementedError

    def make_head(self) -> nn.Module:
        """Return a module from states of shape (steps, width), float32, to what is said: (steps, …)."""
        raise NotImplementedError

    def say(self, said: Tensor) -> Said:
        """Return the number of each step from what the head said, and further series by name."""
        raise NotImplementedError

    def teach(self, said: Tensor, lesson: Lesson) -> Tensor:
        """Return the loss: `said` are the head's outputs for the labelled steps of a batch, in order."""
        raise NotImplementedError

    def labels(self, trajectory: Trajectory, scores: Scores) -> Labels:
        """Return the label of each step, None where there is none; by default numbers in [0, 1] of its own unit."""
        return unit_labels(trajectory, scores, self.name, self.unit)

    @classmethod
    def tiny(
        cls,
        tokenizer: Any,
        *,
        hidden: int = 64,
        layers: int = 2,
        heads: int = 4,
        context: int = 2048,
        seed: int = 0,
        **options: Any,
    ) -> Self:
        """Return a small Llama with random weights, the same for the same seed; `options` are this class's fields."""
        encoder = encoder_of(tokenizer, options.pop("template", PLAIN))
        backbone = tiny_llama(encoder.size, hidden=hidden, layers=layers, heads=heads, context=context, seed=seed)
        return cls(backbone, encoder, seed=seed, **options)

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, tokenizer: Any = None, *, dtype: str = "float32", **options: Any
    ) -> Self:
        """Return a model around a pretrained causal language model, with a head that knows nothing yet.

        Safetensors only; code that comes with a model is never run. `options` are this class's fields. Raises
        SightError for a backbone that reads backwards too, such as BERT, InvalidSpec for what is no causal language
        model or lacks weights of one, TokenMismatch for a tokenizer that numbers tokens otherwise than its own.
        """
        where = str(path_or_name)
        backbone = pretrained(where, dtype)
        model = cls(backbone, tokenizer_of(where, tokenizer), **options)
        assert_train_serve_identity(model)
        return model

    @property
    def spec(self) -> Spec:
        """The recipe: what names weights, template and tokenizer, and the folder once it was saved."""
        return self._learnt.spec(self._config, self.reader.version())

    @property
    def reader(self) -> Reader:
        """Backbone and head, as a torch module."""
        return self._learnt.reader

    @property
    def encoder(self) -> Encoder:
        """Tokenizer and template."""
        return self._learnt.encoder

    @property
    def skipped(self) -> int:
        """How many labels `unreadable="skip"` left out so far, counted anew at every pass."""
        return self._learnt.skipped

    @property
    def encoded_tokens(self) -> int:
        """How many tokens went through the backbone to score, since the model was made."""
        return self.reader.cache.encoded_tokens

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the number of each step; None, with a note, where it cannot be read.

        Of an episode that goes on from one that was scored lately, only the new tokens are computed, up to `memory`;
        so it is for actions that are alternatives of one another.
        """
        found = [self.read(trajectory) for trajectory in trajectories]
        version = self.reader.version()
        said = self.say(self.reader.recall([window for pieces, _ in found for window in pieces], version))
        spec = self._learnt.spec(self._config, version)
        answered = zip(trajectories, found, answers(found, *said), strict=True)
        return [
            Scores(trajectory.id, spec, self.unit, values, 0, parts, remarks(*one), self.sees)
            for trajectory, one, (values, parts) in answered
        ]

    def read(self, trajectory: Trajectory) -> tuple[list[Window], list[str | None]]:
        """Return the windows that it reads of a trajectory, and for each step why it cannot be read, or None.

        The one way from a trajectory to tokens, in training as in serving.
        """
        return read(trajectory, self.encoder, self.sees, cast(int, self.context), self.keep)

    def loss(self, batch: Sequence[tuple[Trajectory, Scores]], /) -> Tensor:
        """Return the loss over the labelled steps of a batch: a scalar, in float32. A label of None teaches nothing.

        Trajectories that begin alike are read as a tree. Raises TrainingError for a label on a step that cannot be read
        (unless `unreadable="skip"`), for labels out of range or none at all, UnitError for labels of another unit,
        InvalidScores for labels of another trajectory.
        """
        lesson, skipped = Lesson(), self.skipped
        for trajectory, scores in batch:
            windows, notes = self.read(trajectory)
            labels = self.labels(trajectory, scores)
            lost = readable(trajectory, labels, notes, skip=self.unreadable == "skip")
            self._learnt.skip(lost)
            lesson.add(windows, labels)
        if not lesson.targets and self.skipped > skipped:
            return sum((p.sum() for p in self.reader.head.parameters()), torch.zeros(())) * 0
        if not lesson.targets:
            raise TrainingError("no step of this batch has a label that can be read: leave such trajectories out")
        return self.teach(self.reader(lesson.windows)[lesson.picks], lesson)

    def parameters(self) -> Iterable[Parameter]:
        """Return what an optimiser moves, in place: all that is not frozen."""
        return [parameter for parameter in self.reader.parameters() if parameter.requires_grad]

    def to(self, device: str | torch.device) -> Self:
        """Move it, and return it."""
        self.reader.to(device)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the model as safetensors and JSON; its spec names the folder from now on, until it is trained further.

        Adapters are folded into the weights. `assert_train_serve_identity` must hold, before anything is written.
        """
        checkpoint.save(self, where := Path(folder).absolute())
        self._learnt.keep(where)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model that `save` wrote there, after the same checks.

        Raises InvalidSpec for anything else, TokenMismatch for a tokenizer, template or library that reads other tokens
        than those it was trained on.
        """
        model = checkpoint.load(cls, where := Path(folder).absolute())
        model._learnt.keep(where)
        return model

    @property
    def _config(self) -> dict[str, Any]:
        common = {one.name for one in fields(LanguageScorer)}
        own = (one.name for one in fields(self) if one.name not in common)
        return {name: getattr(self, name) for name in ("sees", "context", "keep", *own)}
