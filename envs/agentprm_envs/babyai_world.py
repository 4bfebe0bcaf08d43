"""The minigrid side of BabyAI: a world that is quiet, quick, and can be saved and loaded.

The only module here that imports minigrid.
"""

import copyreg
import io
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import gymnasium

from agentprm.errors import MissingExtra
from agentprm_envs.babyai_paths import LEFT, RIGHT, Path

__all__ = ["load", "make_world", "play", "save", "start"]

_log = logging.getLogger(__name__)
_BANNER = "PYGAME_HIDE_SUPPORT_PROMPT"


@contextmanager
def _no_pygame_banner() -> Iterator[None]:
    """Pygame greets on stdout when first imported, unless a variable says not to; ours is gone afterwards."""
    ours = _BANNER not in os.environ and "pygame" not in sys.modules
    if ours:
        os.environ[_BANNER] = "1"
    try:
        yield
    finally:
        if ours:
            os.environ.pop(_BANNER, None)


try:
    with _no_pygame_banner():
        import minigrid  # noqa: F401  (registers its levels)
        from minigrid.envs.babyai.core import roomgrid_level
        from minigrid.minigrid_env import MiniGridEnv
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"minigrid", "pygame"}:
        raise
    raise MissingExtra("envs", "minigrid") from error


def _log_instead(*words: object) -> None:
    """Stands in for ``print`` where minigrid tells of each board that it threw away, thousands of lines on stdout."""
    _log.debug("%s", words)


vars(roomgrid_level)["print"] = _log_instead

# What an episode never changes, or what must not leave the process; the generator is saved by its state.
_LASTING = frozenset(
    {"_np_random", "action_space", "observation_space", "actions", "spec", "metadata", "max_steps", "gen_obs"}
    | {"place_agent", "window", "clock", "screen_size", "render_size", "render_mode", "highlight", "tile_size"}
)
_NO_LIMIT = 2**31
_TRIES = 1000
_place_anywhere: Callable[..., object] = MiniGridEnv.place_agent


def _not_looking() -> None:
    """Stands in for minigrid's encoding of the view, which takes most of its time and which nobody reads here."""


def _place_agent(world: Any, i: int | None = None, j: int | None = None, rand_dir: bool = True) -> Any:
    """Put the agent into a room, not face to face with an object: as minigrid does, drawing the same numbers.

    But minigrid never gives up: in a full room, as some seeds of SynthS5R2 make, it searches for ever. The error makes
    it throw that board away.
    """
    column = world._rand_int(0, world.num_cols) if i is None else i
    row = world._rand_int(0, world.num_rows) if j is None else j
    room = world.get_room(column, row)
    for _ in range(_TRIES):
        _place_anywhere(world, room.top, room.size, rand_dir, max_tries=_TRIES)
        ahead = world.grid.get(*world.front_pos)
        if ahead is None or ahead.type == "wall":
            return world.agent_pos
    raise RecursionError("no place for the agent")


def make_world(minigrid_id: str) -> Any:
    """Return a bare minigrid environment that never renders and never encodes what the agent sees.

    Raises:
        gymnasium.error.Error: minigrid has no level of that id.
    """
    world: Any = gymnasium.make(minigrid_id, disable_env_checker=True).unwrapped
    world.gen_obs = _not_looking
    world.place_agent = MethodType(_place_agent, world)
    return world


def start(world: Any, seed: int) -> int:
    """Begin the episode of a seed and return minigrid's own limit of low-level actions, which no longer applies."""
    world.reset(seed=seed)
    limit = int(world.max_steps)
    world.max_steps = _NO_LIMIT
    return limit


def play(world: Any, path: Path) -> bool | None:
    """Take low-level actions until one has no effect or ends the episode.

    Returns:
        Whether the mission succeeded; None while it goes on.
    """
    for action in path:
        before = None if action in (LEFT, RIGHT) else _touchable(world)
        _, reward, terminated, _, _ = world.step(action)
        if terminated:
            return bool(reward > 0)
        if before is not None and before == _touchable(world):
            break
    return None


def _touchable(world: Any) -> tuple[object, ...]:
    """All that a step forward, a pickup, a drop or a toggle can change."""
    x, y = world.front_pos
    cell = world.grid.get(x, y)
    return (x, y, cell, world.carrying, getattr(cell, "is_open", None), getattr(cell, "is_locked", None))


def save(world: Any) -> bytes:
    """Return the whole state of an episode, random generator included, as bytes that any process may load."""
    state = {name: value for name, value in world.__dict__.items() if name not in _LASTING}
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    # Instructions point back to their world: that reference must come to mean the world that loads them.
    pickler.dispatch_table = copyreg.dispatch_table | {type(world): _refer_to_world}
    pickler.dump((state, world.np_random.bit_generator.state))
    return buffer.getvalue()


def load(world: Any, saved: bytes) -> None:
    """Put a world of the same level into a saved state, exactly."""
    state, rng = _Loader(world, saved).load()
    for name in world.__dict__.keys() - state.keys() - _LASTING:
        delattr(world, name)
    world.__dict__.update(state)
    world.max_steps = _NO_LIMIT
    world.np_random.bit_generator.state = rng


def _refer_to_world(_: object) -> tuple[Callable[..., object], tuple[()]]:
    return _the_world, ()


def _the_world() -> object:
    raise pickle.UnpicklingError("this pickle is a saved world: only agentprm_envs.babyai_world.load can read it")


class _Loader(pickle.Unpickler):
    def __init__(self, world: object, saved: bytes) -> None:
        super().__init__(io.BytesIO(saved))
        self._world = world

    def find_class(self, module: str, name: str) -> Any:
        if name == _the_world.__name__ and module == __name__:
            return lambda: self._world
        return super().find_class(module, name)
