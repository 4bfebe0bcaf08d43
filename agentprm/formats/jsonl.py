"""Our own form: every trajectory and every `Scores`, exactly, one per line. The escape hatch.

A line is ``{"agentprm": 1, "trajectory": {...}}`` or ``{"agentprm": 1, "scores": {...}}``. Fields at their default are
left out; what JSON cannot hold stands in the tagged form of `agentprm.values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentprm.formats._exact import plain, read_scores, read_trajectory
from agentprm.formats._node import Node
from agentprm.formats._source import Item, OnBad, Source, read_each
from agentprm.formats._target import Target, writing
from agentprm.types import Trajectory

__all__ = ["SIGNATURES", "read", "write"]

SIGNATURES = ({"agentprm", "trajectory"}, {"agentprm", "scores"})
_VERSION = 1


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield what `write` wrote, equal in every field; raises InvalidFormat."""
    return read_each(source, _items, on_bad)


def _items(record: Node) -> Iterator[Item]:
    if record["agentprm"].as_whole() > _VERSION:
        raise record["agentprm"].refused(f"version {_VERSION} or less: this file was written by a newer agentprm")
    if trajectory := record.get("trajectory"):
        yield read_trajectory(trajectory)
    else:
        yield read_scores(record["scores"])


def write(target: Target, items: Iterable[Item]) -> int:
    """Write trajectories and scores in the order given; return how many trajectories.

    Raises InvalidTrajectory for a value that has no exact form.

    >>> import io
    >>> from agentprm.testing.trajectories import episode
    >>> file, trajectory = io.BytesIO(), episode(("a door", "open it"), outcome=1.0)
    >>> write(file, [trajectory]), file.seek(0)
    (1, 0)
    >>> list(read(file)) == [trajectory]
    True
    """
    n_trajectories = 0
    with writing(target) as put:
        for item in items:
            is_trajectory = isinstance(item, Trajectory)
            n_trajectories += is_trajectory
            put({"agentprm": _VERSION, "trajectory" if is_trajectory else "scores": plain(item)})
    return n_trajectories
