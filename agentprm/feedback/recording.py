"""Recording every LangChain run of a block, of a process, or of the agents of a middleware, without `config`."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables.config import ensure_config
from langchain_core.tracers.context import register_configure_hook

from agentprm.errors import AgentPRMError
from agentprm.feedback.langchain import PRMCallbackHandler
from agentprm.record.langchain import LangChainRecorder
from agentprm.store.store import Store

__all__ = ["VARIABLE", "bystander", "follow_environment", "record_this_run", "recording"]

VARIABLE = "AGENTPRM_RECORD"
"""The environment variable that names a store for ``import agentprm.autorecord``."""

_log = logging.getLogger("agentprm.record.langchain")
_current: ContextVar[BaseCallbackHandler | None] = ContextVar("agentprm_recording", default=None)
register_configure_hook(_current, inheritable=True)


@contextlib.contextmanager
def recording(store: Any, scorer: Any = None, **options: Any) -> Iterator[PRMCallbackHandler]:
    """Record every LangChain run that begins inside this block; arguments are those of `PRMCallbackHandler`.

    It reaches tasks, ``asyncio.run`` and LangGraph's threads, but no `threading.Thread` of your own.
    Of nested blocks the inner one records. At the end it waits for scores and rows, and closes a store it opened.

    >>> from langchain_core.language_models import FakeListChatModel
    >>> with Store(":memory:") as store:
    ...     with recording(store):
    ...         answer = FakeListChatModel(responses=["Lima"]).invoke("The capital of Peru?")
    ...     [t.steps[0].action.text for t in store.trajectories()]
    ['Lima']
    """
    handler = PRMCallbackHandler(store, scorer, **options)
    token = _current.set(handler)
    try:
        yield handler
    finally:
        with contextlib.suppress(ValueError):  # another context ends it than began it, as with async fixtures
            _current.reset(token)
        handler.finish(close=isinstance(store, (str, Path)))


def follow_environment() -> PRMCallbackHandler | None:
    """Record every run of this process without a `PRMCallbackHandler` of its own, if ``AGENTPRM_RECORD`` names a store.

    What ``import agentprm.autorecord`` does, once. A store that cannot be opened is logged, and nothing is recorded.
    """
    url = os.environ.get(VARIABLE)
    return _record_process(url) if url else None


@cache
def _record_process(url: str) -> PRMCallbackHandler | None:
    try:
        handler = PRMCallbackHandler(url)
    except AgentPRMError as error:
        _log.error("%s=%s: nothing is recorded: %s", VARIABLE, url, error)
        return None
    _everywhere(f"agentprm_{url}", handler, PRMCallbackHandler)
    return handler


def _everywhere(name: str, handler: BaseCallbackHandler, unless: type[BaseCallbackHandler] | None = None) -> None:
    """Attach a handler to every run of the process: the default of a variable is seen in every thread and task."""
    register_configure_hook(ContextVar(name, default=handler), inheritable=True, handle_class=unless)


_lock = threading.Lock()
_bystander: LangChainRecorder | None = None


def bystander() -> LangChainRecorder:
    """Return the one recorder that watches all runs of this process, and hands them only to those who ask."""
    global _bystander
    with _lock:
        if _bystander is None:
            _bystander = LangChainRecorder(None)
            _everywhere("agentprm_bystander", _bystander)
        return _bystander


def record_this_run(store: Any) -> None:
    """Record the run that this is called in, from its beginning; not twice where an attached handler writes there."""
    manager: Any = ensure_config().get("callbacks")
    run_id = getattr(manager, "parent_run_id", None)
    attached = [h for h in getattr(manager, "handlers", ()) if isinstance(h, PRMCallbackHandler)]
    if run_id is not None and not any(_same(handler.store, store) for handler in attached):
        bystander().claim(run_id, store.write)


def _same(one: Any, other: Any) -> bool:
    if one is other or not (isinstance(one, Store) and isinstance(other, Store)):
        return one is other
    return one.url == other.url and one.url != "sqlite://"  # in memory, which no two stores share
