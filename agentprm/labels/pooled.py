"""Values of steps from other episodes that took the same action in the same state: no rollouts, only bookkeeping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Literal, get_args

from agentprm import values
from agentprm.errors import InvalidSpec
from agentprm.spec import register, resolve
from agentprm.text.describe import action_text
from agentprm.types import Action, Observation, Scores, Spec, Trajectory

__all__ = ["Pooled"]

State = Literal["history", "observation"]


@register("pooled")
@dataclass(frozen=True)
class Pooled:
    """Labels a step with the mean outcome of all `episodes` that took this action in this state.

    The targets of AgentPRM (Choudhury 2025), which need no rollouts but tasks played more than once: an episode that
    shares a step with no other keeps its own outcome. Of an action its words and tool calls count, not its plan, so
    that equal actions pool whatever thought led to them. With `gamma` < 1 each visit counts ½ (1 + γ^(T−t) (2R − 1)):
    the longer an episode of T + 1 steps went on after step t, the nearer to ½, success and failure alike.

    The part ``visits`` says how many episodes stand behind a label. A step that none of them took, or only ones
    without an outcome, has no label; one of an unfinished episode has the label of those that finished from there.

    Raises InvalidSpec for a `gamma` outside (0, 1], an unknown `state`, or `episodes` that are neither; where they are
    read from a store, what the store raises.

    >>> from agentprm.types import Action, Ending, Observation, Step, Task, new_id
    >>> def episode(last, outcome):
    ...     steps = tuple(Step(Observation("a hall"), Action(done)) for done in ("go", last))
    ...     ending = Ending("terminated", terminated=True, outcome=outcome)
    ...     return Trajectory(new_id(), Task("leave"), steps, Observation("the end"), ending)
    >>> played = [episode("left", 1.0), episode("left", 0.0), episode("right", 0.0), episode("right", 0.0)]
    >>> Pooled(played)(played[:1])[0].values
    (0.25, 0.5)
    """

    episodes: Sequence[Trajectory] | str | Path
    """Those pooled: trajectories, or the store (path or URL) whose ended episodes are read at the first call."""
    gamma: float = 1.0
    state: State = "history"
    """The same are states with the same task and *history* of observations and actions; or the same *observation*."""
    sees: ClassVar[Literal["episode"]] = "episode"
    unit: ClassVar[Literal["value"]] = "value"
    _pool: _Pool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise InvalidSpec(f"gamma lies in (0, 1], not at {self.gamma}")
        if self.state not in get_args(State):
            raise InvalidSpec(f"a state is one of {get_args(State)}, not {self.state!r}")
        if not isinstance(self.episodes, (str, Path)):
            object.__setattr__(self, "episodes", tuple(_required(self.episodes)))
        object.__setattr__(self, "_pool", _Pool(self.episodes, self.gamma, self.state))

    @property
    def spec(self) -> Spec:
        """The recipe; one of a store remakes it, from the episodes that are in it then."""
        return Spec("pooled", {"episodes": self._pool.name, "gamma": self.gamma, "state": self.state})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the labels of each trajectory."""
        return [self._label(trajectory) for trajectory in trajectories]

    def _label(self, trajectory: Trajectory) -> Scores:
        visits = [self._pool.visits.get(key, _NEVER) for key in _keys(trajectory, self.state)]
        means = tuple(total / n if n else None for total, n in visits)
        parts = {"visits": tuple(float(n) for _, n in visits)}
        return Scores(trajectory.id, self.spec, self.unit, means, parts=parts, sees=self.sees)


_NEVER = (0.0, 0)


class _Pool:
    """The sum of returns, and their number, of each action in each state; counted when they are first asked for."""

    def __init__(self, episodes: Sequence[Trajectory] | str | Path, gamma: float, state: State) -> None:
        self._episodes, self._gamma, self._state = episodes, gamma, state
        self._visits: dict[bytes, tuple[float, int]] | None = None
        self._name: str | dict[str, str] | None = None

    @property
    def name(self) -> str | dict[str, str]:
        """What stands in a spec: the URL of a store without its password, or a name for what these episodes are."""
        if self._name is None:
            self._name = self._named()
        return self._name

    @property
    def visits(self) -> dict[bytes, tuple[float, int]]:
        """The sum of the returns of each step, and how many they are."""
        if self._visits is None:
            self._visits = self._counted()
        return self._visits

    def _named(self) -> str | dict[str, str]:
        if isinstance(self._episodes, (str, Path)):
            url = resolve("agentprm.store.url:read_url")(self._episodes)
            return str(resolve("agentprm.store.url:plain_url")(url))
        content = repr(sorted((key, *counted) for key, counted in self.visits.items()))
        digest = blake2b(content.encode(), digest_size=8).hexdigest()
        return {"live": f"{len(self._episodes)} episodes, {digest}"}

    def _counted(self) -> dict[bytes, tuple[float, int]]:
        visits: dict[bytes, tuple[float, int]] = {}
        for trajectory in self._read():
            for key, value in zip(_keys(trajectory, self._state), _returns(trajectory, self._gamma), strict=False):
                total, n = visits.get(key, _NEVER)
                visits[key] = total + value, n + 1
        return visits

    def _read(self) -> Iterator[Trajectory]:
        if not isinstance(self._episodes, (str, Path)):
            yield from self._episodes
            return
        with resolve("agentprm.store.store:Store")(self._episodes, create=False) as store:
            yield from store.trajectories(ended=True)


def _returns(trajectory: Trajectory, gamma: float) -> Iterator[float]:
    """Yield the discounted outcome of each step, nearest ½ at the first; nothing where the outcome is unknown."""
    if trajectory.outcome is not None:
        for remaining in range(len(trajectory) - 1, -1, -1):
            yield (1 + gamma**remaining * (2 * trajectory.outcome - 1)) / 2


def _keys(trajectory: Trajectory, state: State) -> Iterator[bytes]:
    """Yield what names each step: the same for the same action in the same state of the same task."""
    before = start = _digest(trajectory.env or "", trajectory.task.key)
    for step in trajectory.steps:
        key = _digest(before, *_seen(step.observation), _done(step.action))
        yield key
        before = key if state == "history" else start


def _seen(observation: Observation) -> Iterator[str | bytes]:
    yield observation.text
    native = observation.native
    if native is not None and not (isinstance(native, str) and native == observation.text):
        yield values.encode(native)[0]
    yield from (image.data for image in observation.images)


def _done(action: Action) -> str:
    words = action_text(action) if action.text or action.tool_calls else ""
    return words or values.encode(action.native)[0]


def _digest(*parts: str | bytes) -> bytes:
    state = blake2b(digest_size=16)
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(content).to_bytes(8, "little") + content)
    return state.digest()


def _required(episodes: object) -> Iterator[Trajectory]:
    if not isinstance(episodes, Sequence) or not all(isinstance(item, Trajectory) for item in episodes):
        raise InvalidSpec(
            f"episodes are trajectories, or the path or URL of a store, not {type(episodes).__name__}; give them anew"
        )
    return iter(episodes)
