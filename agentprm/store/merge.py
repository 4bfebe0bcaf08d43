"""Stores that become one: record on laptops, merge into the team's database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from agentprm.errors import StoreError
from agentprm.progress import progress_bar
from agentprm.store import tables as t
from agentprm.store.database import Database
from agentprm.store.encode import Encoder
from agentprm.store.fetch import fetch
from agentprm.store.filters import chunks
from agentprm.store.long_columns import apart, names_in
from agentprm.store.redact import Redactor
from agentprm.store.redacted_rows import redacted_noun, redacted_rows
from agentprm.store.rows import Noun, Rows
from agentprm.store.statements import COLUMNS, NOUNS, Statements
from agentprm.store.store import Store

__all__ = ["Merged", "merge", "of"]

_CHUNK = 200
"""Trajectories in one transaction."""
_COUNTED = ("trajectory", "step", "score", "outcome", "label")


class Merged(NamedTuple):
    """How many rows a merge found that its target did not hold."""

    trajectories: int
    steps: int
    scores: int
    outcomes: int
    labels: int


def merge(sources: Iterable[Store | str | Path], target: Store | str | Path, *, progress: bool | None = None) -> Merged:
    """Add what other stores hold to `target`, made if it is not there; return how much of it was new.

    Ids are the same everywhere, so nothing is renumbered, merging twice adds nothing, and what was interrupted may
    simply be begun again. Trajectories come with their scores, outcomes, labels and pictures, scorers with their
    dates; one that was merged while it ran gets its later steps and its ending. `progress` draws a bar, by default
    on a terminal.

    Raises StoreError when a store cannot be used, or is merged into itself.

    >>> from agentprm.testing.trajectories import corridors
    >>> with Store(":memory:") as laptop, Store(":memory:") as team:
    ...     n_added = laptop.add(corridors(3))
    ...     merge([laptop], team).trajectories, merge([laptop], team).trajectories
    (3, 0)
    """
    with ExitStack() as stack:
        opened = [_opened(stack, form, create=False) for form in sources]
        into = _opened(stack, target, create=True)  # last: a source that is not there leaves no empty target behind
        if any(source._database is into._database for source in opened):
            raise StoreError(f"{into.url} cannot be merged into itself: name another target")
        ids = [(source, _ids(source)) for source in opened]
        new = [0] * len(_COUNTED)
        with progress_bar("merging", sum(len(found) for _, found in ids), progress) as advance:
            for source, found in ids:
                _bring_scorers(source, into._database)
                for chunk in chunks(found, _CHUNK):
                    new = [a + b for a, b in zip(new, _bring(source, into, chunk), strict=True)]
                    advance(len(chunk), source.url)
        return Merged(*new)


def _opened(stack: ExitStack, form: Store | str | Path, *, create: bool) -> Store:
    return form if isinstance(form, Store) else stack.enter_context(Store(form, create=create))


def _ids(store: Store) -> list[UUID]:
    with store.connection() as connection:
        return list(connection.scalars(sa.select(t.trajectory.c.id).order_by(t.trajectory.c.id)))


def _bring_scorers(source: Store, target: Database) -> None:
    """Make the scorers' rows in the order in which they came about, with their dates."""
    columns = [t.scorer.c[name] for name in COLUMNS["scorer"]]
    with source.connection() as connection:
        rows = connection.execute(sa.select(*columns).order_by(t.scorer.c.created_at, t.scorer.c.id)).all()
    statement = Statements(target.dialect).insert["scorer"]
    with target.writing() as cursor:
        for row in rows:
            cursor.execute(statement, tuple(row))


def _bring(source: Store, target: Store, ids: Sequence[UUID]) -> list[int]:
    with source.connection() as connection:
        rows = _rows(connection, ids, target._writer.encoder, target._again())
    before = _counts(target, ids)
    target._writer.add(rows)
    return [after - count for after, count in zip(_counts(target, ids), before, strict=True)]


