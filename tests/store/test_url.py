"""Where a store lies, and that no password is ever shown."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from agentprm import Store
from agentprm.errors import MissingExtra, StoreError
from agentprm.store import database
from agentprm.store.url import plain_url, read_url

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("form", "url"),
    [
        ("runs.db", "sqlite:///{here}/runs.db"),
        (Path("runs.db"), "sqlite:///{here}/runs.db"),
        ("sqlite:///runs.db", "sqlite:///{here}/runs.db"),
        ("sqlite:////tmp/runs.db", "sqlite:////tmp/runs.db"),
        (":memory:", "sqlite://"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite://"),
        ("postgresql://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgres://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgresql+psycopg://host:5433/db?sslmode=require", "postgresql+psycopg://host:5433/db?sslmode=require"),
        (sa.make_url("sqlite:///x.db"), "sqlite:///x.db"),
    ],
)
def test_paths_and_urls_are_one_thing(form, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_url(form).render_as_string(hide_password=False) == url.format(here=tmp_path)


@pytest.mark.parametrize(
    "form",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"postgresql://me@host/db?password={SECRET}",
        f"postgresql://me:{SECRET}@host/db?sslpassword={SECRET}&sslmode=require",
    ],
)
def test_a_plain_url_shows_no_password_and_asks_for_it(form, monkeypatch):
    shown = plain_url(read_url(form))
    assert SECRET not in shown
    assert "***" in shown
    monkeypatch.delenv("AGENTPRM_STORE", raising=False)
    with pytest.raises(StoreError, match="was never recorded: set AGENTPRM_STORE to the whole URL") as refused:
        read_url(shown)
    assert SECRET not in str(refused.value)
    monkeypatch.setenv("AGENTPRM_STORE", form)
    assert read_url(shown) == read_url(form)


@pytest.mark.parametrize("given", ["no url", "postgresql://me@host/db", "postgresql://me:***@host/db"])
@pytest.mark.parametrize("shown", ["postgresql://me:***@host/db", "postgresql://me@host/db?password=***"])
def test_a_password_that_the_environment_does_not_give_is_missing(given, shown, monkeypatch):
    monkeypatch.setenv("AGENTPRM_STORE", given)
    with pytest.raises(StoreError, match="never recorded"):
        read_url(shown)


@pytest.mark.parametrize(
    "form", [f"://me:{SECRET}@host/db", f"postgresql//me:{SECRET}://x@h", f"postgresql://me:{SECRET}@host:port/db"]
)
def test_what_is_no_url_is_refused_without_showing_its_password(form):
    with pytest.raises(StoreError) as refused:
        read_url(form)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_engine_nobody_knows_is_refused():
    with pytest.raises(StoreError, match="'oracle2' is no database that this reads: sqlite or postgresql"):
        Store("oracle2://host/db")


def test_a_missing_driver_names_its_extra(monkeypatch):
    def missing(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(database.sa, "create_engine", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'agentprm\[postgres\]'"):
        Store("postgresql://host/db")


def test_a_server_that_does_not_answer_is_named_without_its_password():
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=r"cannot use postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/db") as refused:
        Store(f"postgresql://me:{SECRET}@127.0.0.1:1/db")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("form", [5, None, ["runs.db"]])
def test_what_is_neither_path_nor_url_is_named(form):
    with pytest.raises(StoreError, match="the path of a file or a URL"):
        Store(form)


def test_another_engine_is_refused_by_saying_which_there_are():
    with pytest.raises(StoreError, match="'mysql' is no database that this reads: sqlite or postgresql"):
        Store("mysql://me@host/db")
