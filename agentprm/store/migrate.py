"""The schema of a database: what it is, and how it comes to be what this version needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agentprm.errors import NewerDatabase, NotOurDatabase, OutdatedDatabase, StoreError
from agentprm.store.database import Database
from agentprm.store.opened import close_database, open_database
from agentprm.store.partition import is_part
from agentprm.store.url import plain_url

__all__ = ["HEAD", "check", "current", "ensure", "opened", "upgrade"]

HEAD = "0004"
"""The revision that this version reads and writes."""


def migrations() -> Path:
    """Return the folder of migrations: inside the package when installed from a wheel, beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "_migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"


@contextmanager
def opened(form: Database | str | Path, *, create: bool = False) -> Iterator[Database]:
    """Give the database at a URL, and let it go; one that is open already is left open."""
    if isinstance(form, Database):
        yield form
        return
    database = open_database(form, create=create)
    try:
        yield database
    finally:
        close_database(database)


def current(store: Database | str | Path) -> str | None:
    """Return the revision that the store at a URL is at; None for an empty database.

    Raises NotOurDatabase when it holds tables of something else.
    """
    with opened(store) as database, database.reading() as connection:
        return _current(connection)


def _current(connection: sa.Connection) -> str | None:
    found = set(sa.inspect(connection).get_table_names())
    if not found:
        return None
    ours = {"alembic_version", "trajectory", "step", "score"}
    if not ours <= found and found != {"alembic_version"}:  # that alone is left of a downgrade to the base
        where = plain_url(connection.engine.url)
        raise NotOurDatabase(
            f"{where} is no agentprm store: it holds {', '.join(sorted(found)[:5])} and lacks "
            f"{', '.join(sorted(ours - found))}; choose another file or schema"
        )
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def ensure(database: Database, *, allow: bool = True, create: bool = True) -> None:
    """Bring a database to `HEAD` if need be, safely beside other processes that do the same.

    Raises OutdatedDatabase when it is behind and `allow` is False, NewerDatabase when a newer agentprm wrote it,
    StoreError when it is empty and `create` is False.
    """
    revision = current(database)
    _refuse_newer(database, revision)
    if revision is None and not create:
        where = plain_url(database.url)
        raise StoreError(
            f"{where} is empty: record into it first, or make its schema with `agentprm db upgrade {where}`"
        )
    if database.is_sqlite and not database.is_memory and not database.is_read_only:
        database.enter_wal()
    if revision == HEAD:
        return
    if revision is not None and (not allow or database.is_read_only):
        raise OutdatedDatabase(
            f"{plain_url(database.url)} is at revision {revision}, this version needs {HEAD}: run "
            f"`agentprm db upgrade {plain_url(database.url)}`"
        )
    upgrade(database)


def upgrade(store: Database | str | Path, revision: str = "head") -> None:
    """Bring the store at a URL to `revision`, in one transaction under a lock; make it if there is none."""
    from alembic import command

    with opened(store, create=True) as database, database.migrating() as connection:
        _refuse_newer(database, _current(connection))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def check(store: Database | str | Path) -> list[str]:
    """Return how a store's tables differ from what this version expects, one line each; empty when they do not."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from agentprm.store.tables import metadata

    with opened(store) as database, database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": is_ours})
        return [str(difference) for difference in compare_metadata(context, metadata)]


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Tell, to Alembic, whether a table is one of the schema rather than a part of one."""
    return kind != "table" or name is None or not is_part(name)


def _refuse_newer(database: Database, revision: str | None) -> None:
    if revision is not None and revision not in _known():
        raise NewerDatabase(
            f"{plain_url(database.url)} is at revision {revision}, this version knows up to {HEAD}: "
            "a newer agentprm wrote it; upgrade with `pip install -U agentprm`"
        )


def _known() -> set[str]:
    return {path.name.split("_")[0] for path in (migrations() / "versions").glob("[0-9]*.py")}


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
