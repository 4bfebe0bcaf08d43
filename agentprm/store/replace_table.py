"""A table of PostgreSQL made anew in another form: with its rows, keys, indexes, grants and the views that read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

__all__ = ["replace_table", "without_views"]

_VIEWS = """
    SELECT c.relname, pg_get_viewdef(c.oid), c.oid::int FROM pg_class c
    WHERE c.relkind = 'v' AND c.relnamespace = current_schema()::regnamespace ORDER BY c.oid"""
_CONSTRAINTS = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = '{table}'::regclass AND contype IN ('p', 'u', 'f', 'c') ORDER BY contype = 'f', conname"""
_INDEXES = """
    SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i WHERE i.indrelid = '{table}'::regclass
    AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)"""
_GRANTS = """
    SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = '{table}'::regclass AND a.grantee <> c.relowner"""
_COMMENT = "SELECT quote_literal(obj_description('{table}'::regclass))"


@contextmanager
def without_views(connection: sa.Connection) -> Iterator[None]:
    """Drop the views of the schema meanwhile, and make them again as they were."""
    views = [tuple(row) for row in connection.exec_driver_sql(_VIEWS)]
    grants = [sql for name, _, _ in views for sql in _grants(connection, name)]
    for name, _, _ in reversed(views):
        connection.exec_driver_sql(f'DROP VIEW "{name}"')
    yield
    for name, select, _ in views:
        _run(connection, f'CREATE VIEW "{name}" AS {select}')
    for sql in grants:
        connection.exec_driver_sql(sql)


def replace_table(connection: sa.Connection, table: str, form: str, pieces: Iterable[str]) -> None:
    """Make a table anew in another `form`, with its `pieces`, and put everything into it; nothing else may read it."""
    constraints = [tuple(row) for row in connection.exec_driver_sql(_CONSTRAINTS.format(table=table))]
    indexes = list(connection.exec_driver_sql(_INDEXES.format(table=table)).scalars())
    grants = list(_grants(connection, table))
    comment = connection.exec_driver_sql(_COMMENT.format(table=table)).scalar()
    connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_whole")
    like = f"LIKE {table}_whole INCLUDING DEFAULTS INCLUDING COMMENTS INCLUDING STORAGE INCLUDING COMPRESSION"
    connection.exec_driver_sql(f"CREATE TABLE {table} ({like}) {form}")
    for sql in pieces:
        connection.exec_driver_sql(sql)
    connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {table}_whole")
    connection.exec_driver_sql(f"DROP TABLE {table}_whole")
    for name, definition in constraints:  # keys after the rows: quicker, and denser
        _run(connection, f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
    for sql in indexes:
        _run(connection, sql)
    if comment is not None:
        _run(connection, f"COMMENT ON TABLE {table} IS {comment}")
    for sql in grants:
        connection.exec_driver_sql(sql)


def _grants(connection: sa.Connection, table: str) -> Iterator[str]:
    for privilege, whom in connection.exec_driver_sql(_GRANTS.format(table=table)).all():
        yield f'GRANT {privilege} ON "{table}" TO {whom}'


def _run(connection: sa.Connection, sql: str) -> None:
    """Run SQL that PostgreSQL wrote itself, percent signs and all."""
    connection.exec_driver_sql(sql.replace("%", "%%"))
