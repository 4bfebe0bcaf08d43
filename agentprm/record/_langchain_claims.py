"""Events of a root run for those who ask for them while it runs; the events of a run that nobody asks for are lost."""

from __future__ import annotations

from agentprm.record._langchain_failures import Failures
from agentprm.types import Event, Sink

__all__ = ["Claims"]

_MOST_KEPT = 10_000


class Claims:
    """The events of one root run.

    >>> from agentprm.types import Ended, Ending, new_id
    >>> claims, told = Claims(Failures()), []
    >>> claims(Ended(new_id(), Ending("completed")))
    >>> claims.claim(told.append)
    >>> len(told)
    1
    """

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._events: list[Event] = []
        self._sinks: list[Sink] = []

    def __call__(self, event: Event) -> None:
        """Take one event in."""
        if self._sinks or len(self._events) < _MOST_KEPT:
            self._events.append(event)
        for sink in self._sinks:
            self._failures.attempt("record", sink, event)

    def claim(self, sink: Sink) -> None:
        """Hand it everything so far, and all that will follow; a second time does nothing."""
        if sink not in self._sinks:
            self._sinks.append(sink)
            for event in self._events:
                self._failures.attempt("record", sink, event)
