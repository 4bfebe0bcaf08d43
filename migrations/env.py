"""How Alembic meets the store: on a connection it is given, else on a URL, else as SQL for a database administrator.

The host's logging is left alone.
"""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.pool import NullPool

from agentprm.store.migrate import is_ours
from agentprm.store.tables import metadata
from agentprm.store.url import read_url

config = context.config


def _url() -> URL:
    url = context.get_x_argument(as_dictionary=True).get("url") or config.get_alembic_option("sqlalchemy.url")
    return read_url(url or os.environ.get("AGENTPRM_STORE") or "sqlite:///runs.db")


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        include_name=is_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


def _online() -> None:
    given = config.attributes.get("connection")
    if given is not None:
        _run(given)
        return
    with create_engine(_url(), poolclass=NullPool).connect() as connection:
        _run(connection)


if context.is_offline_mode():
    context.configure(url=_url(), target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    _online()
