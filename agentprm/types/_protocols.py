"""What users implement: scorers, and the one-method protocols for what they pass in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from agentprm.types._basics import Sight, Unit, Value
from agentprm.types._scores import Scores
from agentprm.types._spec import Spec
from agentprm.types._step import Action
from agentprm.types._trajectory import Trajectory

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = [
    "ActionScorer",
    "Advance",
    "Aggregate",
    "Continue",
    "LiveScorer",
    "Policy",
    "Propose",
    "Scorer",
    "Shape",
    "StepRewardModel",
]


@runtime_checkable
class Scorer(Protocol):
    """Anything that gives each step of a trajectory a number.

    Called with trajectories, it returns one `Scores` each, in order, covering every step. A step it cannot judge is
    None; a scorer whose server or model failed raises.
    """

    @property
    def sees(self) -> Sight:
        """How far it looks; what lies beyond changes nothing in what it says."""

    @property
    def unit(self) -> Unit:
        """What its numbers mean."""

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it."""

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the scores of each trajectory, in order."""


@runtime_checkable
class LiveScorer(Scorer, Protocol):
    """A scorer that may pay a reward while the episode goes on."""

    @property
    def sees(self) -> Literal["action", "result"]:
        """No further than the step's own result."""


@runtime_checkable
class ActionScorer(LiveScorer, Protocol):
    """A scorer that may choose among actions not yet taken."""

    @property
    def sees(self) -> Literal["action"]:
        """No further than the action."""


@runtime_checkable
class StepRewardModel(LiveScorer, Protocol):
    """A live scorer that can be trained."""

    def loss(self, batch: Sequence[tuple[Trajectory, Scores]], /) -> Tensor:
        """Return the scalar training loss over the labelled steps of a batch."""

    def parameters(self) -> Iterable[Parameter]:
        """What an optimiser moves."""

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and configuration (JSON); ``load_scorer(folder)`` reads them back."""


class Policy(Protocol):
    """Chooses the next action of a running episode."""

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], /) -> Value:
        """Return the action for ``env.step``, given what happened so far and the last info."""


class Propose(Protocol):
    """Offers candidates for the next action."""

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], n: int, /) -> Sequence[Action]:
        """Return up to `n` candidate actions, likeliest first or drawn at random; repeats are allowed."""


class Advance(Protocol):
    """Takes an action in a copy of the world: what a search needs of an environment."""

    def __call__(self, trajectory: Trajectory, action: Action, /) -> Trajectory:
        """Return the trajectory one step on, ended if the world ended."""


class Continue(Protocol):
    """Plays an episode on from the middle: what Monte-Carlo labels need of an environment and a policy."""

    def __call__(self, trajectory: Trajectory, t: int, n: int, /) -> Sequence[Trajectory]:
        """Return `n` fresh completions of the first t + 1 steps, each an ended trajectory with an outcome."""


class Aggregate(Protocol):
    """Turns the scores of one trajectory into one number."""

    def __call__(self, values: Sequence[float | None], /) -> float | None:
        """Return the number; None when no step has one."""


class Shape(Protocol):
    """Turns a score into what the learner is paid."""

    def __call__(
        self, reward: float, potential: float | None, previous: float, *, gamma: float, weight: float, terminated: bool
    ) -> float:
        """Return the payment for one step; see `agentprm.ops.shape`."""
