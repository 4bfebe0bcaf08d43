"""Small trajectories for tests."""

from __future__ import annotations

from collections.abc import Sequence

from agentprm.record.policies import RandomPolicy
from agentprm.record.rollout import rollout
from agentprm.testing.corridor import Corridor
from agentprm.types import Action, Ending, Observation, Status, Step, Task, ToolCall, Trajectory, new_id

__all__ = ["corridors", "episode", "hostile"]


def episode(
    *turns: tuple[str, str],
    task: str = "leave the house",
    last: str = "",
    outcome: float | None = None,
    status: Status | None = "terminated",
) -> Trajectory:
    """Return a trajectory of (observation, action) turns; open, without an ending, for ``status=None``.

    >>> episode(("a door", "open it"), last="a garden", outcome=1.0).outcome
    1.0
    """
    steps = tuple(Step(Observation(seen), Action(done)) for seen, done in turns)
    trajectory = Trajectory(new_id(), Task(task), steps, Observation(last))
    if status is None:
        return trajectory
    return trajectory.end(Ending(status, status == "terminated", status == "truncated", outcome))


def corridors(n: int, *, seed: int = 0, max_rounds: int = 8) -> list[Trajectory]:
    """Return `n` episodes of a random walk in a `Corridor`; about three in ten succeed.

    >>> {trajectory.task.text for trajectory in corridors(20)} == {"leave by the left door", "leave by the right door"}
    True
    """
    return rollout(RandomPolicy(seed), Corridor(max_rounds), episodes=n, seeds=seed, progress=False)


def hostile() -> Sequence[Trajectory]:
    """Return what is allowed and rarely thought of: no steps, no words, no ending, odd characters, long texts.

    >>> [len(trajectory) for trajectory in hostile()]
    [0, 1, 2, 1, 3, 1]
    """
    surrogate, long = "\ud800\0\u202e", "word " * 5000
    calls = (ToolCall("search", {"query": "x"}, "1", "found"), ToolCall("", "no JSON", None, None, "rejected", 0))
    tools = Step(Observation(native={"state": [1, float("nan")]}), Action(plan="think", tool_calls=calls), -1.5)
    return (
        episode(status=None),
        episode(("", ""), task="", outcome=None),
        episode((surrogate, surrogate), ("日本語のテキスト", "행동"), task=surrogate, outcome=1.0),
        Trajectory(new_id(), Task("use tools"), (tools,), Observation(native=3), None),
        episode(*[("same", "same")] * 3, outcome=0.0, status="truncated"),
        episode((long, long), task=long, outcome=0.5, status="completed"),
    )
