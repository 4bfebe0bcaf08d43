"""The first schema: every key decision, and the four views for people who write SQL.

Scores key on (scorer, trajectory, step, part) with small integers and 16-byte ids; narrow rows stand beside their
content, because wide rows WITHOUT ROWID spill to overflow pages and triple the file.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Id = sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")
_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_VIEWS = {
    "v_trajectory": """
        SELECT {id:t.id} AS id, t.external_id, k.key AS task, k.text AS task_text, e.name AS env, p.name AS policy,
               t.seed, t.group_key, {id:t.parent_id} AS parent_id, t.fork_index, t.status, t.terminated, t.truncated,
               (SELECT o.value FROM outcome o WHERE o.trajectory_id = t.id ORDER BY o.at DESC LIMIT 1) AS outcome,
               (SELECT count(*) FROM step s WHERE s.trajectory_id = t.id) AS n_steps,
               (SELECT sum(s.env_reward) FROM step s WHERE s.trajectory_id = t.id) AS env_return,
               (SELECT sum(coalesce(s.given_reward, s.env_reward)) FROM step s WHERE s.trajectory_id = t.id)
                   AS given_return,
               {time:t.started_at} AS started_at, {time:t.ended_at} AS ended_at, t.meta, t.id AS trajectory_id
        FROM trajectory t JOIN task k ON k.id = t.task_id
        LEFT JOIN env e ON e.id = t.env_id LEFT JOIN policy p ON p.id = t.policy_id""",
    "v_step": """
        SELECT {id:s.trajectory_id} AS trajectory, s.idx, s.kind,
               coalesce(b.result_text, b.result_native) AS observation, c.plan,
               coalesce(c.action_text, c.action_native) AS action,
               coalesce(c.result_text, c.result_native) AS result,
               s.env_reward, coalesce(s.given_reward, s.env_reward) AS given_reward, h.spec AS shaping,
               b.state_hash, c.info, s.trajectory_id
        FROM step s
        LEFT JOIN content b ON b.trajectory_id = s.trajectory_id AND b.idx = s.idx - 1
        LEFT JOIN content c ON c.trajectory_id = s.trajectory_id AND c.idx = s.idx
        LEFT JOIN shaping h ON h.id = s.shaping_id""",
    "v_tool_call": """
        SELECT {id:c.trajectory_id} AS trajectory, c.idx, c.position, w.name AS tool, c.arguments,
               coalesce(c.output_text, c.output_native) AS output, c.status, c.attempts, c.call_id, c.trajectory_id
        FROM tool_call c JOIN tool w ON w.id = c.tool_id""",
    "v_score": """
        SELECT {id:x.trajectory_id} AS trajectory, x.idx, r.name AS scorer, q.name AS part, x.value, r.unit, r.sees,
               n.text AS note, r.spec, r.digest, x.scorer_id, x.trajectory_id
        FROM score x JOIN scorer r ON r.id = x.scorer_id JOIN part q ON q.id = x.part_id
        LEFT JOIN score_note n ON n.scorer_id = x.scorer_id AND n.trajectory_id = x.trajectory_id AND n.idx = x.idx
             AND q.name = 'score'""",
}


class _Dialect:
    """Spells `{id:column}` and `{time:column}` in a view for one engine."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name

    def __format__(self, column: str) -> str:
        if self.name == "postgresql":
            return f"{column}::text" if self.kind == "id" else f"to_timestamp({column} / 1e6)"
        if self.kind == "time":
            return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1e6, 'unixepoch')"
        digits, parts = f"lower(hex({column}))", ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        dashed = " || '-' || ".join(f"substr({digits}, {start}, {length})" for start, length in parts)
        return f"CASE WHEN {column} IS NOT NULL THEN {dashed} END"


