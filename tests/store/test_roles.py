"""Writers, scorers and readers on a real server: each logs in, does what it may, and is refused the rest."""

import json
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from filled import done, events, full, plain, scored

from agentprm import Store, credit
from agentprm.cli import main
from agentprm.credit.questions import QUESTIONS
from agentprm.errors import NotAllowed, StoreError
from agentprm.serve.scoring import score_store
from agentprm.store import roles
from agentprm.types import Scores, Spec


@pytest.fixture
def team(url):
    """A store in PostgreSQL with its roles, and a function from a role's name to the URL of a login that has it."""
    owner, prefix = url, f"t{uuid4().hex[:8]}"
    with Store(owner) as store:
        store.add([full(), plain(3, ending=done())])
        roles.grant(store._database, prefix)
        roles.grant(store._database, prefix)  # again, as after an upgrade

        def login(*names):
            name = f"{prefix}_{'_and_'.join(names)}_login"
            with psycopg.connect(owner, autocommit=True) as server:
                granted = ", ".join(f"{prefix}_{role}" for role in names)
                server.execute(f"CREATE ROLE {name} LOGIN IN ROLE {granted}")
            return sa.make_url(owner).set(username=name).render_as_string(hide_password=False)

        yield store, login, prefix
    with psycopg.connect(owner, autocommit=True) as server:
        for (name,) in server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"{prefix}%",)).fetchall():
            server.execute(f"DROP OWNED BY {name}")
            server.execute(f"DROP ROLE {name}")


pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def owner(url):
    return url


FACTS = {
    "an update of a step": "UPDATE step SET env_reward = 1",
    "an update of a task": "UPDATE trajectory SET task_id = task_id",
    "a deletion": "DELETE FROM step",
    "an emptying": "TRUNCATE content",
    "a table": "CREATE TABLE mine (x int)",
    "a change of schema": "ALTER TABLE step ADD COLUMN x int",
    "a number of its own": "UPDATE trajectory SET completed = 1",
}
OPINIONS = {
    "an update of a score": "UPDATE score SET value = 1",
    "a deletion of scores": "DELETE FROM score",
    "another unit": "UPDATE scorer SET unit = 'reward'",
    "another outcome": "UPDATE outcome SET value = 0",
}
WRITING = {
    "a score": "INSERT INTO score SELECT scorer_id, trajectory_id, idx + 100, part_id, value FROM score",
    "a job": "DELETE FROM score_claim",
    "an episode": "INSERT INTO task (key, text_hash, text) VALUES ('k', 'h', 't')",
    "an outcome": "INSERT INTO outcome SELECT trajectory_id, 'me', 1, 0.5 FROM outcome",
}


def refused(url, statements):
    with psycopg.connect(url, autocommit=True) as connection:
        for what, sql in statements.items():
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql)
                pytest.fail(what)


def test_a_writer_records_and_deletes_nothing(team):
    owned, login, _ = team
    url = login("writer")
    made = plain(4, ending=done(0.5), task="by a writer")
    with Store(url) as store:
        for event in events(made):
            store.write(event)
        store.add(full())
        store.flush()
        assert (store.dropped, store.spooled) == (0, 0)
        assert [t for t in store.trajectories() if t.id == made.id] == [made]
        assert made.id in [t.id for _, t in store.completed()]
        with pytest.raises(NotAllowed, match=r"writer_login may not do that at .*permission denied.*agentprm db roles"):
            store.delete(made.id)
        with pytest.raises(NotAllowed, match="may not do that"):
            store.add(scored(made, 0.5))
    refused(url, FACTS | OPINIONS | {"a score": WRITING["a score"]})
    assert made in list(owned.trajectories())


def test_what_a_writer_may_not_record_waits_until_it_may(team, owner):
    _, login, prefix = team
    made = plain(2, ending=done())
    said = Scores(made.id, Spec("live"), "value", (0.5,), 0, sees="result")
    url = login("writer")
    with Store(url) as store:
        for event in events(made, scores=(said,)):
            store.write(event)
        with pytest.raises(StoreError, match=r"2 steps are not in the database yet.*permission denied for table"):
            store.flush()
        assert (store.dropped, store.spooled) == (0, 2)
    with psycopg.connect(owner) as server:
        server.execute(f"GRANT {prefix}_scorer TO {sa.make_url(url).username}")
    with Store(url) as store:
        store.flush()
        assert (store.dropped, store.spooled) == (0, 0)
        assert made in list(store.trajectories())


def test_a_scorer_scores_and_alters_no_fact(team):
    owned, login, _ = team
    url = login("scorer")
    assert score_store(url, "constant:value=0.25").done.scored == 2
    with Store(url) as store:
        (first, *_) = store.trajectories()
        store.add(Scores(first.id, Spec("judge"), "value", (0.5,), notes=("so so",)))
        store.set_outcome(0.75, id=first.id, source="judge")
        with pytest.raises(NotAllowed, match="scorer_login may not do that"):
            store.add(plain(1))
        with pytest.raises(NotAllowed, match="may not do that"):
            store.delete(first.id)
    refused(url, FACTS | OPINIONS | {"an episode": WRITING["an episode"]})
    assert len(list(owned.scores())) == 3


def test_a_reader_asks_every_question_and_writes_nothing(team, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the report goes
    owned, login, _ = team
    score_store(owned._database.url.render_as_string(hide_password=False), "constant:value=0.25")
    url = login("reader")
    with Store(url) as store:
        key = next(store.trajectories()).id
        for question in QUESTIONS:
            question.ask(store, *((key,) if question.name == "timeline" else ()))
        assert len(list(store.completed())) == 2
        assert credit.sql(store, "SELECT count(*) AS n FROM v_step").rows == ((6,),)
        for refuse in (
            lambda: store.add(plain(1)),
            lambda: store.add(Scores(key, Spec("judge"), "value", (0.5,))),
            lambda: store.set_outcome(0.5, id=key),
            lambda: store.delete(key),
        ):
            with pytest.raises(NotAllowed, match="reader_login may not do that"):
                refuse()
    with pytest.raises(NotAllowed):
        score_store(url, "constant:value=0.75")
    refused(url, FACTS | OPINIONS | WRITING)
    for verb in (("credit", url), ("credit", "--list"), ("report", url, "--json"), ("db", "check", url)):
        with pytest.raises(SystemExit) as stop:
            main([*verb])
        assert not stop.value.code, verb
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["score", url, "constant:value=0.75"])
    assert stop.value.code == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "may not do that" in err


def test_the_verb_prints_the_sql_that_it_would_run(team, capsys):
    owned, login, _ = team
    url = owned._database.url.render_as_string(hide_password=False)
    with pytest.raises(SystemExit) as stop:
        main(["db", "roles", url, "--json"])
    assert not stop.value.code
    printed = json.loads(capsys.readouterr().out)
    assert printed["statements"] == list(roles.statements())
    assert set(printed["roles"]) == {"agentprm_reader", "agentprm_writer", "agentprm_scorer"}
    with pytest.raises(SystemExit):
        main(["db", "roles", login("reader"), "--apply"])
    assert "may not do that" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["db", "roles", ":memory:", "--apply"])
    assert "SQLite has no roles" in capsys.readouterr().err
