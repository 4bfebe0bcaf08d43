"""A damaged SQLite store read as far as it goes, into a new one."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from agentprm.errors import NotOurDatabase, StoreError
from agentprm.progress import progress_bar
from agentprm.store import migrate
from agentprm.store.coherence import cohere, shorten
from agentprm.store.integrity import first_misread
from agentprm.store.opened import is_open
from agentprm.store.remains import Remains
from agentprm.store.spool import places
from agentprm.store.store import Store
from agentprm.store.url import is_file, read_url

__all__ = ["Salvaged", "salvage"]

_FIRST = ("task", "env", "policy", "tool", "part", "scorer", "shaping", "trajectory", "content")
"""What is read first, because later tables are searched by its keys."""


class Salvaged(NamedTuple):
    """What was read of a damaged store, and what was not."""

    whole: int
    """Trajectories as they were."""
    cut: tuple[UUID, ...]
    """Those that end before the first step that could not be read; ``meta["salvaged"]`` says how many there were."""
    lost: tuple[UUID, ...]
    """Those of which something is there, but not enough."""
    gaps: dict[str, int]
    """By table, how many stretches could not be read; what lay there only, nothing else can name."""
    nouns: dict[str, int]
    """By table, how many tasks, tools, policies, scorers were lost that something named."""
    spooled: int
    """Steps that waited in the spool, and are in the new store now; they still wait there as well."""
    dropped: int
    """Steps that waited in the spool for a trajectory that is lost."""


def salvage(broken: str | Path, new: str | Path, *, progress: bool | None = None) -> Salvaged:
    """Put what can be read of a damaged file into a new store; the damaged one is left as it is.

    An episode of which a step is lost ends before it, as ``incomplete``; scores of lost steps go with them. `progress`
    draws a bar, by default on a terminal.

    Raises StoreError when `broken` is no file or is open in this process, or `new` is there already; NotOurDatabase
    when nothing of a store can be recognised.
    """
    source, target = _file(broken), _file(new)
    if not source.is_file():
        raise StoreError(f"there is no file {source} to salvage")
    if target.exists():
        raise StoreError(f"{target} is there already: name a new file, and join the two with `agentprm merge` then")
    if not target.parent.is_dir():
        raise StoreError(f"cannot make {target}: there is no folder {target.parent}; create it first")
    if is_open(read_url(source)):
        raise StoreError(f"{source} is open in this process: close it first")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as folder:
        made = Path(folder, "salvaged.db")
        found = _rebuild(source, Path(folder), made, progress)
        made.rename(target)
    return found


def _file(form: str | Path) -> Path:
    if not is_file(form):
        raise StoreError(f"{form} is no file: of a server's database, restore a backup")
    return Path(str(read_url(form).database))


def _rebuild(source: Path, folder: Path, made: Path, progress: bool | None) -> Salvaged:
    remains = Remains(source, folder)
    try:
        migrate.upgrade(made, _revision(remains, source))
        with closing(sqlite3.connect(made, isolation_level=None)) as db:  # where no foreign key is enforced
            db.execute("BEGIN")
            _copy(remains, db, progress)
            cut, lost, nouns = cohere(db, _ends(remains, db))
            db.execute("COMMIT")
    finally:
        remains.close()
    unread, misread = _check(made, "tool_call" in remains.gaps)
    spooled, dropped = _take_spool(source, made)
    with Store(made) as store, store.connection() as connection:
        n = int(connection.exec_driver_sql("SELECT count(*) FROM trajectory").scalar() or 0)
    _tidy(made)
    gone = {UUID(bytes=key) for key in lost} | set(unread)
    short = {*(UUID(bytes=key) for key in cut), *misread} - gone
    return Salvaged(n - len(short), tuple(sorted(short)), tuple(sorted(gone)), remains.gaps, nouns, spooled, dropped)


def _revision(remains: Remains, source: Path) -> str:
    """Return at which revision a file was; the head where that cannot be read."""
    if "started_at" not in remains.columns("trajectory"):
        raise NotOurDatabase(f"no agentprm store can be recognised in {source}: restore a copy of it")
    found = [row[0] for row in remains.numbered("alembic_version", ["version_num"])]
    return found[0] if found else migrate.HEAD


_ADDED_UP = ("episode_score", "action_score")
"""Sums of what else is there: made anew when a question is asked."""


def _copy(remains: Remains, db: sqlite3.Connection, progress: bool | None) -> None:
    query = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'alembic_%'"
    )
    names = [row[0] for row in db.execute(query) if row[0] not in _ADDED_UP]
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    with progress_bar("salvaging", len(names), progress) as advance:
        for name in names:
            _copy_table(remains, db, name)
            advance(1, name)


def _copy_table(remains: Remains, db: sqlite3.Connection, name: str) -> None:
    here = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
    columns = [column for column in remains.columns(name) if column in here]
    if not columns:
        remains.gaps[name] = 1
        return
    has_numbers = (
        "WITHOUT ROWID" not in db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]
    )
    rows = remains.numbered(name, columns) if has_numbers else remains.keyed(name, columns, _prefixes(db, name))
    marks = ", ".join("?" * len(columns))
    # What was made anew is replaced there; elsewhere a row without what it cannot be without is none.
    clash = "REPLACE" if name == "meta" else "IGNORE"
    db.executemany(f"INSERT OR {clash} INTO {name} ({', '.join(columns)}) VALUES ({marks})", rows)


def _prefixes(db: sqlite3.Connection, name: str) -> Sequence[Sequence[Any]]:
    """Return the values that the first columns of a table's key may have, up to the trajectory."""
    prefixes: list[list[Any]] = []
    for column in [row[1] for row in db.execute(f"PRAGMA table_info({name})") if row[5]]:
        if column == "trajectory_id":
            query = "SELECT id FROM trajectory UNION SELECT DISTINCT trajectory_id FROM content ORDER BY 1"
            return [*prefixes, [row[0] for row in db.execute(query)]]
        prefixes.append([row[0] for row in db.execute(f"SELECT id FROM {column.removesuffix('_id')}")])
    return prefixes


