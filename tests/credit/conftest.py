"""Stores to put credit questions to: one in memory, and the same world on both engines."""

import importlib.util
import warnings
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from credit_world import world

from agentprm import Store

_engines = importlib.util.spec_from_file_location("engines", Path(__file__).parents[1] / "store" / "conftest.py")
engines = importlib.util.module_from_spec(_engines)
_engines.loader.exec_module(engines)
postgres = engines.postgres


@pytest.fixture
def store():
    with Store(":memory:") as opened:
        yield opened


@pytest.fixture(scope="session")
def made():
    """A world with something of everything: trajectories, each with its scores."""
    return world()


@pytest.fixture(scope="session")
def lite(made, tmp_path_factory):
    """That world in SQLite."""
    with Store(tmp_path_factory.mktemp("credit") / "runs.db") as opened:
        opened.add([item for t, scores in made for item in (t, *scores)])
        yield opened


@pytest.fixture(scope="session")
def elephant(made, postgres):
    """That world in PostgreSQL; its `.address` has all that a driver of one's own needs."""
    name = f"credit_{uuid4().hex}"
    with psycopg.connect(postgres("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    with warnings.catch_warnings(), Store(postgres(name)) as opened:
        opened.add([item for t, scores in made for item in (t, *scores)])
        yield opened, postgres(name)
    with psycopg.connect(postgres("postgres"), autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
