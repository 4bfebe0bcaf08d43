"""What went wrong where nobody may be told by an exception: counted, and logged once per kind."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["Failures"]

_log = logging.getLogger("agentprm.record.langchain")
T = TypeVar("T")


class Failures:
    """Counts by kind.

    >>> failures = Failures()
    >>> failures.attempt("score", abs, -1)
    1
    >>> failures.counts
    {}
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each kind went wrong."""
        with self._lock:
            return dict(self._counts)

    def attempt(self, kind: str, function: Callable[..., T], *args: Any) -> T | None:
        """Return what the function returns, None if it raised."""
        try:
            return function(*args)
        except Exception as error:
            self.note(kind, error)
            return None

    def note(self, kind: str, error: BaseException) -> None:
        """Count what went wrong, and log the first of its kind."""
        with self._lock:
            self._counts[kind] += 1
            is_first = self._counts[kind] == 1
        if is_first:
            _log.warning("%s lost while watching an agent; further ones are only counted", kind, exc_info=error)