def _ends(remains: Remains, db: sqlite3.Connection) -> dict[bytes, int | None]:
    """Return where each episode ends, if some of the rows that would say so could not be read."""
    if not remains.gaps.keys() & {"content", "step"}:
        return {}
    return remains.last("content", [row[0] for row in db.execute("SELECT id FROM trajectory")])


def _check(made: Path, calls: bool) -> tuple[list[UUID], list[UUID]]:
    """Delete the trajectories of which a row holds nothing that makes sense, cut those that lack a tool call.

    Only where tool calls were lost are they counted, by the hash of what was seen.
    """
    bad: list[UUID] = []
    misread: dict[UUID, int] = {}
    with Store(made) as store:
        with store.connection() as connection:
            keys = [UUID(bytes=row[0]) for row in connection.exec_driver_sql("SELECT id FROM trajectory")]
        for key in keys:
            try:
                first = first_misread(store, key) if calls else len(list(store.trajectories(id=key))) and None
            except StoreError:
                bad.append(key)
            else:
                misread |= {} if first is None else {key: first}
        store.delete(*bad, *(key for key, first in misread.items() if first < 1))
    bad += [key for key, first in misread.items() if first < 1]
    misread = {key: first for key, first in misread.items() if first >= 1}
    with closing(sqlite3.connect(made, isolation_level=None)) as db:
        for key, first in misread.items():
            n = db.execute("SELECT count(*) FROM step WHERE trajectory_id = ?", (key.bytes,)).fetchone()[0]
            shorten(db, key.bytes, first, n)
    return bad, list(misread)


def _take_spool(source: Path, made: Path) -> tuple[int, int]:
    """Put what waits for the damaged file into the new one, and leave it there: each batch says once that it was."""
    spooled = dropped = 0
    for place in places(read_url(source)):
        if not place.exists():
            continue
        here = places(read_url(made))[0]
        here.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(place)) as waiting, closing(sqlite3.connect(here)) as copy:
            waiting.backup(copy)
            n = int(copy.execute("SELECT coalesce(sum(n_steps), 0) FROM batch").fetchone()[0])
        with Store(made) as store:
            store.flush()
            dropped += store.dropped
            spooled += n - store.dropped
    return spooled, dropped


def _tidy(made: Path) -> None:
    """Leave one file: without a journal, which a rename would leave behind."""
    with closing(sqlite3.connect(made)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
