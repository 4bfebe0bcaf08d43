"""A database of the first version goes on: readable at once, moved some episodes at a time, and back again."""

import json
import threading

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from filled import done, full, plain, scored
from test_blobs import PROMPT, chat, stored

from agentprm import Store, credit
from agentprm.cli.db import db as command
from agentprm.store import backfill as moving
from agentprm.store import blobs, migrate, tables
from agentprm.store.backfill import backfill
from agentprm.store.encode import Encoder
from agentprm.store.inserter import _with_ids
from agentprm.store.nouns import resolve
from agentprm.store.opened import close_database, open_database
from agentprm.store.rows import Rows
from agentprm.store.spooled import rows_from_json, rows_to_json
from agentprm.store.statements import COLUMNS, Statements
from agentprm.types import Observation

FIRST = {"trajectory": 13, "step": 6, "content": 11, "tool_call": 10, "score_note": 4}
"""How many columns the first version knew."""


def as_the_first_version(rows):
    """Return rows as the first version made them."""
    for name, n in FIRST.items():
        rows.tables[name] = [row[:n] for row in rows.tables[name]]
    rows.tables["blob"] = [(blob.hash, blob.media_type, blob.data) for blob in rows.tables["blob"]]
    return rows


def encoded(made, native_uuid, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "is_long", lambda text: False)
        rows, encoder = Rows(), Encoder(native_uuid=native_uuid)
        for item in made:
            (encoder.scores if hasattr(item, "source") else encoder.trajectory)(item, rows)
    return as_the_first_version(rows)


def write(database, rows):
    """Insert rows into the tables of the first version."""
    sql, mark = Statements(database.dialect), "?" if database.is_sqlite else "%s"
    with database.writing() as cursor:
        ids = resolve(cursor, sql, rows.nouns, ())
        for name in ("blob", "trajectory", "content", "step", "tool_call", "score", "score_note", "outcome"):
            columns = ("hash", "media_type", "data") if name == "blob" else COLUMNS[name]
            for row in dict.fromkeys(_with_ids(name, rows.tables[name], ids)):
                names, marks = ", ".join(columns[: len(row)]), ", ".join(mark for _ in row)
                cursor.execute(f"INSERT INTO {name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING", row)
        cursor.executemany(sql.end, rows.ended)


@pytest.fixture
def made():
    long = plain(2, meta={"system": PROMPT, "tools": [{"name": f"tool {i}"} for i in range(50)]}, ending=done())
    first, note = full(), "why " * 100
    heavy = [plain(1, ending=done())._with(last=Observation("seen " * 200)) for _ in range(3)]
    return [first, long, chat(20), *heavy, scored(first, 0.5, 0.5, 0.5, notes=(note, None, note))]


@pytest.fixture
def old(url, made, monkeypatch):
    """A database of the first version with something in it."""
    database = open_database(url)
    migrate.upgrade(database, "0001")
    write(database, encoded(made, not database.is_sqlite, monkeypatch))
    close_database(database)
    return url


def all_there(store, made):
    trajectories = {t.id: t for t in made if not hasattr(t, "source")}
    assert {t.id: t for t in store.trajectories()} == trajectories
    assert [s.notes for s in store.scores()] == [made[-1].notes]
    assert migrate.check(store._database) == []


def texts(store):
    with store.connection() as connection:
        return connection.scalar(sa.select(sa.func.max(sa.func.length(tables.content.c.result_text))))


def test_what_was_recorded_before_is_read_at_once(old, made):
    with Store(old) as store:
        all_there(store, made)
        assert texts(store) > 1_000, "nothing has been moved"
        with store.connection() as connection:
            shown = set(connection.exec_driver_sql("SELECT result FROM v_step").scalars())
        assert "seen " * 200 in shown
        assert len(credit.success(store).rows) > 0
        assert store.add(made[0]) == 0


def test_it_is_moved(old, made):
    with Store(old) as store:
        assert backfill(store) > 20
        all_there(store, made)
        assert texts(store) <= 100
        sizes = {row[1]: 0 for row in stored(store)}
        assert set(sizes) == {"text/plain", "application/json", "image/png", "image/jpeg"}
        assert sum(1 for row in stored(store) if row[1] == "text/plain") < 30
        assert backfill(store) == 0
        assert store.add(made[:-1]) == 0


def test_an_interrupted_move_goes_on_where_it_was(old, made, monkeypatch):
    monkeypatch.setattr(moving, "_AT_ONCE", 2)
    real, calls = moving._move_some, []

    def move(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(moving, "_move_some", move)
    with Store(old) as store:
        with pytest.raises(KeyboardInterrupt):
            backfill(store)
        all_there(store, made)
        assert len(calls) == 3
        assert backfill(store) > 0
        assert len(calls) == 3 + 2
        all_there(store, made)
        assert texts(store) <= 100


def test_others_record_while_it_moves(old, made, monkeypatch):
    more = [plain(1, ending=done())._with(last=Observation(f"new {i} " * 100)) for i in range(6)]
    monkeypatch.setattr(moving, "_AT_ONCE", 1)
    with Store(old) as store, Store(old) as recording:
        thread = threading.Thread(target=lambda: [recording.add(t) for t in more])
        thread.start()
        backfill(store)
        thread.join()
        all_there(store, [*made[:-1], *more, made[-1]])


def test_a_new_database_has_nothing_to_move(store):
    store.add(chat(3))
    assert backfill(store) == 0


def test_the_verb_upgrades_and_moves(old, made):
    ran = CliRunner().invoke(command, ["upgrade", old, "--json"])
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert (said["before"], said["after"]) == ("0001", migrate.HEAD)
    assert said["moved"] > 20
    assert "smaller" not in CliRunner().invoke(command, ["upgrade", old]).output
    with Store(old) as store:
        all_there(store, made)


def test_down_again_every_text_is_whole_in_its_row(old, made):
    from alembic import command as alembic

    with Store(old) as store:
        backfill(store)
        with store._database.migrating() as connection:
            config = migrate._config()
            config.attributes["connection"] = connection
            alembic.downgrade(config, "0002")
        with store._database.connecting() as connection:
            ask = connection.exec_driver_sql
            assert (
                PROMPT in ask("SELECT meta FROM trajectory WHERE meta IS NOT NULL ORDER BY length(meta) DESC").scalar()
            )
            assert "seen " * 200 in set(ask("SELECT result_text FROM content").scalars())
            assert max(len(row) for row in ask("SELECT text FROM score_note").scalars()) == 400
        migrate.upgrade(store._database)
        all_there(store, made)


def test_a_batch_that_the_first_version_spooled_is_drained(url, monkeypatch):
    t = full()
    with Store(url) as store:
        rows = encoded([t], not store._database.is_sqlite, monkeypatch)
        back = rows_from_json(rows_to_json(rows))
        assert {len(row) for row in back.tables["content"]} == {len(COLUMNS["content"])}
        store._database.spool.append(store._writer._id, 1_000, rows)
        store.flush()
        assert list(store.trajectories()) == [t]
