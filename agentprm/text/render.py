"""A trajectory as text, in segments: the only place that knows how a turn is worded and marked.

A turn is what was seen, what was planned, what was done and what came back, each a segment of its own. Segments are
only ever appended: those of an episode's beginning are the beginning of the episode's segments. Where a step ends is
known from the segments, never found again in the text, so nothing that a text says can move it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal, Protocol

from agentprm.errors import InvalidSpec
from agentprm.text._samples import sample_trajectories
from agentprm.text.describe import action_text, describe, readable_text
from agentprm.types import Action, Observation, Step, ToolCall, Trajectory
from agentprm.values import clean_text

__all__ = [
    "PLAIN",
    "LiveSight",
    "Role",
    "Segment",
    "Template",
    "decided",
    "obstacles",
    "opening",
    "output_text",
    "render",
    "samples",
    "says_something",
    "seen",
]

Role = Literal["system", "task", "observation", "plan", "action", "result", "gap", "beside"]
LiveSight = Literal["action", "result"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a trajectory's text: of one kind, and of one turn."""

    role: Role
    step: int | None
    """The turn it belongs to; None for what stands before the first."""
    text: str
    """What it says, without any marker."""
    scored: bool = False
    """Whether a score is read at its end. The k-th of these segments ends step k."""


@dataclass(frozen=True)
class Template:
    """How segments are told apart: a marker before each kind of segment, and one behind a segment that ends a step.

    Markers are tokens of their own, known by id; text that spells one is tokenised as the letters that it is. Raises
    InvalidSpec when two markers are the same, or one is empty.

    >>> steps = render(sample_trajectories(())[0])[:3]
    >>> Template().text(steps)[:60]
    '<|task|>Find the old lighthouse.<|observation|>A beach. Mist'
    """

    name: str = "plain"
    system: str = "<|system|>"
    task: str = "<|task|>"
    observation: str = "<|observation|>"
    plan: str = "<|plan|>"
    action: str = "<|action|>"
    result: str = "<|result|>"
    end: str = "<|step|>"
    """Behind a segment that ends a step: the score is read at this token."""
    gap: str = "<|gap|>"
    """In place of turns that were left out."""

    def __post_init__(self) -> None:
        if len(set(self.markers)) < len(self.markers) or not all(self.markers):
            raise InvalidSpec(f"the markers of a template are different and not empty, unlike {self.markers}")

    @property
    def markers(self) -> tuple[str, ...]:
        """Every marker, in the order of the fields."""
        return self.system, self.task, self.observation, self.plan, self.action, self.result, self.end, self.gap

    @property
    def digest(self) -> str:
        """128 bits, in hex, that name what it makes of trajectories: wording, markers and their order."""
        return _digest(self)

    def spell(self, segment: Segment) -> str:
        """Return a segment as it stands in the text, markers and all."""
        return f"{getattr(self, segment.role)}{segment.text}{self.end if segment.scored else ''}"

    def text(self, segments: Iterable[Segment]) -> str:
        """Return the whole text: the segments, one behind the other."""
        return "".join(map(self.spell, segments))


class Marked(Protocol):
    """A template, as far as hostile texts are concerned."""

    @property
    def markers(self) -> tuple[str, ...]:
        """What a hostile text would spell."""


PLAIN = Template()
"""The built-in form."""


def render(trajectory: Trajectory, sees: LiveSight = "action") -> list[Segment]:
    """Return a trajectory as segments, up to what one who sees that far knows at its last step.

    System prompt and tools where `meta` holds them, the task, then turn by turn: the observation, the plan if there is
    one, the action with its tool calls as ``name({json})``, and what each call returned. For *action* a step ends with
    its action, for *result* with the observation that follows. Lone surrogates and NUL become U+FFFD, as in the store.
    Raises MissingText for an observation that is a large array without any words.

    >>> from agentprm.types import Action, Observation, Step, Task, new_id
    >>> step = Step(Observation("a door"), Action("open it", plan="try"))
    >>> trajectory = Trajectory(new_id(), Task("leave"), (step,), Observation("a garden"))
    >>> [(s.role, s.text) for s in render(trajectory) if s.scored]
    [('action', 'open it')]
    >>> [(s.role, s.text) for s in render(trajectory, "result") if s.scored]
    [('observation', 'a garden')]
    """
    segments = list(opening(trajectory))
    for t, step in enumerate(trajectory.steps):
        segments.append(seen(t, step.observation, ends_step=sees == "result" and t > 0))
        segments += decided(t, step, ends_step=sees == "action")
    if sees == "result":
        segments.append(seen(len(trajectory), trajectory.last, ends_step=len(trajectory) > 0))
    return segments


def opening(trajectory: Trajectory) -> Iterator[Segment]:
    """Yield what stands before the first turn: ``meta["system"]`` with ``meta["tools"]``, a line each, and the task."""
    system, tools = trajectory.meta.get("system"), trajectory.meta.get("tools")
    words = [describe(system)] if system else []
    if isinstance(tools, Sequence) and not isinstance(tools, str):
        words += [json.dumps(tool, ensure_ascii=False, default=str) for tool in tools]
    if words:
        yield Segment("system", None, clean_text("\n".join(words)))
    yield Segment("task", None, clean_text(trajectory.task.text))


def seen(t: int, observation: Observation, *, ends_step: bool) -> Segment:
    """Return what the agent saw before its decision `t`; raises MissingText for a large array without words."""
    return Segment("observation", t, clean_text(readable_text(observation)), scored=ends_step)


def decided(t: int, step: Step, *, ends_step: bool) -> Iterator[Segment]:
    """Yield what the agent planned and did, and what its calls returned."""
    if step.action.plan:
        yield Segment("plan", t, clean_text(step.action.plan))
    yield Segment("action", t, clean_text(action_text(step.action)), scored=ends_step)
    for call in step.action.tool_calls:
        if call.status != "pending":
            yield Segment("result", t, clean_text(output_text(call)))


def output_text(call: ToolCall) -> str:
    """Return what a call returned, with its status before it where that is not ok."""
    text = "" if call.output is None else describe(call.output)
    return text if call.status == "ok" else f"{call.status}: {text}"


def obstacles(trajectory: Trajectory, sees: LiveSight = "action") -> list[str | None]:
    """Return, for each step, why its text does not say what there is to judge; None where it does.

    An action without any content, and everything after a picture: a model of text would judge what it has not seen.
    """
    pictures = (i for i, observation in enumerate(trajectory.observations) if observation.images)
    first = next(pictures, len(trajectory) + 1)
    # The first picture is seen at the decision that follows it, or as the result of the one before.
    blind = first - 1 if sees == "result" and first else first
    picture = f"observation {first} holds a picture, and this model reads text only"
    found: list[str | None] = []
    for t, step in enumerate(trajectory.steps):
        action = step.action
        mute = None if action.text or says_something(action) else f"step {t} has an empty action"
        found.append(picture if t >= blind else mute)
    return found


def says_something(action: Action) -> bool:
    """Return whether there is anything to judge in a decision."""
    return bool(action.plan or action.tool_calls or action_text(action))


def samples(template: Marked) -> tuple[Trajectory, ...]:
    """Return small trajectories with all that is hard to word, among it texts that spell the template's markers."""
    return sample_trajectories(template.markers)


@cache
def _digest(template: Template) -> str:
    spelled = [template.text(render(t, sees)) for t in samples(template) for sees in ("action", "result")]
    state = hashlib.blake2b(digest_size=16)
    for text in (*map(str, asdict(template).values()), *spelled):
        state.update(len(text).to_bytes(8, "big") + text.encode())
    return state.hexdigest()
