"""A large store on PostgreSQL in parts: by time, which trajectory ids carry, so that old parts can be taken away."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from agentprm.errors import StoreError
from agentprm.progress import progress_bar
from agentprm.store.database import Database
from agentprm.store.replace_table import replace_table, without_views

__all__ = ["PARTED", "Part", "detach", "is_part", "partition", "parts", "require_server"]

PARTED = ("step", "content", "tool_call", "score", "score_note")
"""The tables that grow with every step. Their keys all hold the trajectory's id, and so does each part's."""
_HEADS = ("trajectory", "outcome", "label")
"""Tables of one row or few per episode: whole, until a part is taken away."""
_DAY_MS = 86_400_000
_FIRST_SPAN_MS = 30 * _DAY_MS
_NAME = re.compile(r"^(.+)_(p\d{3,}|rest)$")
_BOUND = re.compile(r"FROM \((?:'([0-9a-f-]+)'|MINVALUE)\) TO \('([0-9a-f-]+)'\)")


class Part(NamedTuple):
    """One part: the trajectories whose ids lie in [`first`, `after`)."""

    name: str
    """`p001`, `p002` …: the tables are `step_p001`, `content_p001` …"""
    first: UUID
    after: UUID
    steps: int
    """How many steps it holds, as PostgreSQL estimates."""

    @property
    def begins(self) -> datetime | None:
        """When its first trajectory may have begun; None for the oldest part."""
        return None if self.first == UUID(int=0) else _time(self.first)

    @property
    def ends(self) -> datetime:
        """When the next part begins."""
        return _time(self.after)

    @property
    def is_over(self) -> bool:
        """Whether nothing that begins now goes into it."""
        return self.after <= _moment(_now_ms())


def is_part(table: str) -> bool:
    """Tell whether a table is a part of another, or was.

    >>> is_part("step_p001"), is_part("step")
    (True, False)
    """
    found = _NAME.match(table)
    return found is not None and found[1] in (*PARTED, *_HEADS)


def parts(database: Database) -> list[Part]:
    """Return the parts of a store, the oldest first; none where it is whole. Raises StoreError for SQLite."""
    require_server(database)
    with database.reading() as connection:
        return _parts(connection)


def partition(
    database: Database, *, steps: int = 50_000_000, ahead: int = 3, progress: bool | None = None
) -> list[Part]:
    """Put a store into parts of about so many `steps` each, or make more parts for what is to come; return them all.

    The first time, everything is copied into its part, in one transaction that keeps others out: recorders spool
    meanwhile. Later, parts are added until `ahead` of them lie wholly in the future, each as long as so many steps took
    lately; what came when no part was made for it is put there. Raises StoreError for SQLite, and where a view outside
    the schema or a foreign key of somebody else's hangs on a table.
    """
    require_server(database)
    if steps < 1 or ahead < 1:
        raise StoreError(f"parts of {steps} steps, {ahead} ahead: both are at least 1")
    with database.migrating() as connection:
        if _is_whole(connection):
            _convert(connection, steps, progress)
        _extend(connection, steps, ahead)
        return _parts(connection)


def detach(database: Database, name: str) -> list[str]:
    """Take a part out of the store, episodes included; return the tables in which it lies now, to be kept or dropped.

    Raises StoreError for SQLite, for a part that there is not, and for one that still grows.
    """
    require_server(database)
    with database.migrating() as connection:
        known = {part.name: part for part in _parts(connection)}
        if name not in known:
            raise StoreError(f"there is no part {name!r}: there are {', '.join(known) or 'none'}")
        part = known[name]
        if not part.is_over:
            raise StoreError(f"{name} still grows: what begins now goes into it, or will")
        for table in PARTED:
            connection.exec_driver_sql(f"ALTER TABLE {table} DETACH PARTITION {table}_{name}")
            _let_go(connection, f"{table}_{name}")
        for table in _HEADS:
            _put_aside(connection, table, part)
        for table in ("episode_score", "action_score"):  # added up anew, where they go
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE {_within('trajectory_id', part.first, part.after)}")
        connection.exec_driver_sql(f"DELETE FROM trajectory WHERE {_within('id', part.first, part.after)}")
    return [f"{table}_{name}" for table in (*_HEADS, *PARTED)]


def require_server(database: Database) -> None:
    """Raise StoreError for a database that has no parts."""
    if database.is_sqlite:
        raise StoreError("SQLite keeps each table in one piece: merge into a PostgreSQL (`agentprm merge`) for parts")


# The first time.


def _is_whole(connection: sa.Connection) -> bool:
    query = "SELECT relkind <> 'p' FROM pg_class WHERE oid = 'step'::regclass"
    return bool(connection.exec_driver_sql(query).scalar_one())


def _convert(connection: sa.Connection, steps: int, progress: bool | None) -> None:
    connection.exec_driver_sql("LOCK TABLE trajectory IN SHARE ROW EXCLUSIVE MODE")
    connection.exec_driver_sql(f"LOCK TABLE {', '.join(PARTED)} IN ACCESS EXCLUSIVE MODE")
    bounds = [*_bounds(connection, steps), _moment(_now_ms() + _span_ms(connection, steps))]
    firsts: list[UUID | None] = [None, *bounds[:-1]]
    ranges = [(f"p{i:03}", first, after) for i, (first, after) in enumerate(zip(firsts, bounds, strict=True), 1)]
    with without_views(connection), progress_bar("partitioning", len(PARTED), progress) as advance:
        for table in PARTED:
            replace_table(connection, table, "PARTITION BY RANGE (trajectory_id)", _pieces(table, ranges))
            advance(1, table)
    for table in PARTED:
        connection.exec_driver_sql(f"ANALYZE {table}")


def _pieces(table: str, ranges: Sequence[tuple[str, UUID | None, UUID]]) -> Iterator[str]:
    for name, first, after in ranges:
        low = "MINVALUE" if first is None else f"'{first}'"
        yield f"CREATE TABLE {table}_{name} PARTITION OF {table} FOR VALUES FROM ({low}) TO ('{after}')"
    yield f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT"


def _bounds(connection: sa.Connection, steps: int) -> list[UUID]:
    """Return the trajectories with which a further part begins, so that each has about so many steps."""
    query = """
        SELECT (array_agg(trajectory_id ORDER BY trajectory_id))[1] FROM (
            SELECT trajectory_id, (sum(n) OVER (ORDER BY trajectory_id) - n)::bigint / {steps} AS block
            FROM (SELECT trajectory_id, count(*) AS n FROM step WHERE trajectory_id < '{now}' GROUP BY 1) AS counted
        ) AS blocks GROUP BY block ORDER BY block OFFSET 1"""
    return list(connection.exec_driver_sql(query.format(steps=steps, now=_moment(_now_ms()))).scalars())


# Every time.


def _extend(connection: sa.Connection, steps: int, ahead: int) -> None:
    known = _parts(connection)
    span = _span_ms(connection, steps)
    now = _moment(_now_ms())
    after = known[-1].after
    number = int(known[-1].name[1:])
    n_ahead = sum(part.first > now for part in known)
    while n_ahead < ahead:
        number, first = number + 1, after
        after = _moment(_milliseconds(first) + span)
        for table in PARTED:
            _add(connection, table, f"p{number:03}", first, after)
        n_ahead += first > now


def _add(connection: sa.Connection, table: str, name: str, first: UUID, after: UUID) -> None:
    """Make a part, with what came for it when it was not there."""
    taken = f"DELETE FROM {table}_rest WHERE {_within('trajectory_id', first, after)} RETURNING *"
    for sql in (
        f"CREATE TABLE {table}_{name} (LIKE {table} INCLUDING DEFAULTS INCLUDING COMMENTS)",
        f"WITH taken AS ({taken}) INSERT INTO {table}_{name} SELECT * FROM taken",
        f"ALTER TABLE {table} ATTACH PARTITION {table}_{name} FOR VALUES FROM ('{first}') TO ('{after}')",
    ):
        connection.exec_driver_sql(sql)


def _parts(connection: sa.Connection) -> list[Part]:
    query = """
        SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), greatest(c.reltuples, 0)::bigint
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'step'::regclass"""
    found = []
    for table, bound, estimate in connection.exec_driver_sql(query):
        if match := _BOUND.search(bound):
            first = UUID(match[1]) if match[1] else UUID(int=0)
            found.append(Part(table.removeprefix("step_"), first, UUID(match[2]), estimate))
    return sorted(found, key=lambda part: part.first)


def _span_ms(connection: sa.Connection, steps: int) -> int:
    """Return how long so many steps take, at the pace of the last month that had any; a day at least."""
    lately = f"WHERE id < '{_moment(_now_ms())}' AND id >= '{_moment(_now_ms() - _FIRST_SPAN_MS)}'"
    query = f"SELECT id FROM trajectory {lately} ORDER BY id LIMIT 1"
    first = connection.exec_driver_sql(query).scalar()
    if first is None:
        return _FIRST_SPAN_MS
    counted = f"SELECT count(*) FROM step WHERE trajectory_id >= '{first}' AND trajectory_id < '{_moment(_now_ms())}'"
    n = connection.exec_driver_sql(counted).scalar_one()
    elapsed = max(_now_ms() - _milliseconds(first), 1)
    return int(min(max(math.ceil(elapsed * steps / max(n, 1)), _DAY_MS), 366 * _DAY_MS))


# Taking away.


def _let_go(connection: sa.Connection, table: str) -> None:
    """Drop the foreign keys of what is no part any more: deleting an episode would empty it."""
    query = f"SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'f'"
    for name in connection.exec_driver_sql(query).scalars().all():
        connection.exec_driver_sql(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')


def _put_aside(connection: sa.Connection, table: str, part: Part) -> None:
    key = "id" if table == "trajectory" else "trajectory_id"
    theirs = _within(key, part.first, part.after)
    connection.exec_driver_sql(f"CREATE TABLE {table}_{part.name} (LIKE {table} INCLUDING DEFAULTS)")
    connection.exec_driver_sql(f"INSERT INTO {table}_{part.name} SELECT * FROM {table} WHERE {theirs}")


def _within(key: str, first: UUID, after: UUID) -> str:
    return f"{key} >= '{first}' AND {key} < '{after}'"


# Ids and times.


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _moment(milliseconds: int) -> UUID:
    """Return the smallest id of a trajectory that begins at a moment: UUIDv7 begins with the time (RFC 9562)."""
    return UUID(int=milliseconds << 80)


def _time(key: UUID) -> datetime:
    return datetime.fromtimestamp(_milliseconds(key) / 1_000, UTC)


def _milliseconds(key: UUID) -> int:
    return key.int >> 80
