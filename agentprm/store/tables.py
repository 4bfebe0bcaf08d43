"""The tables. A migration makes them, with the views and what only one engine knows; nothing else ever does.

A beginner meets four: `trajectory`, `step`, `scorer`, `score`. Facts are append-only; scores, labels and outcomes are
opinions of a named source and never overwrite one another. Times are microseconds since 1970 in UTC. Columns that hold
values of any kind hold the exact JSON text of `agentprm.values`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = [
    "BINS",
    "TrajectoryId",
    "action_score",
    "blob",
    "content",
    "env",
    "episode_score",
    "ingest",
    "label",
    "meta",
    "metadata",
    "outcome",
    "part",
    "policy",
    "score",
    "score_claim",
    "score_job",
    "score_note",
    "scorer",
    "shaping",
    "step",
    "task",
    "tool",
    "tool_call",
    "trajectory",
]


class TrajectoryId(TypeDecorator[UUID]):
    """A UUID in 16 bytes: a BLOB on SQLite, the native type on PostgreSQL."""

    impl = sa.LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what the engine calls it."""
        return dialect.type_descriptor(sa.Uuid() if dialect.name == "postgresql" else sa.LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """Return the 16 bytes, where the engine has no such type."""
        return value if value is None or dialect.name == "postgresql" else value.bytes

    def literal_processor(self, dialect: Dialect) -> Callable[[UUID], str]:
        """Return what spells an id in SQL to paste."""
        return (lambda value: f"'{value}'") if dialect.name == "postgresql" else (lambda value: f"X'{value.hex}'")

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Return the UUID."""
        return value if value is None or isinstance(value, UUID) else UUID(bytes=bytes(value))


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.Integer, primary_key=True)


def _of_trajectory(*, key: bool) -> sa.Column[Any]:
    reference = sa.ForeignKey("trajectory.id", ondelete="CASCADE")
    return sa.Column("trajectory_id", TrajectoryId, reference, primary_key=key, nullable=False)


def _noun(name: str, *, null: bool = True, key: bool = False) -> sa.Column[Any]:
    return sa.Column(f"{name}_id", sa.Integer, sa.ForeignKey(f"{name}.id"), primary_key=key, nullable=null)


def _index_where(condition: str, *columns: str, name: str | None = None, unique: bool = False) -> sa.Index:
    """Return an index of only those rows that are asked for through it."""
    where = sa.text(condition)
    return sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _idx() -> sa.Column[Any]:
    return sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False)


meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

task = sa.Table(
    "task",
    metadata,
    _id(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("text_hash", sa.LargeBinary(16), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.UniqueConstraint("key", "text_hash"),
)
env = sa.Table("env", metadata, _id(), sa.Column("name", sa.Text, nullable=False, unique=True))
policy = sa.Table("policy", metadata, _id(), sa.Column("name", sa.Text, nullable=False, unique=True))
tool = sa.Table("tool", metadata, _id(), sa.Column("name", sa.Text, nullable=False, unique=True))
part = sa.Table("part", metadata, _id(), sa.Column("name", sa.Text, nullable=False, unique=True))

scorer = sa.Table(
    "scorer",
    metadata,
    _id(),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("sees", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("weights", sa.Text),
    sa.Column("template", sa.Text),
    sa.Column("tokenizer", sa.Text),
    sa.Column("created_at", _Big, nullable=False),
)
shaping = sa.Table(
    "shaping",
    metadata,
    _id(),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("scorer", sa.Text),
)

trajectory = sa.Table(
    "trajectory",
    metadata,
    sa.Column("id", TrajectoryId, primary_key=True),
    _noun("task", null=False),
    _noun("env"),
    _noun("policy"),
    sa.Column("external_id", sa.Text, index=True),
    sa.Column("seed", _Big),
    sa.Column("group_key", sa.Text, index=True),
    sa.Column("parent_id", TrajectoryId, index=True),
    sa.Column("fork_index", sa.Integer),
    sa.Column("fork_call", sa.Text),
    sa.Column("fork", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("terminated", sa.Boolean(create_constraint=False)),
    sa.Column("truncated", sa.Boolean(create_constraint=False)),
    sa.Column("started_at", _Big, nullable=False, index=True),
    sa.Column("ended_at", _Big),
    sa.Column("meta", sa.Text),
    sa.Column("completed", _Big, index=True),
    sa.Column("state_hash", _Big),
    sa.Index(None, "task_id", "policy_id"),
    _index_where("status IS NOT NULL AND completed IS NULL", "ended_at", "id"),
)
step = sa.Table(
    "step",
    metadata,
    _of_trajectory(key=True),
    _idx(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("env_reward", sa.Double),
    sa.Column("given_reward", sa.Double),
    _noun("shaping"),
    sa.Column("state_hash", _Big),
    sa.Column("characters", sa.Integer),
    sa.Column("tokens", sa.Double),
    sqlite_with_rowid=False,
)
content = sa.Table(
    "content",
    metadata,
    _of_trajectory(key=True),
    _idx(),
    sa.Column("action_text", sa.Text),
    sa.Column("plan", sa.Text),
    sa.Column("action_native", sa.Text),
    sa.Column("info", sa.Text),
    sa.Column("result_text", sa.Text),
    sa.Column("result_native", sa.Text),
    sa.Column("result_images", sa.Text),
    sa.Column("state_hash", _Big),
    sa.Column("odd", sa.Text),
    sa.Column("action_hash", sa.Text),
    sa.Column("plan_hash", sa.Text),
    sa.Column("result_hash", sa.Text),
    _index_where("plan IS NOT NULL", "trajectory_id", "idx", name="ix_content_plan"),
    comment="row -1 holds the first observation; row t what step t did and the observation that it led to",
)
_HAS_BASE = sa.text("base IS NOT NULL")
blob = sa.Table(
    "blob",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("base", sa.Text),
    sa.Column("shared", sa.Integer),
    sa.Column("n_chars", sa.Integer),
    sa.Column("n_bytes", sa.Integer),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index(None, "base", sqlite_where=_HAS_BASE, postgresql_where=_HAS_BASE),
)
tool_call = sa.Table(
    "tool_call",
    metadata,
    _of_trajectory(key=True),
    _idx(),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    _noun("tool", null=False),
    sa.Column("call_id", sa.Text),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("output_text", sa.Text),
    sa.Column("output_native", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("output_hash", sa.Text),
    sa.Index(None, "tool_id"),
    _index_where("position > 0", "trajectory_id", "idx", "position", name="ix_tool_call_further"),
    _index_where("status IN ('error', 'rejected')", "trajectory_id", "idx", name="ix_tool_call_failed"),
)
# No foreign key to the trajectory here: a cascade would scan every scorer's rows, where Store.delete walks the key.
score = sa.Table(
    "score",
    metadata,
    _noun("scorer", key=True, null=False),
    sa.Column("trajectory_id", TrajectoryId, primary_key=True),
    _idx(),
    _noun("part", key=True, null=False),
    sa.Column("value", sa.Double),
    sqlite_with_rowid=False,
)
score_note = sa.Table(
    "score_note",
    metadata,
    _noun("scorer", key=True, null=False),
    sa.Column("trajectory_id", TrajectoryId, primary_key=True),
    _idx(),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("text_hash", sa.Text),
)
BINS = 10
"""Into how many equal bins of [0, 1] the scores of an episode are counted."""

# Of finished episodes with a score row for every step: nothing in them can change, so these never go stale. Whatever
# has no row here is read from the facts.
episode_score = sa.Table(
    "episode_score",
    metadata,
    _noun("scorer", key=True, null=False),
    sa.Column("trajectory_id", TrajectoryId, primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("total", sa.Double),
    sa.Column("first", sa.Double),
    sa.Column("last", sa.Double),
    sa.Column("least", sa.Double),
    sa.Column("last_idx", sa.Integer),
    sa.Column("worst_idx", sa.Integer),
    sa.Column("before", sa.Double),
    sa.Column("after", sa.Double),
    *(sa.Column(f"n_{i}", sa.Integer, nullable=False) for i in range(BINS)),
    *(sa.Column(f"total_{i}", sa.Double) for i in range(BINS)),
    sqlite_with_rowid=False,
)
action_score = sa.Table(
    "action_score",
    metadata,
    _noun("scorer", key=True, null=False),
    sa.Column("action", sa.Text, primary_key=True),
    sa.Column("trajectory_id", TrajectoryId, primary_key=True),
    sa.Column("n", sa.Double, nullable=False),
    sa.Column("total", sa.Double, nullable=False),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("paid_n", sa.Double),
    sa.Column("paid_total", sa.Double),
    sa.Column("tokens", sa.Double),
    sa.Column("seconds", sa.Double),
    sa.Column("dollars", sa.Double),
    sqlite_with_rowid=False,
)
outcome = sa.Table(
    "outcome",
    metadata,
    _of_trajectory(key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("at", _Big, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double, nullable=False),
)
label = sa.Table(
    "label",
    metadata,
    sa.Column("id", TrajectoryId, primary_key=True),
    _of_trajectory(key=False),
    sa.Column("idx", sa.Integer),
    sa.Column("annotator", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("comment", sa.Text),
    sa.Column("created_at", _Big, nullable=False),
    sa.Column("supersedes", TrajectoryId),
    sa.Index(None, "trajectory_id", "idx"),
)
ingest = sa.Table(
    "ingest",
    metadata,
    sa.Column("writer_id", TrajectoryId, primary_key=True),
    sa.Column("seq", _Big, primary_key=True, autoincrement=False),
    sa.Column("committed_at", _Big, nullable=False),
    sa.Column("n_rows", sa.Integer, nullable=False),
)

score_job = sa.Table(
    "score_job",
    metadata,
    sa.Column("id", TrajectoryId, primary_key=True),
    _noun("scorer", null=False),
    sa.Column("selector", sa.Text, nullable=False),
    sa.Column("place", _Big, nullable=False),
    sa.Column("started_at", _Big, nullable=False),
    sa.Column("ended_at", _Big),
    sa.Column("n_scored", _Big, nullable=False),
    sa.Column("n_none", _Big, nullable=False),
    _index_where("ended_at IS NULL", "scorer_id", "selector", name="uq_score_job_scorer_id_selector", unique=True),
)
score_claim = sa.Table(
    "score_claim",
    metadata,
    sa.Column("job_id", TrajectoryId, sa.ForeignKey("score_job.id", ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "trajectory_id", TrajectoryId, sa.ForeignKey("trajectory.id", ondelete="CASCADE"), primary_key=True, index=True
    ),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("until", _Big),
    sa.Column("error", sa.Text),
    sa.Column("failed_at", _Big),
    _index_where("failed_at IS NULL", "job_id", "tries", "trajectory_id"),
)
