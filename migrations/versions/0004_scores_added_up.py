"""What a scorer said of whole episodes, added up per episode and per action, so that questions need not read each step.

Both tables start empty: they are filled from the facts when a question is first asked. What a step's wide row would
only be read for stands beside its rewards now: the state it led to, how many characters it said, tokens it wrote.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_Id = sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")
_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS = (
    ("trajectory", "state_hash", _Big),
    ("step", "state_hash", _Big),
    ("step", "characters", sa.Integer()),
    ("step", "tokens", sa.Double()),
)
_INDEXES = {
    "ix_content_plan": ("content", ["trajectory_id", "idx"], "plan IS NOT NULL"),
    "ix_tool_call_further": ("tool_call", ["trajectory_id", "idx", "position"], "position > 0"),
    "ix_tool_call_failed": ("tool_call", ["trajectory_id", "idx"], "status IN ('error', 'rejected')"),
}
_TOKENS = {
    "sqlite": """CASE WHEN json_type(c.info, '$.tokens.output') IN ('integer', 'real')
                 THEN json_extract(c.info, '$.tokens.output') * 1.0 END""",
    "postgresql": """CAST(jsonb_path_query_first(CAST(c.info AS jsonb), '$.tokens.output ? (@.type() == "number")')
                     AS double precision)""",
}

_CHARACTERS = """CASE WHEN c.action_hash IS NOT NULL THEN (SELECT b.n_chars FROM blob b WHERE b.hash = c.action_hash)
                 WHEN c.action_text IS NULL AND c.plan_hash IS NOT NULL
                 THEN (SELECT b.n_chars FROM blob b WHERE b.hash = c.plan_hash)
                 ELSE length(coalesce(c.action_text, c.plan)) END"""


def _fill(engine: str) -> None:
    """Give what was recorded before the columns that are written with every step now."""
    op.execute(
        "UPDATE trajectory SET state_hash = (SELECT c.state_hash FROM content c "
        "WHERE c.trajectory_id = trajectory.id AND c.idx = -1)"
    )
    tokens = f"CASE WHEN c.info LIKE '%\"tokens\"%' THEN {_TOKENS[engine]} END"
    op.execute(
        f"UPDATE step SET (state_hash, characters, tokens) = (SELECT c.state_hash, {_CHARACTERS}, {tokens} "
        "FROM content c WHERE c.trajectory_id = step.trajectory_id AND c.idx = step.idx)"
    )


def upgrade() -> None:
    for table, column, kind in _COLUMNS:
        op.add_column(table, sa.Column(column, kind, nullable=True))
    _fill(op.get_context().dialect.name)
    op.create_table(
        "episode_score",
        sa.Column("scorer_id", sa.Integer(), nullable=False),
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("total", sa.Double(), nullable=True),
        sa.Column("first", sa.Double(), nullable=True),
        sa.Column("last", sa.Double(), nullable=True),
        sa.Column("least", sa.Double(), nullable=True),
        sa.Column("last_idx", sa.Integer(), nullable=True),
        sa.Column("worst_idx", sa.Integer(), nullable=True),
        sa.Column("before", sa.Double(), nullable=True),
        sa.Column("after", sa.Double(), nullable=True),
        *(sa.Column(f"n_{i}", sa.Integer(), nullable=False) for i in range(10)),
        *(sa.Column(f"total_{i}", sa.Double(), nullable=True) for i in range(10)),
        sa.ForeignKeyConstraint(["scorer_id"], ["scorer.id"], name=op.f("fk_episode_score_scorer_id")),
        sa.PrimaryKeyConstraint("scorer_id", "trajectory_id", name=op.f("pk_episode_score")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "action_score",
        sa.Column("scorer_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("n", sa.Double(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("paid_n", sa.Double(), nullable=True),
        sa.Column("paid_total", sa.Double(), nullable=True),
        sa.Column("tokens", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("dollars", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["scorer_id"], ["scorer.id"], name=op.f("fk_action_score_scorer_id")),
        sa.PrimaryKeyConstraint("scorer_id", "action", "trajectory_id", name=op.f("pk_action_score")),
        sqlite_with_rowid=False,
    )
    for name, (table, columns, condition) in _INDEXES.items():
        where = sa.text(condition)
        op.create_index(op.f(name), table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, (table, *_) in _INDEXES.items():
        op.drop_index(op.f(name), table)
    op.drop_table("action_score")
    op.drop_table("episode_score")
    for table, column, _ in _COLUMNS:
        op.drop_column(table, column)
