"""What an agent saw and did in one turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from agentprm.errors import InvalidTrajectory
from agentprm.types._basics import CallStatus, Value, same, same_fields

__all__ = ["Action", "Image", "Observation", "Step", "ToolCall", "require_observation", "require_step"]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, as encoded bytes; stored once per content."""

    media_type: str
    """For example ``image/png``."""
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a model reads (`text`), and what the world gave (`native`).

    An empty `text` beside a `native` value is derived from it where it is needed; it never replaces it.
    """

    text: str = ""
    native: Value | None = None
    images: tuple[Image, ...] = ()

    def __post_init__(self) -> None:
        if type(self.images) is not tuple:
            object.__setattr__(self, "images", tuple(self.images))

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Observation) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class ToolCall:
    """One call of a tool: what was asked, and what came back."""

    name: str
    arguments: Value = field(default_factory=dict)
    id: str | None = None
    """The caller's own id, as in OpenAI's ``tool_call_id``."""
    output: Value | None = None
    status: CallStatus = "ok"
    """``pending`` until it has ended; ``rejected`` when it was never run: vetoed, or a tool that does not exist."""
    attempts: int = 1
    """How often it was run; 0 when rejected."""

    def __post_init__(self) -> None:
        if self.status not in get_args(CallStatus):
            raise InvalidTrajectory(f"a tool call is one of {get_args(CallStatus)}, not {self.status!r}")

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, ToolCall) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def asked(self) -> ToolCall:
        """Return the call as it was asked, before anything came back."""
        return ToolCall(self.name, self.arguments, self.id, None, "pending")


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """One decision of the agent, however many tools it calls at once."""

    text: str = ""
    plan: str = ""
    """Reasoning, and words said before the calls."""
    tool_calls: tuple[ToolCall, ...] = ()
    native: Value | None = None
    """What was handed to ``env.step``, where that is not the text itself."""

    def __post_init__(self) -> None:
        if type(self.tool_calls) is not tuple:
            object.__setattr__(self, "tool_calls", tuple(self.tool_calls))

    @property
    def kind(self) -> Literal["tool", "plan", "message", "env"]:
        """What the decision was: calls tools, acts in an environment, speaks, or only plans."""
        if self.tool_calls:
            return "tool"
        if self.native is not None:
            return "env"
        return "message" if self.text or not self.plan else "plan"

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Action) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What it saw, what it did, what the world paid for it."""

    observation: Observation
    action: Action
    reward: float = 0.0
    """As the world gave it, whatever a learner was paid."""
    info: Mapping[str, Value] = field(default_factory=dict)
    """What the world said beside the reward."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Step):
            return NotImplemented
        return (
            self.observation == other.observation
            and self.action == other.action
            and same(float(self.reward), float(other.reward))
            and same(dict(self.info), dict(other.info))
        )

    __hash__ = None  # type: ignore[assignment]


def require_step(step: Step) -> None:
    """Return if this is a step that can be; raises InvalidTrajectory."""
    if not isinstance(step, Step):
        raise InvalidTrajectory(f"steps are Step objects, not {type(step).__name__}")
    require_observation(step.observation)
    if not isinstance(step.action, Action):
        raise InvalidTrajectory(
            f"an action is an Action, not {type(step.action).__name__}: say Action({step.action!r})"
        )
    if isinstance(step.reward, bool) or not isinstance(step.reward, (int, float)):
        raise InvalidTrajectory(f"a reward is a float, not {type(step.reward).__name__} {step.reward!r}")


def require_observation(seen: Observation) -> None:
    """Return if this is an observation; raises InvalidTrajectory."""
    if not isinstance(seen, Observation):
        raise InvalidTrajectory(
            f"what was seen is an Observation, not {type(seen).__name__}: say Observation(text) or "
            "Observation(native=value)"
        )
