"""What may not be wired together, refused when a wrapper is made: an episode stored twice, a promise nobody keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym

from agentprm.errors import InvalidSpec, StoreError
from agentprm.spec import resolve

__all__ = ["require_wiring", "store_of"]


def require_wiring(env: Any, store: Any, durability: str | None) -> None:
    """Return if a recorder for `store` may stand around `env`; raises InvalidSpec.

    Refused are an unknown `durability`, one beside an open store that has another, and a second recorder for the same
    database. What workers of a vector do in processes of their own is not seen from here.

    >>> require_wiring(gym.make("FrozenLake-v1"), "runs.db", "group")
    """
    if store is None:
        return
    if durability is not None:
        _require_durability(store, durability)
    for wrapper in _wrappers(env):
        other = store_of(wrapper)
        if other is not None and _place(other) == _place(store):
            raise InvalidSpec(
                f"{type(wrapper).__name__} in this environment records to {_place(store)} already, and every episode "
                "would be stored twice: take it out, or give one of the two no store"
            )


def store_of(wrapper: Any) -> Any:
    """Return the store that a wrapper of ours was given, open or by URL; None for one without, and for any other."""
    return getattr(getattr(wrapper, "recorder", None), "store", None)


def _require_durability(store: Any, durability: str) -> None:
    # By name: a recorder knows that there are stores, not how one is made.
    known = get_args(resolve("agentprm.store.writer:Durability"))
    if durability not in known:
        raise InvalidSpec(f"durability is one of {known}, not {durability!r}")
    own = durability if isinstance(store, (str, Path)) else getattr(store, "durability", None)
    if own != durability:
        raise InvalidSpec(
            f"durability={durability!r} was asked of an open store, whose own is {own!r}: say Store(url, "
            f"durability={durability!r}), or give its URL instead"
        )


def _wrappers(env: Any) -> Iterator[Any]:
    """Yield the wrappers of an environment, and those inside a vector of this process."""
    while isinstance(env, (gym.Wrapper, gym.vector.VectorWrapper)):
        yield env
        env = env.env
    for inner in getattr(env, "envs", ()):
        yield from _wrappers(inner)


def _place(store: Any) -> Any:
    """Return where a store lies: a URL without its password; for what no other can open, something of its own."""
    if isinstance(store, (str, Path)):
        try:
            url = resolve("agentprm.store.url:plain_url")(resolve("agentprm.store.url:read_url")(store))
        except StoreError:
            return str(store)
        return url if _is_shared(url) else object()
    url = getattr(store, "url", None)
    return url if isinstance(url, str) and _is_shared(url) else id(store)


def _is_shared(url: str) -> bool:
    return url != "sqlite://" and ":memory:" not in url
