"""Asking the model for the candidates of a turn, in a way that the user's message stream does not see."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain.agents.middleware.internal_call_transformer import internal_call_metadata
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, set_config_context
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp

from agentprm.record._langchain_failures import Failures

__all__ = ["Request", "Response", "aask", "answers", "ask"]

Request: TypeAlias = ModelRequest[Any]
Response: TypeAlias = ModelResponse[Any]


def ask(
    requests: Sequence[Request], handler: Callable[[Request], Response], *, quiet: bool
) -> list[Response | BaseException]:
    """Return the answers, asked for one after the other, or what was raised instead."""
    return [_attempt(request, handler, quiet) for request in requests]


async def aask(
    requests: Sequence[Request], handler: Callable[[Request], Awaitable[Response]], *, quiet: bool
) -> list[Response | BaseException]:
    """Return the answers, asked for all at once, or what was raised instead."""
    return await asyncio.gather(*(_aattempt(request, handler, quiet) for request in requests), return_exceptions=True)


def _attempt(request: Request, handler: Callable[[Request], Response], quiet: bool) -> Response | BaseException:
    try:
        if not quiet:
            return handler(request)
        with set_config_context(_quiet_config()) as context:
            return context.run(handler, request)
    except Exception as error:
        return error


async def _aattempt(request: Request, handler: Callable[[Request], Awaitable[Response]], quiet: bool) -> Response:
    if not quiet:
        return await handler(request)
    with set_config_context(_quiet_config()) as context:
        return await asyncio.create_task(_awaited(handler, request), context=context)


async def _awaited(handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    return await handler(request)


def _quiet_config() -> RunnableConfig:
    """Return the running configuration, for calls of models that are nobody's turn yet."""
    config = ensure_config()
    tags, metadata = [*config.get("tags", ()), TAG_NOSTREAM], {**config.get("metadata", {}), **internal_call_metadata()}
    return {**config, "tags": tags, "metadata": metadata}


def answers(given: Sequence[Response | BaseException], failures: Failures, *, is_first: bool) -> list[Response]:
    """Return what came back; errors are counted, and raised only where the turn would be left without any answer.

    What is control flow of the graph's goes on its way.
    """
    errors = [one for one in given if isinstance(one, BaseException)]
    for error in errors:
        if isinstance(error, GraphBubbleUp) or not isinstance(error, Exception):
            raise error
    if errors and is_first and len(errors) == len(given):
        raise errors[0]
    for error in errors:
        failures.note("candidate", error)
    return [one for one in given if not isinstance(one, BaseException)]
