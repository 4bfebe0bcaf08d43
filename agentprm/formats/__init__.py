"""Interchange formats: one module each, with ``read(source)``, ``write(target, items)``, or one of the two.

The file is the registration: ``formats/x.py`` is the format ``x``. Other packages name a module, or any object with
the same functions, in the entry point group ``agentprm.formats``. ``SIGNATURES`` are sets of keys that a record of the
format has; by them `guess` knows it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal

from agentprm.errors import InvalidFormat, InvalidSpec, OneWayFormat, UnknownName
from agentprm.spec import parse
from agentprm.suggest import did_you_mean

if TYPE_CHECKING:
    from agentprm.formats._source import Item, OnBad, Source
    from agentprm.formats._target import Target

__all__ = ["check", "find", "guess", "names", "read", "write"]

_GROUP = "agentprm.formats"


@cache
def _plugins() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=_GROUP)}


@cache
def _ours() -> frozenset[str]:
    return frozenset(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def names() -> list[str]:
    """Return the name of every format there is, sorted.

    >>> "openai_messages" in names()
    True
    """
    return sorted(_ours() | _plugins().keys())


def find(name: str) -> Any:
    """Return the module of a format; raises UnknownName listing the formats there are."""
    if name in _ours():
        return import_module(f"{__name__}.{name}")
    if name in _plugins():
        return _plugins()[name].load()
    raise UnknownName(f"no format is called {name!r}{did_you_mean(name, names())}; there are {', '.join(names())}")


def guess(source: Source) -> str:
    """Return the name of the format that a file is in, by the keys of its first record: the one that asks for most.

    Raises InvalidFormat for a file without a record, one that no format knows, or a stream that cannot be rewound.
    """
    from agentprm.formats._source import first_record, name_of

    first = first_record(source)
    if first is None:
        raise InvalidFormat("expected at least one record, the file is empty", name_of(source))
    if isinstance(first, InvalidFormat):
        raise first
    keys = first.as_object().keys()
    fitting = {len(s): name for name in reversed(names()) for s in _signatures(name) if s <= keys}
    if not fitting:
        raise InvalidFormat(
            f"no format has records with the keys {', '.join(sorted(keys)) or '(none)'}: name it, one of "
            f"{', '.join(n for n in names() if hasattr(find(n), 'read'))}",
            first.file,
            first.line,
        )
    return fitting[max(fitting)]


def _signatures(name: str) -> Iterable[set[str]]:
    return getattr(find(name), "SIGNATURES", ())


def read(source: Source, format: str | None = None, *, on_bad: OnBad | None = None) -> Iterator[Item]:
    """Return an iterator over the trajectories and scores of a file, a record at a time; guess the format if None.

    `format` is a name, or ``name:key=value`` with what its `read` takes. With `on_bad`, a record that is wrong is told
    to it and left out. Raises InvalidFormat, UnknownName, OneWayFormat for a format that is only written.
    """
    function, options = _way(format or guess(source), "read")
    return function(source, on_bad=on_bad, **options)  # type: ignore[no-any-return]


def write(target: Target, items: Iterable[Item], format: str) -> int:
    """Write trajectories, each followed by its scores, to a file; return how many trajectories.

    `format` is a name, or ``name:key=value`` with what its `write` takes. The file is gzipped if its name ends in
    ``.gz``, and appears when it is complete. Raises UnknownName, OneWayFormat for a format that is only read.
    """
    function, options = _way(format, "write")
    return function(target, items, **options)  # type: ignore[no-any-return]


def check(format: str, way: Literal["read", "write"]) -> None:
    """Return if a format goes that way, with these options; raises UnknownName, OneWayFormat, InvalidSpec.

    >>> check("openai_messages:bare=true", "write")
    """
    _way(format, way)


def _way(form: str, way: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function that reads or writes, and the options it is given; it refuses those it does not know."""
    spec = parse(form)
    function = getattr(find(spec.name), way, None)
    if function is None:
        others = ", ".join(n for n in names() if hasattr(find(n), way))
        only = "written" if way == "read" else "read"
        raise OneWayFormat(f"{spec.name} is only {only}: to {way}, choose one of {others}")
    given = signature(function).parameters.values()
    known = sorted(p.name for p in given if p.kind is p.KEYWORD_ONLY and p.name != "on_bad")
    if unknown := sorted(spec.params.keys() - set(known)):
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise InvalidSpec(f"{spec.name} has no option {unknown[0]!r} to {way} with; {there}")
    return function, dict(spec.params)
