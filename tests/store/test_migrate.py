"""Which databases are ours, and how they come to be what this version needs."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filled import full, plain

from agentprm import Action, Ending, Observation, Step, Store, Task, ToolCall, Trajectory
from agentprm.errors import NewerDatabase, NotOurDatabase, OutdatedDatabase, StoreError
from agentprm.store import migrate, tables
from agentprm.store.opened import close_database, open_database
from agentprm.types import new_id

ROOT = Path(__file__).parents[2]


@pytest.fixture
def database(url):
    opened = open_database(url)
    yield opened
    close_database(opened)


def schema(database):
    """Return everything that makes a schema what it is."""
    if database.is_sqlite:
        query = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
    else:
        query = """SELECT 'column', table_name || '.' || column_name, data_type || is_nullable
                   FROM information_schema.columns WHERE table_schema = 'public'
                   UNION SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
                   UNION SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
                   ORDER BY 1, 2"""
    with database.connecting() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def downgrade(database, revision="base"):
    from alembic import command

    with database.migrating() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


# The migrations.


def test_there_is_one_head_and_this_version_knows_it():
    config = Config()
    config.set_main_option("script_location", str(migrate.migrations()))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_a_fresh_database_is_what_the_tables_say(database):
    migrate.ensure(database)
    assert migrate.current(database) == migrate.HEAD
    assert migrate.check(database) == []


def test_downgrading_and_upgrading_gives_the_same_schema(database):
    migrate.ensure(database)
    before = schema(database)
    assert len(before) > 20
    downgrade(database)
    assert {name.partition(".")[0] for _, name, _ in schema(database)} <= {
        "alembic_version", "alembic_version_pkc", "sqlite_autoindex_alembic_version_1",
    }  # fmt: skip
    migrate.upgrade(database)
    assert schema(database) == before


def test_a_store_opens_what_a_downgrade_left(database, url):
    migrate.ensure(database)
    downgrade(database)
    with Store(url) as store:
        assert store.add(plain(1)) == 1


def test_a_database_that_differs_is_described(database):
    migrate.ensure(database)
    with database.migrating() as connection:
        connection.execute(sa.text("DROP INDEX ix_tool_call_tool_id"))
        connection.execute(sa.text("ALTER TABLE step ADD COLUMN colour INTEGER"))
    described = " ".join(migrate.check(database))
    assert "ix_tool_call_tool_id" in described
    assert "colour" in described


def test_nothing_is_left_to_generate(database):
    migrate.ensure(database)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        script = produce_migrations(context, tables.metadata)
    assert script.upgrade_ops.is_empty()


def test_upgrading_twice_does_nothing(database):
    migrate.ensure(database)
    before = schema(database)
    migrate.upgrade(database)
    migrate.ensure(database, allow=False)
    assert schema(database) == before


def test_an_interrupted_upgrade_leaves_nothing(database, monkeypatch):
    from alembic import command

    real = command.upgrade

    def half(config, revision):
        real(config, revision)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "upgrade", half)
    with pytest.raises(KeyboardInterrupt):
        migrate.ensure(database)
    monkeypatch.undo()
    assert migrate.current(database) is None
    migrate.ensure(database)
    assert migrate.current(database) == migrate.HEAD


def race(url, n=8):
    """Let so many processes open a database at the same moment; return the reasons of those that could not."""
    gate, starting = os.pipe()
    told, telling = os.pipe()
    children = []
    for _ in range(n):
        if (child := os.fork()) == 0:
            try:
                os.close(starting)
                os.read(gate, 1)  # until the parent closes it
                with Store(url) as store:
                    store.add(plain(0))
                    assert (migrate.current(store._database), store.dropped) == (migrate.HEAD, 0)
            except BaseException as error:
                os.write(telling, f"{error!r}\n".encode())
            os._exit(0)
        children.append(child)
    for end in (gate, telling, starting):
        os.close(end)
    for child in children:
        os.waitpid(child, 0)
    with os.fdopen(told) as reasons:
        return reasons.read()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("before", ["nothing", "an older version's"])
def test_eight_processes_that_migrate_at_once_all_find_one_schema(url, before):
    if before != "nothing":
        migrate.upgrade(url, "0001")
    assert race(url) == ""
    assert migrate.check(url) == []
    with Store(url, migrate=False) as store:
        assert len(list(store.trajectories())) == 8


def test_what_was_recorded_before_gets_the_narrow_columns(url):
    steps = [
        Step(Observation("a"), Action("go há"), 0.0, {"tokens": {"output": 7, "total": 9}, "latency": 0.5}),
        Step(Observation("b"), Action(plan="think"), 0.0, {"tokens": "many"}),
        Step(Observation("a"), Action("", "", (ToolCall("search", {}, None, "x"),))),
    ]
    before = Trajectory(new_id(), Task("t"), tuple(steps), Observation("b"), Ending("terminated", True))
    names = ("idx", "state_hash", "characters", "tokens")
    rows = sa.select(*(tables.step.c[name] for name in names)).order_by(tables.step.c.idx)
    first = sa.select(tables.trajectory.c.state_hash)
    with Store(url) as store:
        store.add(before)
        with store.connection() as connection:
            written = connection.execute(rows).all(), connection.scalar(first)
    with migrate.opened(url) as database:
        downgrade(database, "0003")
    with Store(url) as store, store.connection() as connection:
        assert (connection.execute(rows).all(), connection.scalar(first)) == written
    assert [row[2:] for row in written[0]] == [(5, 7.0), (5, None), (None, None)]
    assert written[0][1][1] == written[1]
    assert migrate.check(url) == []


# The alembic command.


def alembic(*args, **environment):
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "alembic", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_alembic_command_upgrades_and_finds_nothing_to_change(tmp_path):
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    alembic("-x", f"url={url}", "upgrade", "head")
    assert "No new upgrade operations detected" in alembic("-x", f"url={url}", "check")
    assert migrate.HEAD in alembic("current", AGENTPRM_STORE=url)
    with Store(url, migrate=False) as store:
        t = full()
        store.add(t)
        assert list(store.trajectories()) == [t]
        one = schema(store._database)
    with Store(tmp_path / "other.db") as other:
        assert schema(other._database) == one, "there is one way to make a schema"


def test_an_administrator_gets_the_sql():
    sql = alembic("-x", "url=postgresql+psycopg://host/db", "upgrade", "head", "--sql")
    assert "CREATE TABLE trajectory" in sql
    assert "CREATE VIEW v_step" in sql
    assert "id UUID NOT NULL" in sql


# Whose database is it?


def test_a_text_file_is_not_ours(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("shopping list\n" * 100)
    with pytest.raises(NotOurDatabase, match=r"notes.txt is no SQLite database: choose another file"):
        Store(path)
    assert path.read_text().startswith("shopping list")


def test_a_file_of_another_application_is_not_ours_and_left_untouched(tmp_path):
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE moz_places (url TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(NotOurDatabase, match=r"holds moz_places and lacks alembic_version, score, step, trajectory"):
        Store(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["places.sqlite"]


def test_another_applications_alembic_is_not_ours(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE alembic_version (version_num TEXT)")
        db.execute("INSERT INTO alembic_version VALUES ('abc')")
        db.execute("CREATE TABLE trajectory (x INTEGER)")
    db.close()
    with pytest.raises(NotOurDatabase, match="lacks score, step"):
        Store(path)


@pytest.fixture
def stamped(database, url):
    """A store that says it is at another revision."""
    migrate.ensure(database)

    def stamp(revision):
        with database.migrating() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision})

    return stamp


@pytest.mark.parametrize("allow", [True, False])
def test_a_newer_database_is_refused(stamped, url, database, allow):
    stamped("zzzz")
    with pytest.raises(NewerDatabase):
        migrate.upgrade(database)
    with pytest.raises(
        NewerDatabase, match=rf"is at revision zzzz, this version knows up to {migrate.HEAD}.*pip install -U"
    ):
        Store(url, migrate=allow)


def test_an_older_database_is_upgraded_unless_that_is_forbidden(stamped, url, monkeypatch):
    stamped("0000")
    monkeypatch.setattr(migrate, "_known", lambda: {"0000", migrate.HEAD})
    with pytest.raises(
        OutdatedDatabase, match=rf"is at revision 0000, this version needs {migrate.HEAD}: run `agentprm db upgrade"
    ):
        Store(url, migrate=False)
    upgraded = []
    monkeypatch.setattr(migrate, "upgrade", lambda database: upgraded.append(database))
    Store(url).close()
    assert len(upgraded) == 1


def test_an_empty_database_gets_its_schema_also_where_upgrading_is_forbidden(url):
    with Store(url, migrate=False) as store:
        assert list(store.trajectories()) == []


# Where is it?


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"there is no folder .*nowhere; create it first"):
        Store(tmp_path / "nowhere" / "runs.db")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_may_be_asked_not_to_be_made(tmp_path):
    with pytest.raises(StoreError, match=r"there is no database at .*runs.db"):
        Store(tmp_path / "runs.db", create=False)
    assert list(tmp_path.iterdir()) == []
    Store(tmp_path / "runs.db").close()
    Store(tmp_path / "runs.db", create=False).close()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(StoreError, match="unable to open database file"):
        Store(tmp_path)


def journal_mode(path):
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA journal_mode").fetchone()[0]
    finally:
        db.close()


def test_a_file_in_wal_mode_lets_readers_and_the_writer_be(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        assert journal_mode(tmp_path / "runs.db") == "wal"
        with store.connection() as connection:
            connection.execute(sa.text("SELECT count(*) FROM step")).scalar()
            store.add(plain(1))
            assert connection.execute(sa.text("SELECT count(*) FROM step")).scalar() == 0, "as of when it began"


def test_opening_waits_for_whoever_keeps_a_file_from_entering_wal_mode(tmp_path, fresh):
    path = shutil.copy(fresh, tmp_path / "runs.db")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN IMMEDIATE")
    database = open_database(path)
    with pytest.raises(StoreError, match="database is locked"):
        database.enter_wal(tries=2)
    threading.Timer(0.2, other.execute, ["ROLLBACK"]).start()
    with Store(path):
        assert journal_mode(path) == "wal"
    close_database(database)
    other.close()


def test_a_refused_database_leaves_no_engine_behind(tmp_path):
    from agentprm.store.opened import _open

    before = dict(_open)
    (tmp_path / "notes.txt").write_text("x" * 5000)
    for _ in range(2):
        with pytest.raises(NotOurDatabase):
            Store(tmp_path / "notes.txt")
    with pytest.raises(StoreError):
        Store(tmp_path / "runs.db", durability="always")
    assert dict(_open) == before
