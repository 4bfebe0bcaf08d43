"""A model of tool calls that never saw these customers, files and numbers: it reads where each comes from instead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from agentprm.errors import InvalidSpec, UnitError
from agentprm.spec import CONFIG, as_action_scorer, load_scorer, make, register
from agentprm.text.delexicalise import delexicalise
from agentprm.types import Scorer, Scores, Spec, StepRewardModel, Trajectory

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = ["Delexicalised"]

_MODEL = "model"


@register("delexicalised")
@dataclass(frozen=True, eq=False)
class Delexicalised:
    """Another model's values, of tool calls whose words are left out; see `agentprm.text.delexicalise`.

    It trains and saves as that model does; the model must stop at the action. Give a label method that asks the model
    (`Temporal`) this one. Raises SightError for a model that sees further, UnitError for one that gives no values.

    >>> from agentprm.testing.trajectories import episode
    >>> model = Delexicalised("constant:value=0.5")
    >>> model([episode(("a door", "open it"))])[0].values, model.spec.plain()["params"]["model"]["name"]
    ((0.5,), 'constant')
    """

    model: Any = field(default_factory=lambda: make("hashed"))
    """A scorer that sees the action, or its plain form."""
    sees: ClassVar[Literal["action"]] = "action"
    unit: ClassVar[Literal["value"]] = "value"

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_action_scorer(self.model))
        if self.model.unit != "value":
            raise UnitError(f"expected a model of values, and {self.model.spec.name} gives a {self.model.unit}")

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""
        return Spec("delexicalised", {"model": self._scorer.spec})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the value of each step, as the model gives it."""
        spec = self.spec
        return [replace(scores, source=spec) for scores in self._scorer([delexicalise(t) for t in trajectories])]

    def loss(self, batch: Sequence[tuple[Trajectory, Scores]], /) -> Tensor:
        """Return the model's training loss; raises what it raises, InvalidSpec for a model without weights."""
        return self._trained.loss([(delexicalise(trajectory), scores) for trajectory, scores in batch])

    def parameters(self) -> Iterable[Parameter]:
        """Return what an optimiser moves."""
        return self._trained.parameters()

    def save(self, folder: str | Path) -> None:
        """Write the model, and beside it that its words are to be left out."""
        folder = Path(folder).absolute()
        self._trained.save(folder / _MODEL)
        text = json.dumps({"name": "delexicalised"}, indent=2)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Delexicalised:
        """Return what `save` wrote there; raises InvalidSpec for anything else."""
        return cls(load_scorer(Path(folder).absolute() / _MODEL))

    @property
    def _scorer(self) -> Scorer:
        return cast(Scorer, self.model)

    @property
    def _trained(self) -> StepRewardModel:
        if not hasattr(self.model, "loss"):
            raise InvalidSpec(f"{self._scorer.spec.name} has no weights: give a model that can be trained")
        return cast(StepRewardModel, self.model)
