"""Making what was rescued a store again: every row has what it belongs to, every episode is whole up to its end."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from agentprm import values
from agentprm.store.views import teach

__all__ = ["cohere", "shorten"]

_STAND_INS = {
    "task": "INSERT INTO task (id, key, text_hash, text) VALUES (?1, 'lost task ' || ?1, zeroblob(16), '(lost)')",
    "tool": "INSERT INTO tool (id, name) VALUES (?1, 'lost tool ' || ?1)",
}
"""What stands for a noun that was lost and that a row cannot be without."""
_FIRST_GAPS = """
    SELECT trajectory_id, min(CASE WHEN n <> idx THEN n END), max(idx) + 1, count(*) FROM
    (SELECT trajectory_id, idx, row_number() OVER (PARTITION BY trajectory_id ORDER BY idx) - {first} AS n FROM {table})
    GROUP BY trajectory_id"""
_CALLS_LOST = """
    SELECT s.trajectory_id, min(s.idx) FROM step s
    LEFT JOIN (SELECT trajectory_id, idx, count(*) AS n, max(position) AS last FROM tool_call GROUP BY 1, 2) c
           ON c.trajectory_id = s.trajectory_id AND c.idx = s.idx
    WHERE s.kind = 'tool' AND (c.n IS NULL OR c.n <> c.last + 1) GROUP BY 1"""
_OF_STEPS = ("content", "step", "tool_call", "score", "score_note")


def cohere(db: sqlite3.Connection, last: Mapping[bytes, int | None]) -> tuple[list[bytes], list[bytes], dict[str, int]]:
    """Make a store of rows that belong together; foreign keys are off.

    `last` holds the index of the last row of an episode where that cannot be seen from the rows; None where it is lost.
    Returns the trajectories that were cut to the steps before the first one lost, those that were lost, and how many
    rows of each table of nouns were lost.
    """
    db.execute("CREATE TEMP TABLE seen AS SELECT id FROM trajectory")
    for table in ("content", "step", "tool_call"):
        db.execute(f"INSERT INTO seen SELECT DISTINCT trajectory_id FROM {table}")
    _drop_texts(db)
    lost_nouns = _link(db)
    cut = _cut(db, last)
    _count_on(db)
    _link(db)  # what belonged to an episode that is gone
    lost = [row[0] for row in db.execute("SELECT DISTINCT id FROM seen WHERE id NOT IN (SELECT id FROM trajectory)")]
    return cut, lost, lost_nouns


def _drop_texts(db: sqlite3.Connection) -> None:
    """Drop long texts of which the beginning is lost, and remarks of which the text is; before 0003 there were none."""
    if not _hashes(db, "score_note"):
        return
    while db.execute("DELETE FROM blob WHERE base NOT IN (SELECT hash FROM blob)").rowcount:
        pass
    db.execute("DELETE FROM score_note WHERE text_hash NOT IN (SELECT hash FROM blob)")


def _hashes(db: sqlite3.Connection, table: str) -> list[str]:
    """Return the columns of a table that name a long text."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    return [column for column in columns if column.endswith("_hash") and column != "state_hash"]


def _count_on(db: sqlite3.Connection) -> None:
    """Let the numbers of ended trajectories go on behind the highest, if the last one given out was lost."""
    if any(row[1] == "completed" for row in db.execute("PRAGMA table_info(trajectory)")):
        highest = "(SELECT coalesce(max(completed), 0) FROM trajectory)"
        db.execute(f"UPDATE meta SET value = max(CAST(value AS INTEGER), {highest}) WHERE key = 'completed'")


def _link(db: sqlite3.Connection) -> dict[str, int]:
    lost: dict[str, int] = {}
    tables = [row[0] for row in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]
    for table in tables:
        needed = {row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[3] or row[5]}
        for key in db.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            _, _, parent, column, there, *_ = key
            n = _mend(db, table, column, parent, there or "id", column in needed)
            if n and parent != "trajectory":
                lost[parent] = lost.get(parent, 0) + n
    for table in ("score", "score_note"):  # without a foreign key
        db.execute(f"DELETE FROM {table} WHERE trajectory_id NOT IN (SELECT id FROM trajectory)")
    return lost


