"""A store in parts: the same answers, rows in the right part, parts added, taken away, and upgraded as before."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from filled import done, full, plain, scored
from test_migrate import downgrade

from agentprm import Store
from agentprm.cli import main
from agentprm.credit.questions import QUESTIONS
from agentprm.errors import StoreError
from agentprm.serve.scoring import score_store
from agentprm.store import migrate, partition, roles
from agentprm.store.partition import PARTED
from agentprm.testing.store import StoreContract
from agentprm.testing.trajectories import corridors

SERVER = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
NOW = datetime.now(UTC)


def begun(days, n=4, **changes):
    """Return an episode that began so many days ago (or will), as its id says as well."""
    at = NOW - timedelta(days=days)
    key = UUID(int=int(at.timestamp() * 1_000) << 80 | 7 << 76 | 2 << 62 | random.getrandbits(60))
    return plain(n, id=key, ending=done(), started_at=at, **changes)


def ask(store, query):
    with store.connection() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def where(store, table="step"):
    """Return how many rows each part of a table holds."""
    rows = ask(store, f"SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1 ORDER BY 1")
    return {name.removeprefix(f"{table}_"): n for name, n in rows}


def answers(store):
    (first, *_) = store.trajectories()
    tables = [question.ask(store, *((first.id,) if question.name == "timeline" else ())) for question in QUESTIONS]
    return [(table.title, table.columns, table.rows) for table in tables]


@SERVER
def test_everything_is_as_before(url):
    with Store(url) as store:
        made = [*corridors(30), full(), begun(40)]
        store.add([*made, *(scored(t, *([0.5] * len(t))) for t in made)])
        with store._database.changing() as connection:
            connection.exec_driver_sql("CREATE VIEW mine AS SELECT idx %% 2 AS odd, '100%%' AS much FROM step")
        roles.grant(store._database, prefix := f"p{uuid4().hex[:8]}")
        grants = "SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee LIKE "
        grants += f"'{prefix}%' AND table_name !~ '_(p[0-9]+|rest)$' ORDER BY 1, 2, grantee"
        before = (answers(store), list(store.trajectories()), list(store.scores()), ask(store, grants))
        views = ask(store, "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1")
        found = partition.partition(store._database, steps=40)
        assert (answers(store), list(store.trajectories()), list(store.scores()), ask(store, grants)) == before
        assert ask(store, "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1") == views
        assert len(found) > 4
        counts = [where(store).get(part.name, 0) for part in found]
        assert sum(counts) == sum(map(len, made))
        assert max(counts) < 40 + max(map(len, made))
        assert migrate.check(store._database) == []
        # And it goes on.
        late = [*corridors(3), begun(0)]
        assert store.add(late) == 4
        assert store.add(late) == 0, "ON CONFLICT DO NOTHING"
        assert score_store(url, "constant:value=0.25").done.scored == len(made) + 4
        assert len(list(store.completed())) == len(made) + 4
        assert store.delete(late[0].id) == 1
        with psycopg.connect(url, autocommit=True) as server:
            for name in roles.ROLES:
                server.execute(f"DROP OWNED BY {prefix}_{name}; DROP ROLE {prefix}_{name}")


@SERVER
def test_rows_go_where_their_episode_began_and_nothing_else_changes_when_it_is_done_again(url):
    with Store(url) as store:
        store.add([begun(days) for days in (50, 40, 30, 20, 10)])
        found = partition.partition(store._database, steps=8, ahead=2)
        assert [part.name for part in found] == ["p001", "p002", "p003", "p004", "p005"]
        assert where(store) == {"p001": 8, "p002": 8, "p003": 4}
        again = partition.partition(store._database, steps=8, ahead=2)
        assert [part[:3] for part in again] == [part[:3] for part in found]
        assert partition.parts(store._database) == again
        span = found[3].ends - found[3].begins
        random_id = plain(2, id=UUID(int=(1 << 128) - 1), ending=done())
        coming = [begun(0), begun(-1.5 * span.days), begun(-2.5 * span.days)]
        store.add([*coming, random_id])
        assert where(store) == {"p001": 8, "p002": 8, "p003": 8, "p004": 4, "p005": 4, "rest": 2}
        assert where(store, "content")["rest"] == 3
        for table in PARTED:
            assert ask(store, f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{table}'::regclass") == [(6,)]


@SERVER
def test_what_came_before_its_part_was_made_is_put_there(url, monkeypatch):
    with Store(url) as store:
        found = partition.partition(store._database, ahead=1)
        assert len(found) == 2
        late = begun(-75)  # the parts of an empty store last thirty days
        store.add([late, scored(late, 0.5, 0.5, 0.5, 0.5)])
        assert where(store) == {"rest": 4}
        monkeypatch.setattr(partition, "_now_ms", lambda: int((NOW + timedelta(days=70)).timestamp() * 1_000))
        found = partition.partition(store._database, ahead=1)
        assert where(store) == where(store, "score") == {"p003": 4}
        assert where(store, "content") == {"p003": 5}
        assert list(store.trajectories()) == [late]
        assert migrate.check(store._database) == []


@SERVER
def test_a_part_is_taken_away_whole(url):
    with Store(url) as store:
        old, new = [begun(days) for days in (50, 40)], [begun(days) for days in (9, 1)]
        store.add([*old, *new, *(scored(t, 0.5, 0.5, 0.5, 0.5) for t in (*old, *new))])
        partition.partition(store._database, steps=8)
        with pytest.raises(StoreError, match="there is no part 'p099': there are p001, p002"):
            partition.detach(store._database, "p099")
        with pytest.raises(StoreError, match="p002 still grows"):
            partition.detach(store._database, "p002")
        tables = partition.detach(store._database, "p001")
        assert [t.id for t in store.trajectories()] == [t.id for t in new]
        assert {s.trajectory_id for s in store.scores()} == {t.id for t in new}
        counts = {table: ask(store, f"SELECT count(*) FROM {table}")[0][0] for table in tables}
        assert counts == {
            "trajectory_p001": 2, "outcome_p001": 2, "label_p001": 0, "step_p001": 8, "content_p001": 10,
            "tool_call_p001": 0, "score_p001": 8, "score_note_p001": 0,
        }  # fmt: skip
        assert migrate.check(store._database) == []
        assert answers(store)
        store.add(begun(45))
        assert where(store)["p002"] == 8, "the next part cannot take it"
        for table in tables:
            with store._database.changing() as connection:
                connection.exec_driver_sql(f"DROP TABLE {table}")


@SERVER
def test_it_is_upgraded_like_any_other(url):
    with Store(url) as store:
        made = [begun(days) for days in (50, 2)]
        store.add(made)
        partition.partition(store._database, steps=4)
        downgrade(store._database, "0001")
        migrate.upgrade(store._database)
        with store._database.changing() as connection:  # as a later migration would
            connection.exec_driver_sql("ALTER TABLE step ADD COLUMN colour integer")
            connection.exec_driver_sql("CREATE INDEX ix_step_colour ON step (colour)")
        assert list(store.trajectories()) == made
        assert [t for _, t in store.completed()] == made
        store.add(begun(1))
        assert where(store) == {"p001": 4, "p002": 8}


@SERVER
def test_a_view_of_somebody_elses_stops_it_and_nothing_is_changed(url):
    with Store(url) as store:
        store.add(plain(2))
        with store._database.changing() as connection:
            connection.exec_driver_sql("CREATE SCHEMA theirs")
            connection.exec_driver_sql("CREATE VIEW theirs.mine AS SELECT idx FROM step")
        with pytest.raises(StoreError, match="other objects depend on it; drop the views"):
            partition.partition(store._database)
        assert where(store) == {"step": 2}
        assert partition.parts(store._database) == []


def test_the_verb(url, capsys):
    Store(url).close()

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main(["db", "partition", url, *words])
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    code, out, err = call("--ahead", "1")
    if "://" not in url:
        assert code == 1
        assert err == (
            "agentprm: SQLite keeps each table in one piece: merge into a PostgreSQL (`agentprm merge`) for parts\n"
        )
        return
    assert code == 0, err
    assert [line[:4] for line in out.splitlines()] == ["p001", "p002"]
    assert "from the beginning to " in out
    code, _, err = call("--detach", "p001")
    assert (code, "still grows" in err) == (1, True)


class TestContract(StoreContract):
    """What every store owes, in one database whose tables are emptied for each test."""

    @pytest.fixture(autouse=True)
    def _at(self, request, postgres):
        kept = request.config.stash
        if _KEPT not in kept:
            kept[_KEPT] = name = f"parted_{uuid4().hex}"
            with psycopg.connect(postgres("postgres"), autocommit=True) as server:
                server.execute(f"CREATE DATABASE {name}")
            with Store(postgres(name)) as store:
                partition.partition(store._database)
        self.url = postgres(kept[_KEPT])

    def make_store(self):
        with psycopg.connect(self.url) as server:
            server.execute("TRUNCATE trajectory, scorer, task, blob CASCADE")
        return Store(self.url)

    def open_again(self):
        return Store(self.url)


_KEPT = pytest.StashKey[str]()
