"""The views with every text whole: on PostgreSQL they stand in the database, in a SQLite file others stand in for them.

SQLite cannot uncompress by itself, so the views in its file show the first characters of a long text, for any program
that opens it. Our own connections put these in front of them.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from agentprm.store.blobs import replaced
from agentprm.store.kept import unpacked

__all__ = ["VIEWS", "show_whole", "teach", "unshow"]

VIEWS = {
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


class _Spelling:
    """Spells `{id:column}` and the like in a view, for our own connections to SQLite."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __format__(self, given: str) -> str:
        column, _, name = given.partition(" ")
        if self.kind == "text":
            return f"CASE WHEN {name} IS NULL THEN {column} ELSE agentprm_text({name}) END"
        if self.kind == "json":
            return f"agentprm_json({column})"
        if self.kind == "time":
            return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1e6, 'unixepoch')"
        digits, parts = f"lower(hex({column}))", ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        dashed = " || '-' || ".join(f"substr({digits}, {start}, {length})" for start, length in parts)
        return f"CASE WHEN {column} IS NOT NULL THEN {dashed} END"


_SPELLED = {
    name: select.format(**{kind: _Spelling(kind) for kind in ("id", "time", "text", "json")})
    for name, select in VIEWS.items()
}


def teach(connection: sqlite3.Connection) -> None:
    """Give a connection the functions ``agentprm_text(name)`` and ``agentprm_json(text)``, which make whole."""
    query = "SELECT base, shared, n_bytes, data FROM blob WHERE hash = ?"

    def data(name: str) -> bytes | None:
        found = connection.execute(query, (name,)).fetchone()
        if found is None:
            return None
        base, shared, n_bytes, rest = found
        front = data(base) if base is not None else b""
        return None if front is None else front[: shared or 0] + unpacked(rest, n_bytes)

    def text(name: Any) -> str | None:
        whole = data(name) if isinstance(name, str) else None
        return None if whole is None else whole.decode()

    connection.create_function("agentprm_text", 1, text)
    connection.create_function("agentprm_json", 1, lambda given: replaced(given, text) if given else given)


def show_whole(connection: sqlite3.Connection) -> None:
    """Put the views with whole texts in front of those in the file, for one connection."""
    for name, select in _SPELLED.items():
        connection.execute(f"CREATE TEMP VIEW IF NOT EXISTS {name} AS{select}")


def unshow(connection: sqlite3.Connection) -> None:
    """Take them away again."""
    for name in VIEWS:
        connection.execute(f"DROP VIEW IF EXISTS temp.{name}")
