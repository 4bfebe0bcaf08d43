"""Who may do what with a store on PostgreSQL: writers, scorers, readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from agentprm.errors import StoreError
from agentprm.store.database import Database
from agentprm.store.tables import metadata

__all__ = ["ROLES", "Role", "grant", "statements"]

_ALL = tuple(sorted(metadata.tables))
_VIEWS = ("v_trajectory", "v_step", "v_tool_call", "v_score")
_ENDING = "status, terminated, truncated, ended_at"
_USED = "generation"
"""Of a blob: when it was last used, so that no garbage collector takes it."""


class Role(NamedTuple):
    """What one kind of login may do beside reading."""

    what: str
    """In words."""
    insert: tuple[str, ...] = ()
    """Tables to which it adds."""
    update: Mapping[str, str] = {}
    """Columns that it changes, by table; "" is all of them."""
    delete: tuple[str, ...] = ()
    """Tables from which it takes."""


ROLES = {
    "reader": Role("asks every question; changes nothing"),
    "writer": Role(
        "records: adds facts, and ends episodes that run; deletes nothing, says nothing about them",
        insert=("trajectory", "step", "content", "tool_call", "blob", "task", "env", "policy", "tool", "shaping",
                "outcome", "ingest"),
        update={"trajectory": _ENDING, "blob": _USED},
    ),
    "scorer": Role(
        "adds opinions (scores, labels, outcomes) and shares out the work; changes no fact",
        insert=("score", "score_note", "scorer", "part", "label", "outcome", "ingest", "score_job", "score_claim",
                "blob", "episode_score", "action_score"),
        update={"score_job": "", "score_claim": "", "blob": _USED},
        delete=("score_claim",),
    ),
}  # fmt: skip
"""What there is; a login may have several."""


def statements(schema: str = "public", prefix: str = "agentprm") -> Iterator[str]:
    """Yield the SQL that makes the roles, or brings them up to date: group roles, to be granted to logins.

    >>> next(sql for sql in statements() if "UPDATE" in sql)
    'GRANT UPDATE (status, terminated, truncated, ended_at) ON "public"."trajectory" TO "agentprm_writer";'
    """
    for name, role in ROLES.items():
        yield from _role(role, _quoted(f"{prefix}_{name}"), f"{prefix}_{name}", _quoted(schema))


def _role(role: Role, quoted: str, name: str, schema: str) -> Iterator[str]:
    literal = name.replace("'", "''")
    yield (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{literal}') "
        f"THEN CREATE ROLE {quoted} NOLOGIN; END IF; END $$;"
    )
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {quoted};"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {quoted};"
    yield f"GRANT SELECT ON {_on(schema, (*_ALL, 'alembic_version', *_VIEWS))} TO {quoted};"
    yield f"GRANT EXECUTE ON FUNCTION {schema}.number_completed(integer) TO {quoted};"
    if role.insert:
        yield f"GRANT INSERT ON {_on(schema, role.insert)} TO {quoted};"
        numbered = [f"{schema}.{_quoted(f'{table}_id_seq')}" for table in role.insert if _is_numbered(table)]
        yield f"GRANT USAGE ON SEQUENCE {', '.join(numbered)} TO {quoted};"
    for table, columns in role.update.items():
        yield f"GRANT UPDATE{f' ({columns})' if columns else ''} ON {_on(schema, (table,))} TO {quoted};"
    if role.delete:
        yield f"GRANT DELETE ON {_on(schema, role.delete)} TO {quoted};"


def _on(schema: str, tables: tuple[str, ...]) -> str:
    return ", ".join(f"{schema}.{_quoted(table)}" for table in tables)


def _is_numbered(table: str) -> bool:
    """Tell whether the database gives out a table's keys."""
    key = list(metadata.tables[table].primary_key)
    return len(key) == 1 and isinstance(key[0].type, sa.Integer) and not isinstance(key[0].type, sa.BigInteger)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def grant(database: Database, prefix: str = "agentprm") -> list[str]:
    """Make the roles on a server; return what was said to it.

    Raises StoreError for SQLite, NotAllowed for a login that does not own the schema or may make no roles.
    """
    require_server(database)
    with database.changing() as connection:
        said = list(statements(connection.exec_driver_sql("SELECT current_schema()").scalar_one(), prefix))
        for sql in said:
            connection.exec_driver_sql(sql)
    return said


def require_server(database: Database) -> None:
    """Raise StoreError for a database that has no roles."""
    if database.is_sqlite:
        raise StoreError("SQLite has no roles: use the permissions of the file, or PostgreSQL")
