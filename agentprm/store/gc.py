"""Blobs that nothing refers to any more: found and deleted while others go on writing.

A new generation begins; whoever writes from then on puts or touches in it what he refers to. What the rows refer to is
looked at after that, so what is found nowhere, and was not touched since, is garbage for certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from agentprm.progress import Advance, progress_bar
from agentprm.store import tables as t
from agentprm.store.database import Database
from agentprm.store.filters import chunks
from agentprm.store.long_columns import PICTURES, TEXTS, VALUES, may_be_apart, names_in
from agentprm.store.statements import COLLECTING
from agentprm.store.store import Store
from agentprm.store.unreachable import unreachable

__all__ = ["Collected", "collect", "referred"]

_AT_ONCE = 500
"""Blobs deleted in one transaction: a recorder waits for no longer than that takes."""
_READ_AT_ONCE = 5_000


_DETACHED = """
    SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition
    AND relnamespace = current_schema()::regnamespace AND relname ~ '_p[0-9]{3,}$'"""


class Collected(NamedTuple):
    """What a collection found."""

    blobs: int
    """How many stood there before."""
    garbage: int
    """How many of them nothing referred to."""
    n_bytes: int
    """What those take."""


def collect(
    store: Store | str | Path, *, dry_run: bool = False, vacuum: bool = False, progress: bool | None = None
) -> Collected:
    """Delete the long texts and pictures that no row refers to; with `dry_run` only say how much that is.

    Others may write all the while, and it may be interrupted at any time. The room inside the file is used again;
    `vacuum` gives it back to the disk, which needs as much room once more, and nobody else writing.

    >>> from agentprm.testing.trajectories import episode
    >>> t = episode(("x" * 300, "go"))
    >>> with Store(":memory:") as store:
    ...     n_added, n_deleted = store.add(t), store.delete(t.id)
    ...     collect(store).garbage, collect(store).garbage
    (1, 0)
    """
    if not isinstance(store, Store):
        with Store(store, create=False) as opened:
            return collect(opened, dry_run=dry_run, vacuum=vacuum, progress=progress)
    store.flush()
    database = store._database
    oldest = _generation(database) if dry_run else _begin(database)
    sizes = _sizes(database, oldest)
    n_blobs = len(sizes)
    with progress_bar("looking for garbage", _n_rows(database), progress) as advance:
        for name, _ in referred(database, advance):
            sizes.pop(bytes.fromhex(name), None)
    _spare(sizes, _bases(database))
    garbage = sizes if dry_run else _sweep(database, sizes, oldest, progress)
    if vacuum and not dry_run:
        _vacuum(database)
    return Collected(n_blobs, len(garbage), sum(garbage.values()))


def _generation(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "generation")) or 1)


def _begin(database: Database) -> int:
    """Begin a new generation once every transaction of the present one has ended; return the latter."""
    with database.migrating() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({COLLECTING})")
        is_it = t.meta.c.key == "generation"
        present = int(connection.scalar(sa.select(t.meta.c.value).where(is_it)) or 1)
        connection.execute(sa.update(t.meta).where(is_it).values(value=str(present + 1)))
        return present


def _sizes(database: Database, oldest: int) -> dict[bytes, int]:
    """Return what each blob takes that nobody has touched since."""
    stored = sa.func.length(t.blob.c.data) if database.is_sqlite else sa.func.pg_column_size(t.blob.c.data)
    with database.reading() as connection:
        found = connection.execute(sa.select(t.blob.c.hash, stored).where(t.blob.c.generation <= oldest))
        return {bytes.fromhex(name): size for name, size in found}


def _tables(connection: sa.Connection) -> list[tuple[str, sa.Table]]:
    """Return the tables from which something may stand apart, those of detached parts included, by what they hold."""
    names = sorted({*TEXTS, *VALUES, *PICTURES})
    tables = [(name, t.metadata.tables[name]) for name in names]
    if connection.dialect.name == "postgresql":
        parts = connection.exec_driver_sql(_DETACHED).scalars()
        kinds = [(part.rpartition("_")[0], part) for part in parts]
        aside = sa.MetaData()
        tables += [
            (name, t.metadata.tables[name].to_metadata(aside, name=part)) for name, part in kinds if name in names
        ]
    return tables


def _n_rows(database: Database) -> int:
    with database.reading() as connection:
        counts = [sa.select(sa.func.count()).select_from(table) for _, table in _tables(connection)]
        return sum(int(connection.scalar(count) or 0) for count in counts)


def referred(database: Database, advance: Advance = lambda _step, _remark: None) -> Iterator[tuple[str, str]]:
    """Yield every name that a row refers to, and the table of that row."""
    with database.reading() as connection:
        tables = _tables(connection)
    for name, table in tables:
        keys = list(table.primary_key.columns)
        query = sa.select(table).where(may_be_apart(name, table)).order_by(*keys).limit(_READ_AT_ONCE)
        some = query
        while True:
            with database.reading() as connection:
                rows = connection.execute(some).all()
            yield from ((blob, table.name) for blob in names_in(name, rows))
            advance(len(rows), table.name)
            if len(rows) < _READ_AT_ONCE:
                break
            last = [sa.literal(getattr(rows[-1], key.name), key.type) for key in keys]
            some = query.where(sa.tuple_(*keys) > sa.tuple_(*last))


def _bases(database: Database) -> dict[bytes, bytes]:
    """Return what each blob stands behind, of those that stand behind another."""
    with database.reading() as connection:
        found = connection.execute(sa.select(t.blob.c.hash, t.blob.c.base).where(t.blob.c.base.is_not(None)))
        return {bytes.fromhex(name): bytes.fromhex(base) for name, base in found}


def _spare(sizes: dict[bytes, int], bases: dict[bytes, bytes]) -> None:
    """Take out of `sizes` what something that stays stands behind."""
    for name in bases:
        while name not in sizes and name in bases:
            name = bases[name]
            if sizes.pop(name, None) is None:
                break


def _sweep(database: Database, sizes: dict[bytes, int], oldest: int, progress: bool | None) -> dict[bytes, int]:
    """Delete blobs, those first that no other stands behind; return which."""
    gone: dict[bytes, int] = {}
    left = dict(sizes)
    with progress_bar("deleting", len(sizes), progress) as advance:
        while True:
            deleted = [name for some in chunks(list(left), _AT_ONCE) for name in _delete(database, some, oldest)]
            gone |= {name: left.pop(name) for name in deleted}
            advance(len(deleted), "blobs")
            if not deleted:
                return gone


def _delete(database: Database, names: Sequence[bytes], oldest: int) -> list[bytes]:
    behind = t.blob.alias("behind")
    leads_nowhere = ~sa.exists(sa.select(behind.c.hash).where(behind.c.base == t.blob.c.hash))
    wanted = t.blob.c.hash.in_([name.hex() for name in names])
    delete = sa.delete(t.blob).where(wanted, t.blob.c.generation <= oldest, leads_nowhere).returning(t.blob.c.hash)
    with database.migrating() as connection:
        return [bytes.fromhex(name) for name in connection.scalars(delete)]


def _vacuum(database: Database) -> None:
    try:
        if database.is_sqlite:
            with closing(database.engine.raw_connection()) as connection:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM blob")
    except Exception as error:
        raise unreachable(database, error) from error
