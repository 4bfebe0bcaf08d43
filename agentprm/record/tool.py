"""Functions that report their own calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction, signature
from typing import Any, ParamSpec, TypeVar, cast

from agentprm.record.manual import current

__all__ = ["tool"]

P = ParamSpec("P")
R = TypeVar("R")


def tool(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that, inside an `episode`, also reports its calls: arguments, output, or the error it raised.

    A coroutine function stays one, and reports when its call has ended. Outside an episode nothing is reported.

    >>> from agentprm import episode
    >>> @tool
    ... def double(x):
    ...     return 2 * x
    >>> with episode("double 4") as ep:
    ...     _ = double(4)
    >>> ep.trajectory.steps[0].action.tool_calls[0].output
    8
    """
    reporting = _Reporting(function)

    if iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            with reporting(args, kwargs) as output:
                output.append(await function(*args, **kwargs))
            return output[0]

        return cast(Callable[P, R], awaited)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with reporting(args, kwargs) as output:
            output.append(function(*args, **kwargs))
        return cast(R, output[0])

    return called


class _Reporting:
    """Tells the current episode how one call went; what ended by an exception is an error, whoever raised it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name, self._signature = function.__name__, signature(function)

    @contextmanager
    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[list[Any]]:
        output: list[Any] = []
        ep = current.get()
        if ep is None:
            yield output
            return
        try:
            yield output
        except BaseException as error:
            ep.tool(self._name, self._arguments(args, kwargs), repr(error), status="error")
            raise
        ep.tool(self._name, self._arguments(args, kwargs), output[0])

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict(self._signature.bind(*args, **kwargs).arguments)
        except TypeError:  # a call that the function itself refused
            return {"args": list(args), **kwargs}
