"""How hints spell options: as Python does, or as the command line does while it asks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from agentprm.store.filters import several

__all__ = ["described", "for_shell", "option", "spelled"]

_in_shell = ContextVar("in_shell", default=False)


@contextmanager
def for_shell() -> Iterator[None]:
    """Spell options with dashes until the end of the block.

    >>> with for_shell():
    ...     option("by_depth"), described({"policy": ["a", "b"], "tags": {"host": "x"}})
    ('--by-depth', '--policy a --policy b --tag host=x')
    """
    token = _in_shell.set(True)
    try:
        yield
    finally:
        _in_shell.reset(token)


def option(name: str) -> str:
    """Return how an option is written: ``scorer=``, or ``--scorer``."""
    return f"--{name.replace('_', '-')}" if _in_shell.get() else f"{name}="


def spelled(hint: str) -> str:
    """Return a hint with its options, which stand in braces, spelled out.

    >>> spelled("lower {visits}")
    'lower visits='
    """
    return hint.format_map(_Options())


class _Options(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return option(name)


def described(where: Mapping[str, Any]) -> str:
    """Return filters for people: ``policy='ppo', outcome='failure'``, or ``--policy ppo --outcome failure``."""
    given = {name: value for name, value in where.items() if value is not None}
    if _in_shell.get():
        return " ".join(word for name, value in given.items() for word in _words(name, value))
    shown = {name: str(value) if isinstance(value, datetime) else value for name, value in given.items()}
    return ", ".join(f"{name}={value!r}" for name, value in shown.items())


def _words(name: str, value: Any) -> Iterator[str]:
    if name == "tags":
        yield from (f"--tag {shlex.quote(f'{key}={one}')}" for key, one in value.items())
    elif value is True:
        yield f"--{name}"
    elif isinstance(value, datetime):
        yield f"--{name} {value.isoformat()}"
    else:
        yield from (f"--{name} {shlex.quote(str(one))}" for one in several(value))
