"""The store: trajectories and scores in, trajectories and scores out."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from agentprm.errors import InvalidTrajectory, NoSuchTrajectory, StoreClosed, StoreError
from agentprm.store import migrate, reader, tables
from agentprm.store.admission import admitted
from agentprm.store.completion import read_completed
from agentprm.store.encode import microseconds
from agentprm.store.filters import chunks, require_filters, several
from agentprm.store.forget import forget
from agentprm.store.opened import close_database, open_database
from agentprm.store.reader import Rewards
from agentprm.store.redact import Redact, Redactor
from agentprm.store.rows import Rows
from agentprm.store.url import plain_url, redaction_in
from agentprm.store.writer import Durability, Writer
from agentprm.types import Event, Scores, Spec, Trajectory, utc_now
from agentprm.values import clean_text

__all__ = ["Store"]


class Store:
    """Trajectories and, aligned with them, scores, in SQL.

    `url` is a file's path or a SQLAlchemy URL (SQLite, PostgreSQL); ``:memory:`` keeps nothing. A new database gets its
    schema, an older one is upgraded if `migrate`, a newer one is refused. `durability` says what a killed process may
    lose: ``step`` nothing, ``group`` at most 1,000 steps or 50 ms, ``episode`` the open episodes; by default ``step``
    on SQLite and ``group`` on PostgreSQL. Stores of one URL share one engine; a store pickles to its URL.

    `redact` is a function of a text, or ``"module:function"``, which may also stand in the URL (``?redact=``): what it
    returns is stored instead, wherever a text stands. What it fails on is stored as a note that says so and counted in
    `degraded`; `add` refuses it.

    Raises StoreError (NotOurDatabase, NewerDatabase, OutdatedDatabase) when the database cannot be used.

    >>> from agentprm.types import Action, Ending, Observation, Step, Task, Trajectory, new_id
    >>> store = Store(":memory:")
    >>> step = Step(Observation("a door"), Action("open"), reward=1.0)
    >>> done = Ending("terminated", terminated=True, outcome=1.0)
    >>> store.add(Trajectory(new_id(), Task("leave"), (step,), Observation("a garden"), done))
    1
    >>> [t.outcome for t in store.trajectories(task=Task("leave").key)]
    [1.0]
    >>> store.close()
    """

    def __init__(
        self,
        url: str | Path,
        *,
        durability: Durability | None = None,
        redact: Redact | None = None,
        migrate: bool = True,
        create: bool = True,
    ) -> None:
        redact = redaction_in(url) if redact is None else redact
        redactor = None if redact is None else Redactor(redact)
        self._database = open_database(url, create=create)
        try:
            self._prepare(migrate, create)
            durability = durability or ("step" if self._database.is_sqlite else "group")
            self._writer = Writer(self._database, durability, redactor)
            self._writer.settle()
        except BaseException:
            close_database(self._database)
            raise
        self._closed = False
        _stores.add(self)
        _writers.add(self._writer)

    def _prepare(self, allow: bool, create: bool) -> None:
        migrate.ensure(self._database, allow=allow, create=create)

    @property
    def url(self) -> str:
        """Where the rows lie, without a password."""
        return plain_url(self._database.url)

    @property
    def durability(self) -> Durability:
        """What a killed process may lose."""
        return self._writer.durability

    @property
    def dropped(self) -> int:
        """Steps that could not be kept, in this store's life."""
        return self._writer.dropped

    @property
    def degraded(self) -> int:
        """Values that had no exact form and were kept as their text, or as a note, in this store's life."""
        redactor = self._writer.redactor
        return self._writer.encoder.degraded + (0 if redactor is None else redactor.failed + redactor.degraded)

    @property
    def redact(self) -> Redact | None:
        """What is applied to every text, by its name where it has one."""
        return None if self._writer.redactor is None else self._writer.redactor.form

    @property
    def spooled(self) -> int:
        """Steps that wait in the spool for the database to be back, of this process and of others."""
        return self._writer.spooled

    def write(self, event: Event) -> None:
        """Record one event: a Sink. It never raises and never refuses; see `dropped` and `degraded`."""
        self._writer.write(event)

    def add(self, items: Trajectory | Scores | Iterable[Trajectory | Scores]) -> int:
        """Store trajectories and scores, all or none; return how many were new.

        What is there already is left as it is; a trajectory that was stored running gets its ending. Raises
        InvalidTrajectory for another trajectory under a known id or a value without an exact form, NoSuchTrajectory
        and InvalidScores for scores that fit no stored trajectory, or not their recipe's earlier unit and sight.
        """
        items = [items] if isinstance(items, (Trajectory, Scores)) else list(items)
        self._usable().flush()
        rows, n_new = admitted(self._database, items, self._writer.encoder.blobs, self._again())
        self._writer.add(rows)
        return n_new

    def trajectories(
        self,
        *,
        id: UUID | Iterable[UUID] | None = None,
        external_id: str | Iterable[str] | None = None,
        task: str | Iterable[str] | None = None,
        policy: str | Iterable[str] | None = None,
        env: str | Iterable[str] | None = None,
        group: str | Iterable[str] | None = None,
        seed: int | Iterable[int] | None = None,
        status: str | Iterable[str] | None = None,
        parent: UUID | Iterable[UUID] | None = None,
        ended: bool | None = None,
        outcome: tuple[float, float] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        without: Spec | None = None,
        limit: int | None = None,
    ) -> Iterator[Trajectory]:
        """Yield trajectories, oldest first, running and abandoned ones included; every filter given must hold.

        `task` is a task's key; `outcome` a closed interval for the latest opinion; `without` a scorer that has not
        scored it yet. One that accepts a single value accepts several.
        """
        filters = {name: value for name, value in locals().items() if name != "self"}
        self._usable().settle()
        filters |= {name: self._redacted(filters[name]) for name in _NAMES if filters[name] is not None}
        return reader.read_trajectories(self._database, **filters)

    def completed(self, after: int = 0, *, follow: bool = False, **filters: Any) -> Iterator[tuple[int, Trajectory]]:
        """Yield ended trajectories in the order in which they ended up in the store, each with its place in that order.

        Whoever goes on with `after=` the last place seen misses none and sees none twice, however late a recorder
        elsewhere commits: online training and scoring read this way. `follow` waits for more instead of ending. The
        filters are those of `trajectories` but `id` and `limit`. Raises StoreError when a place cannot be given.

        >>> from agentprm.testing.trajectories import corridors
        >>> with Store(":memory:") as store:
        ...     n_added = store.add(corridors(3))
        ...     first, *_ = store.completed()
        ...     [place for place, _ in store.completed(after=first[0])]
        [2, 3]
        """
        require_filters(filters, {"id", "limit"})
        self._usable().settle()
        return read_completed(self._database, after, follow, filters)

    def scores(
        self,
        trajectory: UUID | Iterable[UUID] | None = None,
        *,
        source: Spec | str | None = None,
        unit: str | None = None,
    ) -> Iterator[Scores]:
        """Yield scores, one `Scores` per scorer version and trajectory; `source` is a spec or a scorer's name."""
        self._usable().settle()
        wanted: list[sa.ColumnElement[bool]] = []
        if isinstance(source, Spec):
            wanted.append(tables.scorer.c.digest == source.digest)
        elif source is not None:
            wanted.append(tables.scorer.c.name == source)
        if unit is not None:
            wanted.append(tables.scorer.c.unit == unit)
        return reader.read_scores(self._database, trajectory, wanted)

    def rewards(self, id: UUID, scorer: Spec | None = None) -> Rewards:
        """Return the three rewards of a trajectory side by side: what the world, the model and the learner's pay said.

        The score is that of `scorer`, else of the one that the shaping recipe names. Raises NoSuchTrajectory.
        """
        self._usable().settle()
        return reader.read_rewards(self._database, id, scorer)

    def set_outcome(
        self, value: float, *, id: UUID | None = None, external_id: str | None = None, source: str = "user"
    ) -> None:
        """Say how an episode went, in [0, 1], now or later; the latest opinion counts, the earlier ones stay.

        Raises NoSuchTrajectory, InvalidTrajectory for a value outside [0, 1].
        """
        if not 0.0 <= value <= 1.0:
            raise InvalidTrajectory(f"an outcome lies in [0, 1], not at {value!r}")
        if (id is None) == (external_id is None):
            raise InvalidTrajectory("say which trajectory: give either id= or external_id=")
        given, opinion = tables.trajectory.c, tables.outcome.c
        which = given.external_id.in_(map(clean_text, self._redacted(external_id))) if external_id else given.id == id
        latest = sa.select(sa.func.max(opinion.at)).where(opinion.trajectory_id == given.id).scalar_subquery()
        self._usable().flush()
        with self._database.reading() as connection:
            found = connection.execute(sa.select(given.id, latest).where(which)).all()
        if not found:
            raise NoSuchTrajectory(f"the store holds no trajectory {id or f'with the external id {external_id!r}'}")
        rows, now = Rows(), microseconds(utc_now())
        for key, before in found:
            # The latest opinion counts, also beside one whose clock was ahead.
            at = now if before is None else max(now, before + 1)
            self._writer.encoder.outcome(key, self._redacted(source)[0], float(value), at, rows)
        self._writer.add(rows)

    def delete(self, *ids: UUID) -> int:
        """Forget trajectories with all that belongs to them; return how many there were."""
        self._usable().flush()
        with self._database.migrating() as connection:
            return sum(forget(connection, chunk) for chunk in chunks(ids))

    def flush(self) -> None:
        """Return when everything is in the database, also what lay in the spool.

        Raises StoreError when the database refuses; the message says how many steps lie in the spool, and where.
        """
        self._usable().flush()

    def close(self) -> None:
        """Flush and let go; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._writer.close()
            close_database(self._database)

    def connection(self) -> Any:
        """Return a context manager giving a SQLAlchemy connection, for reading with SQL of your own.

        The views ``v_trajectory``, ``v_step``, ``v_tool_call`` and ``v_score`` have names and readable ids. Raises
        StoreError for a damaged file or a server that went away, and what SQLAlchemy says of the statement.
        """
        self._usable().settle()
        return self._database.asking()

    def _again(self) -> Redactor | None:
        """Return a redactor whose counts begin anew."""
        return None if self._writer.redactor is None else Redactor(self._writer.redactor.form)

    def _redacted(self, names: str | Iterable[str]) -> list[str]:
        """Return names as they are stored."""
        redactor = self._writer.redactor
        return [name if redactor is None else redactor.text(name) for name in several(names)]

    def _usable(self) -> Writer:
        if self._closed:
            raise StoreClosed(f"the store {self.url} is closed: open it again with Store({self.url!r})")
        return self._writer

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.url!r}, durability={self.durability!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._database.is_memory:
            raise StoreError("a store in memory cannot leave its process: use a file")
        return _reopen, (self._database.url.render_as_string(hide_password=False), self.durability, self.redact)


def _reopen(url: str, durability: Durability, redact: Redact | None = None) -> Store:
    return Store(url, durability=durability, redact=redact)


_NAMES = ("external_id", "task", "policy", "env", "group")
"""Filters that name what was recorded as text."""


_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
"""Those with rows waiting outlive a store that nobody closed."""


@atexit.register
def _close_all() -> None:
    for store in list(_stores):
        store.close()
    for writer in list(_writers):
        writer.close()


def _after_fork() -> None:
    for writer in list(_writers):
        writer.abandon()


os.register_at_fork(after_in_child=_after_fork)
