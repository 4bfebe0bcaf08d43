"""The tree of what agentprm raises.

Each error is also a standard-library type, so that existing ``except`` clauses keep working, and each message names
both sides (what was given, what was expected) and the way out::

    AgentPRMError
    ├── InvalidTrajectory (ValueError)      a step, an ending or an order of events that cannot be
    ├── InvalidScores     (ValueError)      numbers that do not fit their trajectory, or are not numbers
    ├── InvalidSpec       (ValueError)      a recipe that cannot be read, or cannot be remade
    ├── UnknownName       (LookupError)     a scorer, label method or shape that nobody registered
    ├── SightError        (TypeError)       a scorer that sees too much for the place it was given to
    ├── UnitError         (ValueError)      a number whose unit does not fit what is asked of it
    ├── MissingText       (ValueError)      an environment or step without words for a model that reads words
    ├── MissingExtra      (ImportError)     an optional dependency that is not installed
    ├── StoreError        (RuntimeError)    the database said no
    │   ├── DamagedDatabase                 a file that something else has written into, or cut short
    │   ├── NotOurDatabase                  a file or schema that is something else
    │   ├── NewerDatabase                   written by a newer agentprm
    │   ├── OutdatedDatabase                needs an upgrade that was not allowed here
    │   ├── NotAllowed                      a login that lacks the role for it
    │   └── StoreClosed                     used after close()
    ├── ReplayDiverged    (RuntimeError)    a world that is not the same the second time
    ├── NoSuchTrajectory  (LookupError)     an id that the store does not hold
    ├── TrainingError     (ValueError)      data that nothing can be learned from
    ├── TokenMismatch     (ValueError)      a model about to read other tokens than those it was trained on
    ├── RemoteError       (RuntimeError)    a server that was asked for scores, and gave none
    │   ├── Unreachable   (ConnectionError) it was away, too busy or too slow, at every try
    │   ├── BadAnswer     (ValueError)      it answered with something that is no scores
    │   └── ModelChanged  (RuntimeError)    it serves another model than the one that was recorded
    ├── InvalidFormat     (ValueError)      a file that is not what it is read as; names file, line and field
    └── OneWayFormat      (TypeError)       a format that is only read, or only written
"""

__all__ = [
    "AgentPRMError",
    "BadAnswer",
    "DamagedDatabase",
    "InvalidFormat",
    "InvalidScores",
    "InvalidSpec",
    "InvalidTrajectory",
    "MissingExtra",
    "MissingText",
    "ModelChanged",
    "NewerDatabase",
    "NoSuchTrajectory",
    "NotAllowed",
    "NotOurDatabase",
    "OneWayFormat",
    "OutdatedDatabase",
    "RemoteError",
    "ReplayDiverged",
    "SightError",
    "StoreClosed",
    "StoreError",
    "TokenMismatch",
    "TrainingError",
    "UnitError",
    "UnknownName",
    "Unreachable",
]


class AgentPRMError(Exception):
    """The root of everything this library raises on purpose."""


class InvalidTrajectory(AgentPRMError, ValueError):
    """A step, an ending or an order of events that cannot be."""


class InvalidScores(AgentPRMError, ValueError):
    """Numbers that do not fit their trajectory, or are not numbers."""


class InvalidSpec(AgentPRMError, ValueError):
    """A recipe that cannot be read, or from which nothing can be remade."""


class UnknownName(AgentPRMError, LookupError):
    """A name that nobody registered; the message lists the names there are."""


class SightError(AgentPRMError, TypeError):
    """A scorer that sees further than the place it was given to allows."""


class UnitError(AgentPRMError, ValueError):
    """A number whose unit does not fit what is asked of it."""


class MissingText(AgentPRMError, ValueError):
    """Something without words, given to a model that reads words."""


class MissingExtra(AgentPRMError, ImportError):
    """An optional dependency that is not installed.

    >>> str(MissingExtra("models", "torch"))
    "this needs torch, which is not installed: pip install 'agentprm[models]'"
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"this needs {package}, which is not installed: pip install 'agentprm[{extra}]'")
        self.extra, self.package = extra, package

    def __reduce__(self) -> tuple[type["MissingExtra"], tuple[str, str]]:
        return type(self), (self.extra, self.package)


class StoreError(AgentPRMError, RuntimeError):
    """The database said no."""


class NotOurDatabase(StoreError):
    """A file or schema that is something else than an agentprm store."""


class DamagedDatabase(StoreError):
    """A store that something else has written into, or that was cut short; the message says how to salvage it."""


class NewerDatabase(StoreError):
    """A store written by a newer agentprm than this one."""


class OutdatedDatabase(StoreError):
    """A store that needs an upgrade, opened where upgrading was not allowed."""


class NotAllowed(StoreError):
    """Something that the login of this URL has no permission for."""


class StoreClosed(StoreError):
    """A store used after ``close()``."""


class NoSuchTrajectory(AgentPRMError, LookupError):
    """An id that the store does not hold."""


class ReplayDiverged(AgentPRMError, RuntimeError):
    """A replayed episode that is not the recorded one; the message names the step where they part."""


class TrainingError(AgentPRMError, ValueError):
    """Data that nothing can be learned from."""


class TokenMismatch(AgentPRMError, ValueError):
    """A model about to read other tokens than those it was trained on."""


class RemoteError(AgentPRMError, RuntimeError):
    """A server that was asked for scores, and gave none; the message says what it said instead."""


class Unreachable(RemoteError, ConnectionError):
    """A server that was away, too busy or too slow, at every try."""


class BadAnswer(RemoteError, ValueError):
    """An answer that is no scores: another shape, another count, or numbers that cannot be."""


class ModelChanged(RemoteError):
    """A server that serves another model than the one that was recorded."""


class InvalidFormat(AgentPRMError, ValueError):
    """A file that is not what it is read as; `file`, `line` (from 1) and `field` say where.

    >>> str(InvalidFormat("expected a text, not 3", "runs.jsonl", 2, "messages[0].role"))
    'runs.jsonl, line 2, messages[0].role: expected a text, not 3'
    """

    def __init__(self, message: str, file: str | None = None, line: int | None = None, field: str = "") -> None:
        places = (file, f"line {line}" if line else None, field)
        where = ", ".join(place for place in places if place)
        super().__init__(f"{where}: {message}" if where else message)
        self.message, self.file, self.line, self.field = message, file, line, field

    def __reduce__(self) -> tuple[type["InvalidFormat"], tuple[str, str | None, int | None, str]]:
        return type(self), (self.message, self.file, self.line, self.field)


class OneWayFormat(AgentPRMError, TypeError):
    """A format that is only read, or only written; the message says which go the other way."""
