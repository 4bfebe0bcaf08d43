"""Shortest walks of an agent that can turn and step forward, over the part of the grid that it sees."""

from collections.abc import Iterable, Sequence
from functools import cache

__all__ = ["DROP", "FORWARD", "LEFT", "PICKUP", "RIGHT", "TOGGLE", "Path", "shortest_paths"]

Path = tuple[int, ...]
"""Low-level actions, by minigrid's numbers."""

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE = range(6)
_NOWHERE = -1


@cache
def _moves(size: int) -> tuple[tuple[int, int, int], ...]:
    """For each pose (spot·4 + heading; 0 is ahead, then clockwise) the poses after turning left, right and stepping."""
    moves = []
    for spot in range(size * size):
        row, column = divmod(spot, size)
        for heading, (down, right) in enumerate(((-1, 0), (0, 1), (1, 0), (0, -1))):
            inside = 0 <= row + down < size and 0 <= column + right < size
            forward = (spot + down * size + right) * 4 + heading if inside else _NOWHERE
            moves.append((spot * 4 + (heading - 1) % 4, spot * 4 + (heading + 1) % 4, forward))
    return tuple(moves)


def shortest_paths(
    size: int, free: Sequence[bool], face: Iterable[int], enter: Iterable[int]
) -> tuple[dict[int, Path], dict[int, Path]]:
    """Return the shortest path to each spot in ``face`` and in ``enter`` that can be reached.

    Args:
        size: side of the square view; the agent stands in the middle of its last row, looking at its first.
        free: for each of the size·size spots, whether it can be walked on.
        face: spots to stand next to and look at.
        enter: spots to stand on.
    """
    moves, start = _moves(size), (size * (size - 1) + size // 2) * 4
    to_face, to_enter = set(face), set(enter)
    faced, entered = dict[int, Path](), dict[int, Path]()
    came: dict[int, tuple[int, int]] = {start: (_NOWHERE, _NOWHERE)}
    queue = [start]
    for pose in queue:
        left, right, forward = moves[pose]
        if forward >> 2 in to_face:
            to_face.discard(forward >> 2)
            faced[forward >> 2] = _retrace(came, pose)
        if pose >> 2 in to_enter:
            to_enter.discard(pose >> 2)
            entered[pose >> 2] = _retrace(came, pose)
        if not (to_face or to_enter):
            break
        for action, after in ((FORWARD, forward), (LEFT, left), (RIGHT, right)):
            if after != _NOWHERE and after not in came and (free[after >> 2] or action != FORWARD):
                came[after] = (pose, action)
                queue.append(after)
    return faced, entered


def _retrace(came: dict[int, tuple[int, int]], pose: int) -> Path:
    path = []
    pose, action = came[pose]
    while pose != _NOWHERE:
        path.append(action)
        pose, action = came[pose]
    return tuple(reversed(path))
