"""Long texts and pictures stand once, by the names of their contents; views put them in where the engine can.

What was recorded before stays as it is and is read as ever; `agentprm db upgrade` moves it, some episodes at a time.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAMES = {
    "content": ("action_hash", "plan_hash", "result_hash"),
    "tool_call": ("output_hash",),
    "score_note": ("text_hash",),
}
_JSON_COLUMNS = {
    "content": ("action_native", "info", "result_native", "odd"),
    "tool_call": ("arguments", "output_native"),
    "trajectory": ("meta", "fork"),
}
_TAG = re.compile(r'\{"\$text":"([0-9a-f]{32})"\}')
_AT_ONCE = 1_000

_VIEWS = {
    "v_trajectory": """
        SELECT {id:t.id} AS id, t.external_id, k.key AS task, k.text AS task_text, e.name AS env, p.name AS policy,
               t.seed, t.group_key, {id:t.parent_id} AS parent_id, t.fork_index, t.status, t.terminated, t.truncated,
               (SELECT o.value FROM outcome o WHERE o.trajectory_id = t.id ORDER BY o.at DESC LIMIT 1) AS outcome,
               (SELECT count(*) FROM step s WHERE s.trajectory_id = t.id) AS n_steps,
               (SELECT sum(s.env_reward) FROM step s WHERE s.trajectory_id = t.id) AS env_return,
               (SELECT sum(coalesce(s.given_reward, s.env_reward)) FROM step s WHERE s.trajectory_id = t.id)
                   AS given_return,
               {time:t.started_at} AS started_at, {time:t.ended_at} AS ended_at, {json:t.meta} AS meta,
               t.id AS trajectory_id
        FROM trajectory t JOIN task k ON k.id = t.task_id
        LEFT JOIN env e ON e.id = t.env_id LEFT JOIN policy p ON p.id = t.policy_id""",
    "v_step": """
        SELECT {id:s.trajectory_id} AS trajectory, s.idx, s.kind,
               coalesce({text:b.result_text b.result_hash}, {json:b.result_native}) AS observation,
               {text:c.plan c.plan_hash} AS plan,
               coalesce({text:c.action_text c.action_hash}, {json:c.action_native}) AS action,
               coalesce({text:c.result_text c.result_hash}, {json:c.result_native}) AS result,
               s.env_reward, coalesce(s.given_reward, s.env_reward) AS given_reward, h.spec AS shaping,
               b.state_hash, {json:c.info} AS info, s.trajectory_id
        FROM step s
        LEFT JOIN content b ON b.trajectory_id = s.trajectory_id AND b.idx = s.idx - 1
        LEFT JOIN content c ON c.trajectory_id = s.trajectory_id AND c.idx = s.idx
        LEFT JOIN shaping h ON h.id = s.shaping_id""",
    "v_tool_call": """
        SELECT {id:c.trajectory_id} AS trajectory, c.idx, c.position, w.name AS tool, {json:c.arguments} AS arguments,
               coalesce({text:c.output_text c.output_hash}, {json:c.output_native}) AS output, c.status, c.attempts,
               c.call_id, c.trajectory_id
        FROM tool_call c JOIN tool w ON w.id = c.tool_id""",
    "v_score": """
        SELECT {id:x.trajectory_id} AS trajectory, x.idx, r.name AS scorer, q.name AS part, x.value, r.unit, r.sees,
               {text:n.text n.text_hash} AS note, r.spec, r.digest, x.scorer_id, x.trajectory_id
        FROM score x JOIN scorer r ON r.id = x.scorer_id JOIN part q ON q.id = x.part_id
        LEFT JOIN score_note n ON n.scorer_id = x.scorer_id AND n.trajectory_id = x.trajectory_id AND n.idx = x.idx
             AND q.name = 'score'""",
}
_TEXT = """
    CREATE FUNCTION agentprm_text(wanted text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path FROM CURRENT AS $$
        WITH RECURSIVE chain AS (
            SELECT b.base, b.shared, b.data, 0 AS depth, 2147483647 AS seen FROM blob b WHERE b.hash = wanted
            UNION ALL
            SELECT b.base, b.shared, b.data, c.depth + 1, least(c.seen, c.shared)
            FROM chain c JOIN blob b ON b.hash = c.base
        )
        SELECT convert_from(string_agg(
            substring(data FROM 1 FOR greatest(seen - coalesce(shared, 0), 0)), ''::bytea ORDER BY depth DESC
        ), 'UTF8') FROM chain
    $$"""
_JSON = """
    CREATE FUNCTION agentprm_json(given text) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path FROM CURRENT AS $$
    DECLARE tag text;
    BEGIN
        IF strpos(given, '{"$text":"') > 0 THEN
            FOR tag IN
                SELECT DISTINCT m[1] FROM regexp_matches(given, '(\\{"\\$text":"[0-9a-f]{32}"\\})', 'g') AS m
            LOOP
                given := replace(given, tag, coalesce(agentprm_text(substring(tag FROM 11 FOR 32)), tag));
            END LOOP;
        END IF;
        RETURN given;
    END $$"""


class _Dialect:
    """Spells `{id:column}` and the like in a view for one engine."""

    def __init__(self, kind: str, name: str, whole: bool) -> None:
        self.kind, self.name, self.whole = kind, name, whole

    def __format__(self, given: str) -> str:
        column, _, name = given.partition(" ")
        if self.kind in ("text", "json") and not self.whole:
            return column
        if self.kind == "text":
            rest = f"agentprm_text({name})" if self.name == "postgresql" else f"{column} || '…'"
            return f"CASE WHEN {name} IS NULL THEN {column} ELSE {rest} END"
        if self.kind == "json":
            return f"agentprm_json({column})" if self.name == "postgresql" else column
        if self.name == "postgresql":
            return f"{column}::text" if self.kind == "id" else f"to_timestamp({column} / 1e6)"
        if self.kind == "time":
            return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1e6, 'unixepoch')"
        digits, parts = f"lower(hex({column}))", ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        dashed = " || '-' || ".join(f"substr({digits}, {start}, {length})" for start, length in parts)
        return f"CASE WHEN {column} IS NOT NULL THEN {dashed} END"


def upgrade() -> None:
    engine = op.get_context().dialect.name
    for name in _VIEWS:
        op.execute(f"DROP VIEW {name}")
    for table, columns in _NAMES.items():
        for column in columns:
            op.add_column(table, sa.Column(column, sa.Text(), nullable=True))
    # Made anew, so that the narrow columns stand before the data: a scan need not read through what is long.
    op.rename_table("blob", "former_blob")
    if engine == "postgresql":
        op.execute("ALTER TABLE former_blob RENAME CONSTRAINT pk_blob TO pk_former_blob")
    op.create_table(
        "blob",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("base", sa.Text(), nullable=True),
        sa.Column("shared", sa.Integer(), nullable=True),
        sa.Column("n_chars", sa.Integer(), nullable=True),
        sa.Column("n_bytes", sa.Integer(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_blob")),
    )
    op.execute(
        "INSERT INTO blob (hash, media_type, generation, data) SELECT hash, media_type, 1, data FROM former_blob"
    )
    op.drop_table("former_blob")
    has_base = sa.text("base IS NOT NULL")
    op.create_index("ix_blob_base", "blob", ["base"], unique=False, sqlite_where=has_base, postgresql_where=has_base)
    chance = "lower(hex(randomblob(16)))" if engine == "sqlite" else "replace(gen_random_uuid()::text, '-', '')"
    op.execute(f"INSERT INTO meta (key, value) VALUES ('uid', {chance}), ('generation', '1')")
    op.execute("INSERT INTO meta (key, value) SELECT 'backfill', '' WHERE EXISTS (SELECT 1 FROM trajectory)")
    if engine == "postgresql":
        op.execute(_TEXT)
        op.execute(_JSON)
    _make_views(_VIEWS, whole=True)


def _make_views(views: dict[str, str], *, whole: bool) -> None:
    engine = op.get_context().dialect.name
    spelled = {kind: _Dialect(kind, engine, whole) for kind in ("id", "time", "text", "json")}
    for name, select in views.items():
        op.execute(f"CREATE VIEW {name} AS" + select.format(**spelled))


def downgrade() -> None:
    for name in _VIEWS:
        op.execute(f"DROP VIEW {name}")
    connection = op.get_bind()
    for table, columns in _NAMES.items():
        for column in columns:
            text = "text" if column == "text_hash" else column.replace("_hash", "_text").replace("plan_text", "plan")
            _put_back(connection, table, text, column, lambda _, name: _text(connection, name))
            with op.batch_alter_table(table) as batch:
                batch.drop_column(column)
    for table, columns in _JSON_COLUMNS.items():
        for column in columns:
            _put_back(connection, table, column, column, lambda text, _: _json(connection, text))
    op.execute("DELETE FROM blob WHERE media_type IN ('text/plain', 'application/json') AND n_chars IS NOT NULL")
    op.drop_index("ix_blob_base", "blob")
    with op.batch_alter_table("blob") as batch:
        for column in ("generation", "base", "shared", "n_chars", "n_bytes"):
            batch.drop_column(column)
    op.execute("DELETE FROM meta WHERE key IN ('uid', 'generation', 'backfill')")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION agentprm_json(text)")
        op.execute("DROP FUNCTION agentprm_text(text)")
    _make_views(_VIEWS, whole=False)


def _put_back(connection: Any, table: str, column: str, given: str, whole: Any) -> None:
    """Put whole texts back into a column, from what `given` says of them."""
    t = sa.Table(table, sa.MetaData(), autoload_with=connection)
    keys = list(t.primary_key.columns)
    tagged = t.c[given].is_not(None) if given != column else t.c[given].contains('{"$text":"', autoescape=True)
    where: list[Any] = [tagged]
    while True:
        query = sa.select(*keys, t.c[column], t.c[given].label("given")).where(*where).order_by(*keys).limit(_AT_ONCE)
        rows = connection.execute(query).all()
        for row in rows:
            this = [key == value for key, value in zip(keys, row, strict=False)]
            connection.execute(sa.update(t).where(*this).values({column: whole(row[len(keys)], row.given)}))
        if len(rows) < _AT_ONCE:
            return
        where = [tagged, sa.tuple_(*keys) > sa.tuple_(*rows[-1][: len(keys)])]


def _data(connection: Any, name: str) -> bytes | None:
    query = sa.text("SELECT base, shared, n_bytes, data FROM blob WHERE hash = :name")
    found = connection.execute(query, {"name": name}).first()
    if found is None:
        return None
    base, shared, n_bytes, data = found
    rest = bytes(data) if n_bytes is None else zlib.decompress(data)
    return ((_data(connection, base) or b"")[:shared] if base else b"") + rest


def _text(connection: Any, name: str) -> str | None:
    data = _data(connection, name)
    return None if data is None else data.decode()


def _json(connection: Any, text: str) -> str:
    return _TAG.sub(lambda tag: _text(connection, tag[1]) or tag[0], text)
