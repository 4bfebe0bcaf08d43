"""The SQL that recording needs, compiled once for one engine and run on the driver's own cursor."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agentprm.store.encode import Rows
from agentprm.store.tables import metadata

__all__ = ["COLUMNS", "NOUNS", "Statements"]

COLUMNS = {
    "trajectory": ("id", "task_id", "env_id", "policy_id", "external_id", "seed", "group_key", "parent_id",
                   "fork_index", "fork_call", "fork", "started_at", "meta"),
    "content": ("trajectory_id", "idx", "action_text", "plan", "action_native", "info", "result_text",
                "result_native", "result_images", "state_hash", "odd"),
    "step": ("trajectory_id", "idx", "kind", "env_reward", "given_reward", "shaping_id"),
    "tool_call": ("trajectory_id", "idx", "position", "tool_id", "call_id", "arguments", "output_text",
                  "output_native", "status", "attempts"),
    "score": ("scorer_id", "trajectory_id", "idx", "part_id", "value"),
    "score_note": ("scorer_id", "trajectory_id", "idx", "text"),
    "outcome": ("trajectory_id", "source", "at", "value"),
    "label": ("id", "trajectory_id", "idx", "annotator", "code", "value", "comment", "created_at", "supersedes"),
    "blob": ("hash", "media_type", "data"),
    "task": ("key", "text_hash", "text"),
    "scorer": ("digest", "name", "unit", "sees", "spec", "weights", "template", "tokenizer", "created_at"),
    "shaping": ("digest", "spec", "scorer"),
    "env": ("name",), "policy": ("name",), "tool": ("name",), "part": ("name",),
    "ingest": ("writer_id", "seq", "committed_at", "n_rows"),
}  # fmt: skip
_SHARED = ("blob",)
"""Tables whose rows belong to several trajectories, so that many are there already."""
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
        copied = Rows.TABLES if dialect.name == "postgresql" else ()
        self.copy = {
            name: f"COPY {name} ({', '.join(COLUMNS[name])}) FROM STDIN" for name in copied if name not in _SHARED
        }
        """How many rows come in at once, where the engine knows such a way and few of them are there already."""
        self.find = {name: self._find(name, dialect) for name in NOUNS}
        mark = "%s" if dialect.name == "postgresql" else "?"
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