def upgrade() -> None:
    op.create_table(
        "blob",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_blob")),
    )
    op.create_table(
        "env",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_env")),
        sa.UniqueConstraint("name", name=op.f("uq_env_name")),
    )
    op.create_table(
        "ingest",
        sa.Column("writer_id", _Id, nullable=False),
        sa.Column("seq", _Big, autoincrement=False, nullable=False),
        sa.Column("committed_at", _Big, nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("writer_id", "seq", name=op.f("pk_ingest")),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "part",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_part")),
        sa.UniqueConstraint("name", name=op.f("uq_part_name")),
    )
    op.create_table(
        "policy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
        sa.UniqueConstraint("name", name=op.f("uq_policy_name")),
    )
    op.create_table(
        "scorer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("sees", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("weights", sa.Text(), nullable=True),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("tokenizer", sa.Text(), nullable=True),
        sa.Column("created_at", _Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scorer")),
        sa.UniqueConstraint("digest", name=op.f("uq_scorer_digest")),
    )
    op.create_index(op.f("ix_scorer_name"), "scorer", ["name"], unique=False)
    op.create_table(
        "shaping",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shaping")),
        sa.UniqueConstraint("digest", name=op.f("uq_shaping_digest")),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("key", "text_hash", name=op.f("uq_task_key_text_hash")),
    )
    op.create_table(
        "tool",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool")),
        sa.UniqueConstraint("name", name=op.f("uq_tool_name")),
    )
    op.create_table(
        "trajectory",
        sa.Column("id", _Id, nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("env_id", sa.Integer(), nullable=True),
        sa.Column("policy_id", sa.Integer(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("seed", _Big, nullable=True),
        sa.Column("group_key", sa.Text(), nullable=True),
        sa.Column("parent_id", _Id, nullable=True),
        sa.Column("fork_index", sa.Integer(), nullable=True),
        sa.Column("fork_call", sa.Text(), nullable=True),
        sa.Column("fork", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("terminated", sa.Boolean(), nullable=True),
        sa.Column("truncated", sa.Boolean(), nullable=True),
        sa.Column("started_at", _Big, nullable=False),
        sa.Column("ended_at", _Big, nullable=True),
        sa.Column("meta", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["env_id"], ["env.id"], name=op.f("fk_trajectory_env_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["policy.id"], name=op.f("fk_trajectory_policy_id")),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_trajectory_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trajectory")),
    )
    op.create_index(op.f("ix_trajectory_external_id"), "trajectory", ["external_id"], unique=False)
    op.create_index(op.f("ix_trajectory_group_key"), "trajectory", ["group_key"], unique=False)
    op.create_index(op.f("ix_trajectory_parent_id"), "trajectory", ["parent_id"], unique=False)
    op.create_index(op.f("ix_trajectory_started_at"), "trajectory", ["started_at"], unique=False)
    op.create_index(op.f("ix_trajectory_task_id_policy_id"), "trajectory", ["task_id", "policy_id"], unique=False)
    op.create_table(
        "content",
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action_text", sa.Text(), nullable=True),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("action_native", sa.Text(), nullable=True),
        sa.Column("info", sa.Text(), nullable=True),
        sa.Column("result_text", sa.Text(), nullable=True),
        sa.Column("result_native", sa.Text(), nullable=True),
        sa.Column("result_images", sa.Text(), nullable=True),
        sa.Column("state_hash", _Big, nullable=True),
        sa.Column("odd", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectory.id"], name=op.f("fk_content_trajectory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trajectory_id", "idx", name=op.f("pk_content")),
        comment="row -1 holds the first observation; row t what step t did and the observation that it led to",
    )
    op.create_table(
        "label",
        sa.Column("id", _Id, nullable=False),
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("idx", sa.Integer(), nullable=True),
        sa.Column("annotator", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("created_at", _Big, nullable=False),
        sa.Column("supersedes", _Id, nullable=True),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectory.id"], name=op.f("fk_label_trajectory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
    )
    op.create_index(op.f("ix_label_trajectory_id_idx"), "label", ["trajectory_id", "idx"], unique=False)
    op.create_table(
        "outcome",
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", _Big, autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectory.id"], name=op.f("fk_outcome_trajectory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trajectory_id", "source", "at", name=op.f("pk_outcome")),
    )
    op.create_table(
        "score",
        sa.Column("scorer_id", sa.Integer(), nullable=False),
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["part_id"], ["part.id"], name=op.f("fk_score_part_id")),
        sa.ForeignKeyConstraint(["scorer_id"], ["scorer.id"], name=op.f("fk_score_scorer_id")),
        sa.PrimaryKeyConstraint("scorer_id", "trajectory_id", "idx", "part_id", name=op.f("pk_score")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "score_note",
        sa.Column("scorer_id", sa.Integer(), nullable=False),
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["scorer_id"], ["scorer.id"], name=op.f("fk_score_note_scorer_id")),
        sa.PrimaryKeyConstraint("scorer_id", "trajectory_id", "idx", name=op.f("pk_score_note")),
    )
    op.create_table(
        "step",
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("env_reward", sa.Double(), nullable=True),
        sa.Column("given_reward", sa.Double(), nullable=True),
        sa.Column("shaping_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["shaping_id"], ["shaping.id"], name=op.f("fk_step_shaping_id")),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectory.id"], name=op.f("fk_step_trajectory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trajectory_id", "idx", name=op.f("pk_step")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tool_call",
        sa.Column("trajectory_id", _Id, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tool_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("output_text", sa.Text(), nullable=True),
        sa.Column("output_native", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tool_id"], ["tool.id"], name=op.f("fk_tool_call_tool_id")),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectory.id"], name=op.f("fk_tool_call_trajectory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trajectory_id", "idx", "position", name=op.f("pk_tool_call")),
    )
    op.create_index(op.f("ix_tool_call_tool_id"), "tool_call", ["tool_id"], unique=False)
    engine = op.get_context().dialect.name
    for name, select in _VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS" + select.format(id=_Dialect("id", engine), time=_Dialect("time", engine)))


def downgrade() -> None:
    for name in _VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_index(op.f("ix_tool_call_tool_id"), "tool_call")
    op.drop_table("tool_call")
    op.drop_table("step")
    op.drop_table("score_note")
    op.drop_table("score")
    op.drop_table("outcome")
    op.drop_index(op.f("ix_label_trajectory_id_idx"), "label")
    op.drop_table("label")
    op.drop_table("content")
    op.drop_index(op.f("ix_trajectory_task_id_policy_id"), "trajectory")
    op.drop_index(op.f("ix_trajectory_started_at"), "trajectory")
    op.drop_index(op.f("ix_trajectory_parent_id"), "trajectory")
    op.drop_index(op.f("ix_trajectory_group_key"), "trajectory")
    op.drop_index(op.f("ix_trajectory_external_id"), "trajectory")
    op.drop_table("trajectory")
    op.drop_table("tool")
    op.drop_table("task")
    op.drop_table("shaping")
    op.drop_index(op.f("ix_scorer_name"), "scorer")
    op.drop_table("scorer")
    op.drop_table("policy")
    op.drop_table("part")
    op.drop_table("meta")
    op.drop_table("ingest")
    op.drop_table("env")
    op.drop_table("blob")
