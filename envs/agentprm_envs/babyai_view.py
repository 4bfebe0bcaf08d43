"""What the agent of a BabyAI world sees, and the sentences that say it.

The agent looks ahead over a square of ``size`` x ``size`` cells and stands in the middle of its nearest row. Cells of
that square are numbered row by row, farthest row first, each row from left to right: the number is the *spot*.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple, Protocol

__all__ = ["Cell", "Thing", "View", "World", "describe", "look"]

_DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_NAMED = frozenset({"door", "key", "ball", "box", "goal", "lava"})
_SOLID = frozenset({"wall", "key", "ball", "box", "lava"})
_BARRIERS = frozenset({"wall", "box"})


class Cell(Protocol):
    """What stands on one cell of the grid; doors also have ``is_open`` and ``is_locked``."""

    type: str
    color: str


class World(Protocol):
    """The part of a minigrid environment that is looked at."""

    grid: Any
    agent_pos: Sequence[int]
    agent_dir: int
    agent_view_size: int
    carrying: Cell | None


class _Wall:
    type = "wall"
    color = "grey"


_BEYOND_THE_GRID = _Wall()


class Thing(NamedTuple):
    """One named object in view; ``ahead`` and ``right`` are steps from the agent, ``number`` counts its namesakes."""

    kind: str
    color: str
    state: str
    number: int
    ahead: int
    right: int
    spot: int

    @property
    def label(self) -> str:
        """What observations and actions call it: ``red ball 1``, ``grey locked door 2``."""
        state = f" {self.state}" if self.state else ""
        return f"{self.color}{state} {self.kind} {self.number}"


class View:
    """One look of the agent: the cells of its square that light reaches, ``None`` for an empty or unseen one."""

    def __init__(self, size: int, cells: Sequence[Cell | None], lit: Sequence[int]) -> None:
        self.size = size
        self.cells = cells
        self.lit = lit
        """One bit mask per row, farthest first; bit i is the i-th cell from the left."""

    @property
    def ahead(self) -> Cell | None:
        """What stands right in front of the agent."""
        return self.cells[self.size * (self.size - 2) + self.size // 2]

    @cached_property
    def free(self) -> list[bool]:
        """For each spot, whether it is in sight and can be walked on."""
        size = self.size
        return [
            bool(self.lit[spot // size] >> spot % size & 1) and (cell is None or _can_enter(cell))
            for spot, cell in enumerate(self.cells)
        ]

    @cached_property
    def things(self) -> list[Thing]:
        """The named objects in sight, nearest first; among equals the farther row first, then from left to right."""
        size, counts, found = self.size, dict[tuple[str, str, str], int](), []
        here = size * (size - 1) + size // 2
        for spot, cell in enumerate(self.cells):
            if cell is not None and spot != here and cell.type in _NAMED:
                ahead, right = size - 1 - spot // size, spot % size - size // 2
                found.append((ahead + abs(right), spot, ahead, right, cell))
        things = []
        for _, spot, ahead, right, cell in sorted(found, key=lambda item: item[:2]):
            name = (cell.type, cell.color, _state(cell))
            counts[name] = counts.get(name, 0) + 1
            things.append(Thing(*name, counts[name], ahead, right, spot))
        return things

    @cached_property
    def barrier(self) -> tuple[str, int] | None:
        """The kind of the nearest wall or box straight ahead and the steps to it."""
        column = self.cells[self.size // 2 :: self.size]
        for steps, cell in enumerate(reversed(column[:-1]), 1):
            if cell is not None and cell.type in _BARRIERS:
                return cell.type, steps
        return None


def _state(cell: Any) -> str:
    if cell.type != "door":
        return ""
    return "open" if cell.is_open else "locked" if cell.is_locked else "closed"


def _can_enter(cell: Any) -> bool:
    return cell.is_open if cell.type == "door" else cell.type not in _SOLID


def _stops_light(cell: Any) -> bool:
    return cell.type == "wall" or (cell.type == "door" and not cell.is_open)


@cache
def _spread(size: int, lit: int, clear: int) -> tuple[int, int]:
    """Return the lit cells of a row after light has spread along it, and the cells that it lights in the next row.

    A lit cell that lets light through lights its neighbour and both cells ahead of the two; first to the right, then
    to the left, as in minigrid.
    """
    onward = 0
    for side, order in ((1, range(size - 1)), (-1, range(size - 1, 0, -1))):
        for i in order:
            if lit >> i & 1 and clear >> i & 1:
                lit |= 1 << (i + side)
                onward |= 1 << i | 1 << (i + side)
    return lit, onward


def look(world: World) -> View:
    """Return what the agent of a world sees now.

    Light travels as in minigrid: away from the agent, row by row, stopped by walls and by doors that are not open.
    """
    size, rows, lit = world.agent_view_size, list[list[Cell | None]](), []
    light = 1 << size // 2
    for ahead in range(size):
        row = _row(world, ahead)
        clear = sum(1 << i for i, cell in enumerate(row) if cell is None or not _stops_light(cell))
        mask, light = _spread(size, light, clear)
        rows.append([cell if mask >> i & 1 else None for i, cell in enumerate(row)])
        lit.append(mask)
    return View(size, [cell for row in reversed(rows) for cell in row], lit[::-1])


def _row(world: World, ahead: int) -> list[Cell | None]:
    """The cells that lie some steps ahead of the agent, from left to right."""
    (dx, dy), half, grid = _DIRECTIONS[world.agent_dir], world.agent_view_size // 2, world.grid
    x, y = int(world.agent_pos[0]) + ahead * dx + half * dy, int(world.agent_pos[1]) + ahead * dy - half * dx
    row: list[Cell | None] = []
    for _ in range(world.agent_view_size):
        inside = 0 <= x < grid.width and 0 <= y < grid.height
        row.append(grid.grid[y * grid.width + x] if inside else _BEYOND_THE_GRID)
        x, y = x - dy, y + dx
    return row


def describe(view: View, carrying: Cell | None) -> str:
    """Return the observation in AgentGym's words, two spaces after each object included."""
    if view.things or any(cell is not None and cell.type == "wall" for cell in view.cells):
        seen = "In front of you in this room, you can see several objects: "
        seen += "".join(f"There is a {thing.label} {_where(thing)}.  " for thing in view.things)
    else:
        seen = "You cannot see any objects within sight."
    facing = "You are facing a {} {} steps away. ".format(*view.barrier) if view.barrier else ""
    held = f"a {carrying.color} {carrying.type}." if carrying else None
    carried = f"You are carrying {held}" if held else "You are not carrying anything."
    return f"{seen}The room has walls around you. {facing}{carried}"


def _where(thing: Thing) -> str:
    if thing.right == 0:
        return f"right in front of you {thing.ahead} steps away"
    side = "right" if thing.right > 0 else "left"
    return f"{thing.ahead} steps in front of you and {abs(thing.right)} steps to your {side}"
