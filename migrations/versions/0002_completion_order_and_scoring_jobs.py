"""Episodes numbered in the order in which they were found complete, and what workers are scoring.

A number is given after the commit, by whoever reads in that order, never by the writer: numbers that writers draw
become visible in another order than they were drawn in, and a reader that goes by them misses the late ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Id = sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")
_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NOT_COUNTED = sa.text("status IS NOT NULL AND completed IS NULL")

# Runs as the owner of the schema, so that whoever may only read can ask for numbers, and for nothing else. The row of
# `meta` lets one in at a time; each statement inside sees what was committed before it, the former's numbers included.
_NUMBER = """
DO $make$ BEGIN EXECUTE format($sql$
CREATE FUNCTION number_completed(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $body$
DECLARE
    last bigint;
    found_now integer;
BEGIN
    SELECT value::bigint INTO last FROM meta WHERE key = 'completed' FOR UPDATE;
    WITH fresh AS (
        SELECT id, ended_at FROM trajectory WHERE status IS NOT NULL AND completed IS NULL
        ORDER BY ended_at, id LIMIT most FOR NO KEY UPDATE SKIP LOCKED
    ), counted AS (
        SELECT id, last + row_number() OVER (ORDER BY ended_at, id) AS number FROM fresh
    )
    UPDATE trajectory SET completed = counted.number FROM counted WHERE trajectory.id = counted.id;
    GET DIAGNOSTICS found_now = ROW_COUNT;
    UPDATE meta SET value = (last + found_now)::text WHERE key = 'completed';
    RETURN found_now;
END $body$
$sql$, current_schema()); END $make$
"""


def upgrade() -> None:
    op.add_column("trajectory", sa.Column("completed", _Big, nullable=True))
    op.create_index(op.f("ix_trajectory_completed"), "trajectory", ["completed"], unique=False)
    op.create_index(
        op.f("ix_trajectory_ended_at_id"),
        "trajectory",
        ["ended_at", "id"],
        unique=False,
        sqlite_where=_NOT_COUNTED,
        postgresql_where=_NOT_COUNTED,
    )
    op.execute("INSERT INTO meta (key, value) VALUES ('completed', '0')")
    if op.get_context().dialect.name == "postgresql":
        op.execute(_NUMBER)
        op.execute("REVOKE ALL ON FUNCTION number_completed(integer) FROM PUBLIC")
    op.create_table(
        "score_job",
        sa.Column("id", _Id, nullable=False),
        sa.Column("scorer_id", sa.Integer(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("place", _Big, nullable=False),
        sa.Column("started_at", _Big, nullable=False),
        sa.Column("ended_at", _Big, nullable=True),
        sa.Column("n_scored", _Big, nullable=False),
        sa.Column("n_none", _Big, nullable=False),
        sa.ForeignKeyConstraint(["scorer_id"], ["scorer.id"], name=op.f("fk_score_job_scorer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_score_job")),
    )
    op.create_index(
        op.f("uq_score_job_scorer_id_selector"),
        "score_job",
        ["scorer_id", "selector"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "score_claim",
        sa.Column("job_id", _Id, nullable=False),
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("until", _Big, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failed_at", _Big, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["score_job.id"], name=op.f("fk_score_claim_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectory.id"], name=op.f("fk_score_claim_trajectory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "trajectory_id", name=op.f("pk_score_claim")),
    )
    op.create_index(
        op.f("ix_score_claim_job_id_tries_trajectory_id"),
        "score_claim",
        ["job_id", "tries", "trajectory_id"],
        unique=False,
        sqlite_where=sa.text("failed_at IS NULL"),
        postgresql_where=sa.text("failed_at IS NULL"),
    )
    op.create_index(op.f("ix_score_claim_trajectory_id"), "score_claim", ["trajectory_id"], unique=False)


def downgrade() -> None:
    op.drop_table("score_claim")
    op.drop_table("score_job")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION number_completed(integer)")
    op.execute("DELETE FROM meta WHERE key = 'completed'")
    op.drop_index(op.f("ix_trajectory_ended_at_id"), "trajectory")
    op.drop_index(op.f("ix_trajectory_completed"), "trajectory")
    op.drop_column("trajectory", "completed")
