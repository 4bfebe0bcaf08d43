"""The engines a store runs on: SQLite in a file and in memory; PostgreSQL where a server is named."""

import os
import shutil
from uuid import uuid4

import pytest

from agentprm import Store

POSTGRES = os.environ.get("AGENTPRM_TEST_POSTGRES")
"""The URL of a server on which these tests may make and drop databases, such as postgresql://postgres@localhost/."""


@pytest.fixture(params=["sqlite", "postgresql"] if POSTGRES else ["sqlite"])
def url(request, tmp_path):
    """A database that nobody has used yet."""
    if request.param == "sqlite":
        yield str(tmp_path / "runs.db")
        return
    psycopg = pytest.importorskip("psycopg")
    name = f"agentprm_{uuid4().hex}"
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    yield f"{POSTGRES.rstrip('/')}/{name}"
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


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
