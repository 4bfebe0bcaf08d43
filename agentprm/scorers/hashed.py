"""A small model of hashed words: trained in seconds by torch, run by NumPy alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from agentprm.errors import InvalidSpec, TrainingError
from agentprm.ops.losses import progress_error, soft_cross_entropy, squared_error
from agentprm.scorers._features import Context, contexts
from agentprm.scorers._labels import value_labels
from agentprm.scorers._network import Network, Size
from agentprm.spec import CONFIG, register
from agentprm.types import Scores, Spec, Trajectory

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = ["Hashed"]

_WEIGHTS = "weights.safetensors"
_MOST_VALUES = 65_536

Objective = Literal["cross_entropy", "squared_error"]


@register("hashed")
@dataclass(frozen=True, eq=False)
class Hashed:
    """The chance of success after a step, from the words of task, observation, action and what was done before.

    No language model: it knows only words that it was trained on. It trains on the CPU with torch, about 10,000 steps
    of 20 in a few seconds, and scores with NumPy alone. Untrained, it says about 0.5.

    Raises InvalidSpec for a size below 1 or an unknown objective.

    >>> from agentprm.types import Action, Observation, Step, Task, new_id
    >>> step = Step(Observation("a locked door"), Action("open the door"))
    >>> trajectory = Trajectory(new_id(), Task("leave"), (step,), Observation("it is locked"))
    >>> [round(value, 1) for value in Hashed()([trajectory])[0].values]
    [0.5]
    """

    seed: int = 0
    """Of the first weights."""
    objective: Objective = "cross_entropy"
    """Soft cross entropy (Choudhury 2025) or the squared error (Xi et al. 2025) between value and label."""
    progress: float = 0.0
    """The weight β of the progress loss (Xi et al. 2025): how much differences between steps count too."""
    buckets: int = Size().buckets
    """Embeddings that words and pairs of words share."""
    crosses: int = Size().crosses
    """Weights that pairs of an action's word and an observation's word share."""
    dim: int = Size().dim
    hidden: int = Size().hidden
    sees: ClassVar[Literal["action"]] = "action"
    unit: ClassVar[Literal["value"]] = "value"
    _learnt: _Learnt = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = self._size
        if min(size) < 1:
            raise InvalidSpec(f"a hashed model has at least one of each, not {size}")
        if self.objective not in get_args(Objective):
            raise InvalidSpec(f"an objective is one of {get_args(Objective)}, not {self.objective!r}")
        if not self.progress >= 0:
            raise InvalidSpec(f"progress is a weight, 0 or more, not {self.progress}")
        object.__setattr__(self, "_learnt", _Learnt(Network.fresh(size, self.seed)))

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it; of a trained model that was never saved, it only names the weights."""
        return Spec("hashed", {**self._config, **self._learnt.names()})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the value of each step, in [0, 1]; what was asked before with these weights is remembered."""
        told = [list(contexts(trajectory)) for trajectory in trajectories]
        value = self._learnt.values(context for steps in told for context in steps)
        spec = self.spec
        return [
            Scores(trajectory.id, spec, self.unit, tuple(value[context] for context in steps), sees=self.sees)
            for trajectory, steps in zip(trajectories, told, strict=True)
        ]

    def loss(self, batch: Sequence[tuple[Trajectory, Scores]], /) -> Tensor:
        """Return the training loss over the labelled steps.

        Raises MissingExtra without torch, UnitError for labels that are no values, TrainingError for labels outside
        [0, 1] or none at all, InvalidScores for labels of another trajectory.
        """
        labelled = list(_labelled(batch))
        if not labelled:
            raise TrainingError("no step of this batch has a label: leave out trajectories without any")
        logits = self._learnt.network.forward(context for context, _, _ in labelled)
        targets = logits.new_tensor([label for _, label, _ in labelled])
        values = logits.sigmoid()
        if self.objective == "cross_entropy":
            loss = soft_cross_entropy(logits, targets)
        else:
            loss = squared_error(values, targets)
        if self.progress:
            follows = logits.new_tensor([follows for _, _, follows in labelled]) > 0
            loss = loss + self.progress * progress_error(values, targets, follows)
        return loss

    def parameters(self) -> Iterable[Parameter]:
        """Return what an optimiser moves, in place; raises MissingExtra without torch."""
        return self._learnt.network.parameters().values()

    def save(self, folder: str | Path) -> None:
        """Write weights and configuration; its spec names the folder from now on, until it is trained further."""
        folder = Path(folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._learnt.network.save(folder / _WEIGHTS)
        text = json.dumps({"name": "hashed", "params": self._config}, indent=2)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        self._learnt.keep(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Hashed:
        """Return the model that `save` wrote there; raises InvalidSpec for anything else."""
        folder = Path(folder).absolute()
        try:
            model = cls(**json.loads((folder / CONFIG).read_text(encoding="utf-8"))["params"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidSpec(f"{folder} holds no hashed model: {CONFIG} is unreadable ({error})") from error
        learnt = _Learnt(Network.load(model._size, folder / _WEIGHTS))
        learnt.keep(folder)
        object.__setattr__(model, "_learnt", learnt)
        return model

    @property
    def _size(self) -> Size:
        return Size(self.buckets, self.crosses, self.dim, self.hidden)

    @property
    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"seed": self.seed, "objective": self.objective, "progress": self.progress}
        return {**config, **self._size._asdict()}


class _Learnt:
    """The weights of a model, their name, and what it said with them."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._folder: Path | None = None
        self._digest: str | None = None
        self._version = network.version
        self._is_fresh = True
        self._values: dict[Context, float] = {}

    def keep(self, folder: Path) -> None:
        """Remember that these weights lie there."""
        self._refresh()
        self._digest, self._folder, self._is_fresh = self.network.digest(), folder, False

    def names(self) -> dict[str, str]:
        """Return what names the weights: nothing for first weights, which the seed names."""
        self._refresh()
        if self._digest is None and not self._is_fresh:
            self._digest = self.network.digest()
        names = {"weights": self._digest, "folder": str(self._folder) if self._folder else None}
        return {key: name for key, name in names.items() if name is not None}

    def values(self, asked: Iterable[Context]) -> dict[Context, float]:
        """Return the value of each context."""
        self._refresh()
        wanted = dict.fromkeys(asked)
        missing = [context for context in wanted if context not in self._values]
        found = {context: self._values[context] for context in wanted if context in self._values}
        logits = np.clip(self.network.run(missing), -700, 700)
        fresh = dict(zip(missing, (1 / (1 + np.exp(-logits))).tolist(), strict=True))
        if len(self._values) + len(fresh) > _MOST_VALUES:
            self._values.clear()
        self._values.update(fresh)
        return found | fresh

    def __getstate__(self) -> tuple[Network, dict[str, str]]:
        return self.network, self.names()

    def __setstate__(self, state: tuple[Network, dict[str, str]]) -> None:
        network, names = state
        self.__init__(network)  # type: ignore[misc]
        self._digest = names.get("weights")
        self._folder = Path(names["folder"]) if "folder" in names else None

    def _refresh(self) -> None:
        version = self.network.version
        if self._version != version:
            self._version, self._folder, self._digest, self._is_fresh = version, None, None, False
            self._values.clear()


def _labelled(batch: Iterable[tuple[Trajectory, Scores]]) -> Iterator[tuple[Context, float, bool]]:
    """Yield each labelled step: its context, its label, and whether it follows on the one yielded before."""
    for trajectory, scores in batch:
        labels = value_labels(trajectory, scores, "a hashed model")
        before = None
        for context, label in zip(contexts(trajectory), labels, strict=True):
            if label is not None:
                yield context, label, before is not None
            before = label