def _mend(db: sqlite3.Connection, table: str, column: str, parent: str, there: str, is_needed: bool) -> int:
    """Give the rows of a table whose noun was lost a stand-in, or none, or drop them; return how many nouns were."""
    dangling = f"{column} IS NOT NULL AND {column} NOT IN (SELECT {there} FROM {parent})"
    lost = db.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {dangling}").fetchall()
    if not lost:
        return 0
    if not is_needed:
        db.execute(f"UPDATE {table} SET {column} = NULL WHERE {dangling}")
    elif parent in _STAND_INS:
        db.executemany(_STAND_INS[parent], lost)
    else:
        db.execute(f"DELETE FROM {table} WHERE {dangling}")
    return len(lost)


def _cut(db: sqlite3.Connection, last: Mapping[bytes, int | None]) -> list[bytes]:
    """Cut each episode before the first step that is not whole; return the ids of those that were cut."""
    keys = [row[0] for row in db.execute("SELECT id FROM trajectory")]
    contents, steps = _lengths(db, "content", 2), _lengths(db, "step", 1)
    calls, cut = _incomplete(db), []
    for key in keys:
        (seen, n_seen), (done, n_done) = contents.get(key, (0, 0)), steps.get(key, (0, 0))
        end = last.get(key, -1)
        if end is not None and key in last and end < n_seen - 1:
            end = None  # an index that does not know what is there knows nothing
        whole, of = min(seen - 1, done, calls.get(key, done)), max(n_seen, n_done, -1 if end is None else end + 1)
        if whole < of or whole < 0 or end is None:
            cut += _shortened(db, key, whole, None if end is None else of)
    return cut


def _incomplete(db: sqlite3.Connection) -> dict[bytes, int]:
    """Return, by trajectory, the first step of which a tool call or a long text is lost."""
    queries = [_CALLS_LOST]
    for table in ("content", "tool_call"):
        for column in _hashes(db, table):
            is_lost = f"{column} NOT IN (SELECT hash FROM blob)"
            queries.append(f"SELECT trajectory_id, min(idx) FROM {table} WHERE {is_lost} GROUP BY 1")
    found: dict[bytes, int] = {}
    for query in queries:
        for key, first in db.execute(query):
            found[key] = min(first, found.get(key, first))
    return found


def _shortened(db: sqlite3.Connection, key: bytes, whole: int, of: int | None) -> list[bytes]:
    """Cut an episode, or forget it where no step is left; return it if it is still there."""
    if whole < 1:
        db.execute("DELETE FROM trajectory WHERE id = ?", (key,))
        return []
    shorten(db, key, whole, of)
    return [key]


def _lengths(db: sqlite3.Connection, table: str, first: int) -> dict[bytes, tuple[int, int]]:
    """Return, by trajectory, how many rows stand without a gap, and how many there were."""
    rows = db.execute(_FIRST_GAPS.format(table=table, first=first))
    return {key: (n if gap is None else gap + first - 1, of) for key, gap, of, n in rows}


def shorten(db: sqlite3.Connection, key: bytes, whole: int, of: int | None) -> None:
    """Leave the first steps of an episode, and say in its `meta` of how many; None where nobody knows."""
    for table in _OF_STEPS:
        db.execute(f"DELETE FROM {table} WHERE trajectory_id = ? AND idx >= ?", (key, whole))
    teach(db)
    (meta,) = db.execute("SELECT agentprm_json(meta) FROM trajectory WHERE id = ?", (key,)).fetchone()
    known: dict[str, Any] = values.decode(meta) if meta else {}
    said, _ = values.encode({**known, "salvaged": {"steps": whole, "of": of}})
    db.execute(
        "UPDATE trajectory SET meta = ?, status = 'incomplete', terminated = 0, truncated = 0, "
        "ended_at = coalesce(ended_at, started_at) WHERE id = ?",
        (said, key),
    )
