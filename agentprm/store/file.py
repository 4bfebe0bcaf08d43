"""The file of a SQLite store: whether it may be written, and whether it is still the same one."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import TypeAlias

from sqlalchemy.engine import URL

__all__ = ["DatabaseFile", "identity"]

_Journal: TypeAlias = tuple[tuple[int, int] | None, ...]
_log = logging.getLogger("agentprm.store")


def identity(path: Path | str) -> tuple[int, int] | None:
    """Return what tells a file from another that was put in its place; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class DatabaseFile:
    """The file of a SQLite store."""

    def __init__(self, url: URL) -> None:
        self.path, self._name = Path(str(url.database)), str(url.database)
        self.is_read_only = self.path.is_file() and not all(
            os.access(place, os.W_OK) for place in (self.path, self.path.parent)
        )
        self._known = identity(self.path)
        self._journal: _Journal | None = None

    def address(self, url: URL) -> URL:
        """Return the URL to connect to: of a read-only file, one that needs no journal to be made."""
        if not self.is_read_only:
            return url
        query = {"mode": "ro", "uri": "true"}
        if not os.access(self.path.parent, os.W_OK) and not self._has_journal():
            query["immutable"] = "1"
        return url.set(database=self.path.as_uri()).update_query_dict(query)

    def _has_journal(self) -> bool:
        journal = Path(f"{self.path}-wal")
        return journal.exists() and journal.stat().st_size > 0

    def is_another(self) -> bool:
        """Tell whether the file that was opened is gone, or no longer the one at its path."""
        now = identity(self._name)
        if self._known is None:
            self._known = now
        return now != self._known

    def note_journal(self) -> None:
        """Remember the journal that has just been written to, unless it is known."""
        if self._journal is None:
            now = self._journal_now()
            self._journal = None if None in now else now

    def has_lost_journal(self) -> bool:
        """Tell whether the journal that was last written to is gone, so that what is written goes nowhere."""
        return self._journal is not None and self._journal != self._journal_now()

    def forget_journal(self) -> None:
        """Forget the journal: its connection is given up."""
        self._journal = None

    def say_lost_journal(self) -> bool:
        """Say that the journal is gone; tell whether this process alone still has it, and may save it."""
        known, (now, _) = self._journal, self._journal_now()
        is_ours_alone = now is None
        is_there = known is not None and now == known[0]
        kept = (
            "what it held is kept"
            if is_ours_alone or is_there
            else "another program made a new one, and rows may be lost"
        )
        _log.error(
            "%s-wal or -shm was deleted while this process was recording; %s: leave both to SQLite, and copy a store "
            "with `agentprm merge %s COPY`", self._name, kept, self._name,
        )  # fmt: skip
        return is_ours_alone

    def _journal_now(self) -> _Journal:
        return tuple(identity(self._name + end) for end in ("-wal", "-shm"))

    def meet(self) -> None:
        """Accept the file that stands there now; raises OperationalError if there is none."""
        now = identity(self.path)
        if now is None:
            raise sqlite3.OperationalError("the file was deleted or moved away while this process was recording")
        _log.error("another file was put at %s: what was recorded into the former is not in it", self.path)
        self._known = now
