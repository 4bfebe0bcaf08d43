"""What is said of a vector of environments, apart: one environment's info, values, seed and name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.vector.utils import iterate

__all__ = ["info_of", "one_of", "reset_mask", "seeds_of", "split"]


def info_of(infos: Mapping[str, Any], i: int) -> dict[str, Any]:
    """Return what a vector's infos say of environment `i`, read through their masks.

    >>> info_of({"x": np.array([1, 0]), "_x": np.array([True, False])}, 0), info_of({"x": np.array([1, 0])}, 1)
    ({'x': 1}, {'x': 0})
    """
    own: dict[str, Any] = {}
    for key, value in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        mask = infos.get(f"_{key}")
        if mask is not None and not mask[i]:
            continue
        own[key] = info_of(value, i) if isinstance(value, Mapping) else _item(value, i)
    return own


def _item(values: Any, i: int) -> Any:
    """Return the value of environment `i`; what is no series of them is said of all."""
    try:
        value = values if isinstance(values, str) else values[i]
    except (TypeError, LookupError):
        return values
    return value.item() if isinstance(value, np.generic) else value


def split(space: gym.Space[Any], batch: Any) -> list[Any]:
    """Return a batch in a batched space, apart: one value per environment."""
    return list(iterate(space, batch) if isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple)) else batch)


def seeds_of(env: gym.vector.VectorEnv[Any, Any, Any], seed: Any) -> list[int | None]:
    """Return the seed of each environment, as a reset of the vector gives them out; None where it has none."""
    if isinstance(seed, int):
        # Other vectors draw the chance of all environments from one generator: no seed is that of one of them.
        is_of_many = isinstance(env.unwrapped, (SyncVectorEnv, AsyncVectorEnv))
        return [seed + i if is_of_many else None for i in range(env.num_envs)]
    return [None] * env.num_envs if seed is None else list(seed)


def reset_mask(options: Mapping[str, Any] | None) -> Any:
    """Return a copy of the mask of environments to reset: gymnasium takes it out of the caller's dict."""
    mask = (options or {}).get("reset_mask")
    return None if mask is None else np.array(mask, dtype=bool)


class _Named:
    """An environment that lives elsewhere, as far as a recorder asks: by what name?"""

    def __init__(self, id: str) -> None:
        self.id = id
        self.unwrapped = self.spec = self


def one_of(env: gym.vector.VectorEnv[Any, Any, Any]) -> Any:
    """Return what names the environments of a vector."""
    vector: Any = env.unwrapped
    if env.spec is not None:
        return _Named(env.spec.id)
    if isinstance(vector, SyncVectorEnv):
        return vector.envs[0]
    if isinstance(vector, AsyncVectorEnv):
        # Its specs may not leave the workers (they hold classes and functions), its words do: <TimeLimit<Cart<id>>>.
        found = re.search(r"<(\w+)(?: instance|<([^<> ]+)>)>*$", str(vector.call("__str__")[0]))
        return _Named((found[2] or found[1]) if found else type(vector).__name__)
    return vector
