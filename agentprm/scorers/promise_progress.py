"""AgentPRM: a language model that says after every step what outcome to expect, taught promise and progress."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

from agentprm.errors import InvalidSpec, MissingExtra, TrainingError
from agentprm.ops.losses import progress_error, squared_error
from agentprm.scorers import _checkpoint as checkpoint
from agentprm.scorers._backbones import make_room, positions, pretrained, tiny_llama
from agentprm.scorers._identity import assert_probe, assert_train_serve_identity, probe
from agentprm.scorers._labels import value_labels
from agentprm.scorers._learnt import Learnt
from agentprm.scorers._lesson import Lesson
from agentprm.scorers._reader import Reader
from agentprm.spec import register
from agentprm.text.render import PLAIN, LiveSight, Template
from agentprm.text.tokens import Encoder
from agentprm.text.windows import Keep, Window, read, remarks
from agentprm.types import Scores, Spec, Trajectory

try:
    import torch
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import AutoTokenizer
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["PromiseProgress", "assert_train_serve_identity"]


@register("promise_progress")
@dataclass(frozen=True, eq=False)
class PromiseProgress:
    """The outcome to expect after each step, by a causal language model with one scalar head (Xi et al. 2025).

    It reads a trajectory once and says M_t, in [0, 1], at the token where step t ends. It learns *promise*,
    L_Q = mean ½ (M_t − Q_t)² (eq. 4), and *progress*, L_A = mean ((M_t − M_{t−1}) − (Q_t − Q_{t−1}))² (eq. 9), as
    L_Q + β L_A (eq. 10). Progress is a difference of two outputs, not a head of its own; a first step has none.

    A step that cannot be read (an empty action, a picture, a turn longer than the context) has no score, and a note
    that says why; so does, with its score, a step whose earlier turns had to be left out. Numbers in float32 are those
    of one trajectory at a time to 1e-5, whatever the company.

    The backbone is taken over: it gets embeddings for the template's markers, and dropout is off. Raises InvalidSpec
    for an unknown sight, a context that is not positive or not known, or a tokenizer without a tokenizer.json.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> model = PromiseProgress.tiny(train_tokenizer(["open the door"], vocab_size=280))
    >>> model([episode(("a door", "open it"), ("a wall", ""))])[0].values
    (0.5, None)
    """

    backbone: Any = field(repr=False)
    """A model of transformers without an output layer, as AutoModel loads it."""
    tokenizer: Any = field(repr=False)
    """A fast tokenizer of transformers, one of tokenizers, or an `Encoder`."""
    sees: LiveSight = "action"
    """Where a step is judged: at the end of its action, or of the observation that follows."""
    beta: float = 1.0
    """The weight of progress."""
    context: int | None = None
    """How many tokens it reads at once; by default as many as the backbone has positions."""
    keep: Keep = "left"
    """What it keeps of an episode that is longer: the latest turns, or (*middle*) the first ones, too."""
    template: Template = PLAIN
    unreadable: Literal["raise", "skip"] = "raise"
    """What a label on a step that cannot be read does to training: TrainingError, or it is left out, and counted."""
    seed: int = 0
    """Of the embeddings of new markers."""
    unit: ClassVar[Literal["value"]] = "value"
    _learnt: Learnt = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.sees not in get_args(LiveSight) or self.keep not in get_args(Keep):
            raise InvalidSpec(f"sees={self.sees!r} is action or result, keep={self.keep!r} is left or middle")
        if self.unreadable not in ("raise", "skip") or not self.beta >= 0:
            raise InvalidSpec(f"unreadable={self.unreadable!r} is raise or skip, beta={self.beta} is 0 or more")
        reader, given = Reader(self.backbone), self.tokenizer
        encoder = given if isinstance(given, Encoder) else Encoder.of(given, self.template)
        context = positions(self.backbone, self.context)
        make_room(self.backbone, encoder, self.seed)
        for name, value in (("context", context), ("template", encoder.template)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_learnt", Learnt("promise_progress", reader, encoder))

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
    ) -> PromiseProgress:
        """Return a small Llama with random weights, the same for the same seed; `options` are this class's fields."""
        encoder = Encoder.of(tokenizer, options.pop("template", PLAIN))
        backbone = tiny_llama(encoder.size, hidden=hidden, layers=layers, heads=heads, context=context, seed=seed)
        return cls(backbone, encoder, seed=seed, **options)

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, tokenizer: Any = None, *, dtype: str = "float32", **options: Any
    ) -> PromiseProgress:
        """Return a model around a pretrained causal language model, with a head that knows nothing yet.

        Safetensors only; code that comes with a model is never run. `options` are this class's fields. Raises
        SightError for a backbone that reads backwards too, such as BERT.
        """
        where = str(path_or_name)
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        model = cls(pretrained(where, dtype), tokenizer, **options)
        assert_train_serve_identity(model)
        return model

    @property
    def spec(self) -> Spec:
        """The recipe: what names weights, template and tokenizer, and the folder once it was saved."""
        return self._learnt.spec(self._config)

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

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the value of each step, in [0, 1]; None, with a note, where it cannot be read."""
        found = [self.read(trajectory) for trajectory in trajectories]
        with torch.no_grad():
            values = iter(self.reader([window for pieces, _ in found for window in pieces]).tolist())
        spec, scores = self.spec, []
        for trajectory, (pieces, notes) in zip(trajectories, found, strict=True):
            said = {t: next(values) for window in pieces for t in window.steps}
            told = tuple(None if notes[t] else said[t] for t in range(len(trajectory)))
            said_of = remarks(pieces, notes)
            scores.append(Scores(trajectory.id, spec, self.unit, told, notes=said_of, sees=self.sees))
        return scores

    def read(self, trajectory: Trajectory) -> tuple[list[Window], list[str | None]]:
        """Return the windows that it reads of a trajectory, and for each step why it cannot be read, or None.

        The one way from a trajectory to tokens, in training as in serving.
        """
        return read(trajectory, self.encoder, self.sees, cast(int, self.context), self.keep)

    def loss(self, batch: Sequence[tuple[Trajectory, Scores]], /) -> Tensor:
        """Return L_Q + β L_A over the labelled steps of a batch: a scalar, in float32. A label of None teaches nothing.

        L_A is the mean over neighbouring steps that both have a label. Raises TrainingError for a label on a step that
        cannot be read (unless `unreadable="skip"`), for labels outside [0, 1] or none at all, UnitError for labels that
        are no values, InvalidScores for labels of another trajectory.
        """
        lesson, skipped = Lesson(), self.skipped
        for trajectory, scores in batch:
            lesson.add(*self._readable(trajectory, scores))
        if not lesson.targets and self.skipped > skipped:
            return self.reader.head.bias.sum() * 0
        if not lesson.targets:
            raise TrainingError("no step of this batch has a label that can be read: leave such trajectories out")
        values = self.reader(lesson.windows)[lesson.picks]
        targets = values.new_tensor(lesson.targets)
        follows = torch.tensor(lesson.follows, device=values.device)
        return squared_error(values, targets) + self.beta * progress_error(values, targets, follows)

    def _readable(self, trajectory: Trajectory, scores: Scores) -> tuple[list[Window], list[float | None]]:
        """Return windows and labels, without those labels that stand where nothing can be read."""
        labels = value_labels(trajectory, scores, "promise_progress")
        found, notes = self.read(trajectory)
        for t, note in enumerate(notes):
            if note is None or labels[t] is None:
                continue
            if self.unreadable == "raise":
                raise TrainingError(
                    f"the label of step {t} of trajectory {trajectory.id} would be lost: {note}; make it None, or say "
                    "unreadable='skip'"
                )
            labels[t] = None
            self._learnt.skip(note)
        return found, labels

    def parameters(self) -> Iterable[Parameter]:
        """Return what an optimiser moves, in place: all that is not frozen."""
        return [parameter for parameter in self.reader.parameters() if parameter.requires_grad]

    def to(self, device: str | torch.device) -> PromiseProgress:
        """Move it, and return it."""
        self.reader.to(device)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the model as safetensors and JSON; its spec names the folder from now on, until it is trained further.

        `assert_train_serve_identity` must hold, before anything is written.
        """
        assert_train_serve_identity(self)
        folder = Path(folder).absolute()
        params = {**self.spec.params, "unreadable": self.unreadable}
        params.pop("folder", None)
        config = {"name": "promise_progress", "params": params, "probe": probe(self)}
        checkpoint.write(folder, config, self.reader, self.encoder)
        self._learnt.keep(folder)

    @classmethod
    def load(cls, folder: str | Path) -> PromiseProgress:
        """Return the model that `save` wrote there, after the same checks.

        Raises InvalidSpec for anything else, TokenMismatch for a tokenizer, template or library that reads other tokens
        than those it was trained on.
        """
        folder = Path(folder).absolute()
        config = checkpoint.read_config(folder)
        encoder = checkpoint.read_encoder(folder, config)
        model = cls(checkpoint.read_backbone(folder), encoder, **checkpoint.settings(config))
        checkpoint.read_head(folder, model.reader)
        if (found := model.reader.digest()) != (recorded := config["params"]["weights"]):
            raise InvalidSpec(f"{folder} holds other weights ({found}) than those that were saved ({recorded})")
        assert_probe(model, config["probe"])
        assert_train_serve_identity(model)
        model._learnt.keep(folder)
        return model

    @property
    def _config(self) -> dict[str, Any]:
        return {"sees": self.sees, "beta": self.beta, "context": self.context, "keep": self.keep}
