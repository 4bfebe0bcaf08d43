"""Process reward models that others have published, loaded from safetensors and JSON: no code of theirs is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

from agentprm.errors import InvalidSpec
from agentprm.scorers._backbones import positions
from agentprm.scorers._published_folder import Checkpoint, fetch
from agentprm.scorers._published_kinds import KINDS, Kind, chances, fit, recognise
from agentprm.scorers._published_reading import Solutions
from agentprm.scorers._published_solutions import score_reasoning_steps, solution
from agentprm.scorers._reader import Reader
from agentprm.spec import CONFIG, register
from agentprm.text.windows import Window
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["Published", "load_published", "score_reasoning_steps", "solution"]

Meaning: TypeAlias = Literal["correctness", "value"]


@register("published")
@dataclass(frozen=True, eq=False)
class Published:
    """A published model that says of each step of a solution how likely it is right.

    The task of a trajectory is the question, what its agent planned and did is a step; observations are not read, for
    these models know none. Each trajectory is read once. A step without words is left out. None, with a note, has a
    step beyond the context, and so have a step that spells one of the model's own signs, and all that follow it.

    Raises InvalidSpec for a folder that holds no such model, pickles instead of safetensors, adapters, a tokenizer that
    lacks the model's signs, or other weights than those that `digest` names.
    """

    checkpoint: str | Path | Mapping[str, str]
    """A folder, or a name on the Hugging Face Hub; in a spec ``{"folder": ...}``."""
    kind: Kind | None = None
    """What it is: by default as its configuration says."""
    separator: str = "\n"
    """What TRL's ``step_separator`` was when a token classifier was trained; other kinds have their own."""
    unit: Meaning = "correctness"
    """*value* for a model that was taught Monte-Carlo estimates, if you want its numbers taken so."""
    context: int | None = None
    """How many tokens it reads; by default as many as it has positions."""
    dtype: str = "float32"
    """Of the weights: ``auto`` is as they were saved. The head computes in float32."""
    digest: str | None = None
    """What names weights and tokenizer; checked when a model is remade."""
    device: str = "cpu"
    memory: int = 256 * 2**20
    """How many bytes may hold what was computed of solutions that go on."""
    sees: ClassVar[Literal["action"]] = "action"
    name: ClassVar[str] = "published"
    reader: Reader = field(init=False, repr=False)
    _checkpoint: Checkpoint = field(init=False, repr=False)
    _solutions: Solutions = field(init=False, repr=False)

    def __post_init__(self) -> None:
        where = self._where()
        if self.unit not in get_args(Meaning) or self.kind not in (None, *KINDS):
            raise InvalidSpec(f"unit={self.unit!r} is one of {get_args(Meaning)}, kind={self.kind!r} of {(*KINDS,)}")
        checkpoint = Checkpoint.read(fetch(where))
        kind = self.kind or recognise(checkpoint, where)
        tokenizer = checkpoint.tokenizer()
        wording = KINDS[kind].wording(tokenizer, self.separator)
        head = KINDS[kind].head(checkpoint, wording)
        backbone = checkpoint.backbone(self.dtype)
        fit(backbone, head, tokenizer, where)
        reader = Reader(backbone, head, self.memory).to(self.device)
        self._put(kind=kind, checkpoint={"folder": where}, context=positions(reader.backbone, self.context))
        self._put(reader=reader, _checkpoint=checkpoint, _solutions=Solutions.of(wording, tokenizer))
        self._put(digest=_same(self.digest, _digest(reader, tokenizer), where))

    @property
    def spec(self) -> Spec:
        """The recipe: kind, the digest of weights and tokenizer, and where they lie, no part of its identity."""
        names = ("checkpoint", "kind", "separator", "unit", "context", "dtype", "digest")
        return Spec(self.name, {name: getattr(self, name) for name in names})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the chance that each step is right; None, with a note, where it cannot be read."""
        found = [self.read(trajectory) for trajectory in trajectories]
        windows = [window for window, _ in found if window.ends]
        said = iter(chances(self.reader.recall(windows)) if windows else ())
        spec, scores = self.spec, []
        for trajectory, (_, notes) in zip(trajectories, found, strict=True):
            values = tuple(next(said) if note is None else None for note in notes)
            said_of = tuple(notes) if any(notes) else ()
            scores.append(Scores(trajectory.id, spec, self.unit, values, 0, {}, said_of, self.sees))
        return scores

    def read(self, trajectory: Trajectory) -> tuple[Window, list[str | None]]:
        """Return the tokens that it reads of a trajectory, and for each step why it cannot be read, or None."""
        return self._solutions.read(trajectory, self.context)

    def to(self, device: str) -> Self:
        """Move it, and return it."""
        self.reader.to(device)
        self._put(device=str(device))
        return self

    def save(self, folder: str | Path) -> None:
        """Copy the checkpoint there, as it was published, with a ``scorer.json`` by which `load_scorer` knows it."""
        params = {name: value for name, value in self.spec.params.items() if name != "checkpoint"}
        self._checkpoint.copy(where := Path(folder).absolute(), {"name": self.name, "params": params})
        self._put(checkpoint={"folder": str(where)})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model that `save` wrote; raises InvalidSpec for anything else."""
        where = Path(folder).absolute()
        try:
            params = json.loads((where / CONFIG).read_text(encoding="utf-8"))["params"]
            return cls(str(where), **params)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InvalidSpec):
                raise
            raise InvalidSpec(f"{folder} holds no published model: {CONFIG} is unreadable ({error!r})") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, one.name) for one in fields(self) if one.init)

    def _where(self) -> str:
        given = self.checkpoint.get("folder") if isinstance(self.checkpoint, Mapping) else self.checkpoint
        if not isinstance(given, (str, Path)) or not str(given):
            raise InvalidSpec(f"a checkpoint is a folder or a name on the Hugging Face Hub, not {self.checkpoint!r}")
        return str(Path(given).absolute()) if Path(given).is_dir() else str(given)

    def _put(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def load_published(
    checkpoint: str | Path, *, kind: Kind | None = None, dtype: str = "float32", device: str = "cpu", **options: Any
) -> Published:
    """Return a published model from its folder, or by its name on the Hugging Face Hub; `options` as in `Published`.

    Known are Qwen2.5-Math-PRM (*qwen*), Skywork-o1-PRM (*skywork*), Math-Shepherd (*math_shepherd*), RLHFlow's
    (*rlhflow*), and what TRL and axolotl save (*token_classification*). Raises InvalidSpec for anything else.

    >>> load_published("no/such/folder/here")
    Traceback (most recent call last):
    ...
    agentprm.errors.InvalidSpec: 'no/such/folder/here' is no folder here, ...
    """
    return Published(checkpoint, kind, dtype=dtype, device=device, **options)


def _digest(reader: Reader, tokenizer: Any) -> str:
    """Return 128 bits, in hex, that name the weights and how words become tokens."""
    words = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = (reader.digest(), json.dumps(words, sort_keys=True), str(tokenizer.chat_template), str(tokenizer.bos_token))
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _same(asked: str | None, found: str, where: str) -> str:
    if asked not in (None, found):
        raise InvalidSpec(f"{where} holds other weights or another tokenizer ({found}) than those recorded ({asked})")
    return found
