"""The SQL that recording needs, compiled once for one engine and run on the driver's own cursor."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agentprm.store.rows import Rows
from agentprm.store.tables import metadata

__all__ = ["COLLECTING", "COLUMNS", "NOUNS", "Statements"]

COLUMNS = {
    "trajectory": ("id", "task_id", "env_id", "policy_id", "external_id", "seed", "group_key", "parent_id",
                   "fork_index", "fork_call", "fork", "started_at", "meta", "state_hash"),
    "content": ("trajectory_id", "idx", "action_text", "plan", "action_native", "info", "result_text",
                "result_native", "result_images", "state_hash", "odd", "action_hash", "plan_hash", "result_hash"),
    "step": ("trajectory_id", "idx", "kind", "env_reward", "given_reward", "shaping_id", "state_hash", "characters",
             "tokens"),
    "tool_call": ("trajectory_id", "idx", "position", "tool_id", "call_id", "arguments", "output_text",
                  "output_native", "status", "attempts", "output_hash"),
    "score": ("scorer_id", "trajectory_id", "idx", "part_id", "value"),
    "score_note": ("scorer_id", "trajectory_id", "idx", "text", "text_hash"),
    "outcome": ("trajectory_id", "source", "at", "value"),
    "label": ("id", "trajectory_id", "idx", "annotator", "code", "value", "comment", "created_at", "supersedes"),
    "blob": ("hash", "media_type", "generation", "base", "shared", "n_chars", "n_bytes", "data"),
    "task": ("key", "text_hash", "text"),
    "scorer": ("digest", "name", "unit", "sees", "spec", "weights", "template", "tokenizer", "created_at"),
    "shaping": ("digest", "spec", "scorer"),
    "env": ("name",), "policy": ("name",), "tool": ("name",), "part": ("name",),
    "ingest": ("writer_id", "seq", "committed_at", "n_rows"),
}  # fmt: skip
COLLECTING = 7305461198
"""Names, on a server, the lock that keeps a new generation from beginning."""
NOUNS = ("task", "scorer", "shaping", "env", "policy", "tool", "part")
"""Tables whose rows have small integers for keys, which every database gives out itself."""
_KEYS = {"task": ("key", "text_hash"), "scorer": ("digest",), "shaping": ("digest",)}


class Statements:
    """The SQL that recording needs, compiled once for one engine and run on the driver's own cursor."""

    def __init__(self, dialect: sa.Dialect) -> None:
        insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        self.insert = {
            name: str(
                insert(metadata.tables[name])
                .values({column: sa.bindparam(column) for column in columns})
                .on_conflict_do_nothing()
                .compile(dialect=_positional(dialect))
            )
            for name, columns in COLUMNS.items()
        }
        self.is_sqlite = dialect.name == "sqlite"
        copied = () if self.is_sqlite else Rows.TABLES
        self.copy = {name: f"COPY {name} ({', '.join(COLUMNS[name])}) FROM STDIN" for name in copied}
        """How many rows come in at once, where the engine knows such a way and few of them are there already."""
        self.find = {name: self._find(name, dialect) for name in NOUNS}
        mark = "?" if self.is_sqlite else "%s"
        present = "(SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'generation')"
        marks = [present if self.is_sqlite and name == "generation" else mark for name in COLUMNS["blob"]]
        self.keep = (
            f"INSERT INTO blob ({', '.join(COLUMNS['blob'])}) VALUES ({', '.join(marks)}) "
            "ON CONFLICT (hash) DO UPDATE SET generation = excluded.generation "
            "WHERE blob.generation < excluded.generation"
        )
        """Inserts a blob, or touches it."""
        shared = () if self.is_sqlite else (f"SELECT pg_advisory_xact_lock_shared({COLLECTING})",)
        self.generation = (*shared, "SELECT value FROM meta WHERE key = 'generation'")
        """Keeps a new generation from beginning before the transaction ends, and asks for the present one."""
        self.end = (
            f"UPDATE trajectory SET status = {mark}, terminated = {mark}, truncated = {mark}, ended_at = {mark} "
            f"WHERE id = {mark} AND status IS NULL"
        )

    def _find(self, name: str, dialect: sa.Dialect) -> str:
        table = metadata.tables[name]
        keys = [table.c[key] == sa.bindparam(key) for key in _KEYS.get(name, ("name",))]
        return str(sa.select(table.c.id).where(*keys).compile(dialect=_positional(dialect)))


def _positional(dialect: sa.Dialect) -> sa.Dialect:
    return type(dialect)(paramstyle="format" if dialect.name == "postgresql" else "qmark")  # type: ignore[call-arg]
