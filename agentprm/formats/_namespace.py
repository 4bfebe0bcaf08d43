"""The one key under which a foreign form carries what it has no place for: the rest of a trajectory, and its scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentprm.formats._exact import amended, difference, plain, read_scores, read_trajectory
from agentprm.formats._node import Node
from agentprm.formats._source import Item
from agentprm.types import Scores, Trajectory

__all__ = ["KEY", "restored_items", "signed"]

KEY = "agentprm"


def signed(read_back: Trajectory, trajectory: Trajectory, scores: Iterable[Scores]) -> dict[str, Any]:
    """Return what belongs under the key: what a reader would not know of a trajectory, and its scores; else {}."""
    change = {} if read_back == trajectory else difference(plain(read_back), plain(trajectory))
    listed = [{k: v for k, v in plain(s).items() if k != "trajectory_id"} for s in scores]
    return ({"trajectory": change} if change else {}) | ({"scores": listed} if listed else {})


def restored_items(record: Node, read: Trajectory, beside: Node | None) -> list[Item]:
    """Return the trajectory that was written, and its scores; as it was read where there is nothing under the key.

    Raises InvalidFormat.
    """
    if beside is None:
        return [read]
    change, listed = beside.get("trajectory"), beside.get("scores")
    trajectory = read if change is None else _amended(record, read, change)
    return [trajectory, *(_of(trajectory, node) for node in (listed.as_list() if listed else ()))]


def _amended(record: Node, read: Trajectory, change: Node) -> Trajectory:
    change.as_object()
    try:
        whole = amended(plain(read), change.value)
    except (TypeError, AttributeError) as error:
        raise change.refused("what agentprm wrote here") from error
    return read_trajectory(Node(whole, record.file, record.line, change.field))


def _of(trajectory: Trajectory, node: Node) -> Scores:
    named = {**node.as_object(), "trajectory_id": str(trajectory.id)}
    return read_scores(Node(named, node.file, node.line, node.field))