def _counts(store: Store, ids: Sequence[UUID]) -> list[int]:
    with store.connection() as connection:
        queries = (sa.select(sa.func.count()).where(*of(connection, name, ids)) for name in _COUNTED)
        return [int(connection.scalar(query) or 0) for query in queries]


def of(connection: sa.Connection, name: str, ids: Sequence[UUID]) -> list[sa.ColumnElement[bool]]:
    """Return, as SQL, which rows of a table belong to trajectories; scores are found by their scorer first."""
    columns = t.metadata.tables[name].c
    theirs = (columns.id if name == "trajectory" else columns.trajectory_id).in_(ids)
    if "scorer_id" not in columns:
        return [theirs]
    return [columns.scorer_id.in_(connection.scalars(sa.select(t.scorer.c.id)).all()), theirs]


def _rows(connection: sa.Connection, ids: Sequence[UUID], encoder: Encoder, redactor: Redactor | None) -> Rows:
    """Return all that belongs to trajectories, as another database takes it."""
    rows, read, native_uuid = Rows(), {}, encoder.native_uuid
    for name in Rows.TABLES[:-1]:
        table = t.metadata.tables[name]
        query = sa.select(*(table.c[column] for column in COLUMNS[name])).where(*of(connection, name, ids))
        read[name] = connection.execute(query.order_by(*table.primary_key.columns)).all()
    nouns = {table: _nouns(connection, table, read, redactor) for table in NOUNS}
    blobs = fetch(connection, (one for name, given in read.items() for one in names_in(name, given)))
    found = {name: [row._asdict() for row in given] for name, given in read.items()}
    if redactor is not None:
        found = redacted_rows(found, blobs, redactor, lambda number: str(nouns["tool"][number][0].key[0]))
    for name, given in found.items():
        named = [(i, nouns[column[:-3]]) for i, column in enumerate(COLUMNS[name]) if column[:-3] in NOUNS]
        moved = (apart(name, row, blobs, encoder.blobs, rows.tables["blob"]).values() for row in given)
        rows.tables[name] = [_row(list(row), named, native_uuid) for row in moved]
    rows.nouns = {noun: row for known in nouns.values() for noun, row in known.values()}
    head = t.trajectory.c
    ended = sa.select(head.status, head.terminated, head.truncated, head.ended_at, head.id)
    rows.ended = [
        _row(row, [], native_uuid)
        for row in connection.execute(ended.where(head.id.in_(ids), head.status.is_not(None)))
    ]
    rows.n_steps = len(rows.tables["step"])
    return rows


def _row(row: Sequence[Any], named: Sequence[tuple[int, Any]], native_uuid: bool) -> tuple[Any, ...]:
    cells = list(row) if native_uuid else [cell.bytes if isinstance(cell, UUID) else cell for cell in row]
    for i, nouns in named:
        cells[i] = None if cells[i] is None else nouns[cells[i]][0]
    return tuple(cells)


def _nouns(
    connection: sa.Connection, name: str, found: dict[str, Any], redactor: Redactor | None
) -> dict[int, tuple[Noun, tuple[Any, ...]]]:
    """Return the nouns that rows name, by their integer here: each with what makes its row elsewhere."""
    column, table = f"{name}_id", t.metadata.tables[name]
    users = [rows for user, rows in found.items() if column in COLUMNS[user]]
    ids = sorted({getattr(row, column) for rows in users for row in rows} - {None})
    made: dict[int, tuple[Noun, tuple[Any, ...]]] = {}
    wanted = [c for c in COLUMNS[name] if c not in ("text_hash", "created_at")]
    for some in chunks(ids):
        for number, *made_of in connection.execute(
            sa.select(table.c.id, *(table.c[c] for c in wanted)).where(table.c.id.in_(some))
        ):
            row = made_of if redactor is None else redacted_noun(name, made_of, redactor)
            key = row if name == "task" else row[:1]
            made[number] = Noun(name, tuple(key)), tuple(row)
    return made
