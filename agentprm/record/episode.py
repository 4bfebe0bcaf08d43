"""One running episode: what the world says becomes events for a sink, and a trajectory to read."""

from __future__ import annotations

from agentprm.errors import InvalidTrajectory
from agentprm.types import (
    Began,
    Ended,
    Ending,
    Observation,
    Scores,
    Sink,
    Spec,
    Step,
    Stepped,
    Trajectory,
)

__all__ = ["Episode"]


class Episode:
    """An episode from its first observation to its ending; every recorder drives one of these.

    >>> from agentprm.types import Action, Task, new_id
    >>> events = []
    >>> episode = Episode(Trajectory(new_id(), Task("leave"), (), Observation("a door")), events.append)
    >>> episode.step(Step(Observation("a door"), Action("open"), 1.0), Observation("a garden"))
    >>> episode.end(Ending("terminated", terminated=True))
    >>> [type(event).__name__ for event in events], len(episode.trajectory)
    (['Began', 'Stepped', 'Ended'], 1)
    """

    __slots__ = ("_begun", "_sink", "_steps", "ending", "last")

    def __init__(self, trajectory: Trajectory, sink: Sink | None = None) -> None:
        self._begun, self._sink = trajectory, sink
        self._steps = list(trajectory.steps)
        self.last: Observation = trajectory.last
        """What was seen last: the observation of the next step."""
        self.ending: Ending | None = None
        if sink:
            sink(Began(trajectory))

    def __len__(self) -> int:
        return len(self._steps)

    def __bool__(self) -> bool:
        return True

    @property
    def trajectory(self) -> Trajectory:
        """The episode so far."""
        now = self._begun._with(steps=tuple(self._steps), last=self.last)
        return now.end(self.ending) if self.ending else now

    def step(
        self,
        step: Step,
        result: Observation,
        *,
        given_reward: float | None = None,
        shaping: Spec | None = None,
        scores: tuple[Scores, ...] = (),
    ) -> None:
        """Take a step; raises InvalidTrajectory after the ending."""
        self.require_open()
        index = len(self._steps)
        self._steps.append(step)
        self.last = result
        if self._sink:
            self._sink(Stepped(self._begun.id, index, step, result, given_reward, shaping, scores))

    def end(self, ending: Ending) -> None:
        """End it; raises InvalidTrajectory when it has ended already."""
        self.require_open("another ending")
        self.ending = ending
        if self._sink:
            self._sink(Ended(self._begun.id, ending))

    def require_open(self, what: str = "a step") -> None:
        """Return if the episode goes on; raises InvalidTrajectory after its ending."""
        if self.ending is not None:
            raise InvalidTrajectory(
                f"{what} after the episode {self._begun.id} ended ({self.ending.status}, {len(self._steps)} steps): "
                "reset the environment first"
            )
