"""Stores that become one: nothing renumbered, nothing twice, everything along."""

import json
import re
from uuid import UUID

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from filled import LABELS, MODEL, done, events, full, plain, scored

from agentprm import Store, credit
from agentprm.cli.merge import merge as command
from agentprm.errors import StoreError
from agentprm.store import tables
from agentprm.store.fetch import fetch
from agentprm.store.merge import Merged, merge
from agentprm.types import Spec


def rows_of(store):
    """Return every row of facts and opinions, nouns and blobs by what they are, in an order that every engine gives."""
    found = {}
    with store.connection() as connection:
        names = connection.scalars(sa.select(tables.blob.c.hash)).all()
        blobs = fetch(connection, names)
        found["blob"] = sorted((blobs.media_type(name), blobs.data(name)) for name in names)
        for name in ("trajectory", "content", "step", "tool_call", "score", "score_note", "outcome", "label"):
            table = tables.metadata.tables[name]
            source, columns = table, []
            for column in table.columns:
                keys = list(column.foreign_keys)
                noun = keys[0].column.table if keys else None
                if noun is None or noun.name == "trajectory":
                    columns.append(column)
                else:
                    other = noun.alias()
                    source = source.outerjoin(other, other.c.id == column)
                    columns.append(other.c[next(n for n in ("digest", "name", "text") if n in other.c)])
            rows = connection.execute(sa.select(*columns).select_from(source))
            found[name] = sorted((tuple(spelled_out(cell, blobs) for cell in row) for row in rows), key=repr)
    return found


def spelled_out(cell, blobs):
    """Return a cell with names of blobs, which every database chooses itself, replaced by what they name."""
    if not isinstance(cell, str):
        return cell
    return re.sub("[0-9a-f]{32}", lambda m: repr(blobs.data(m[0])) if m[0] in blobs else m[0], cell)


@pytest.fixture
def laptop(tmp_path):
    """A store with a bit of everything, of which one episode still runs."""
    with Store(tmp_path / "laptop.db") as store:
        ended, running = full(), plain(2, task="running")
        store.add([ended, plain(3, ending=done()), scored(ended, 0.5, None, 0.25, parts={"promise": (1.0, 2.0, 3.0)})])
        store.add(scored(ended, 1.0, 2.0, source=LABELS, start=1, notes=("why", None)))
        for event in events(running, shaping=Spec("potential", {"scorer": MODEL}), given_reward=2.0):
            store.write(event)
        store.set_outcome(0.75, id=ended.id, source="judge")
        with store._database.migrating() as connection:
            row = {"id": UUID(int=7), "trajectory_id": ended.id, "idx": 1, "annotator": "ann", "code": "sinks"}
            connection.execute(sa.insert(tables.label).values(**row, created_at=5, comment="here"))
        yield store


@pytest.fixture
def team(url):
    with Store(url) as store:
        yield store


def test_everything_comes_along(laptop, team):
    assert merge([laptop], team) == Merged(trajectories=3, steps=8, scores=8, outcomes=3, labels=1)
    assert rows_of(team) == rows_of(laptop)
    assert list(team.trajectories()) == list(laptop.trajectories())
    assert list(team.scores()) == list(laptop.scores())
    for t in laptop.trajectories():
        assert repr(team.rewards(t.id)) == repr(laptop.rewards(t.id)), "a NaN is no NaN"


def test_credit_questions_have_the_same_answers(laptop, team):
    merge([laptop], team)
    for ask in (credit.success, credit.sinking_steps, credit.value_by_action, credit.calibration):
        assert sorted(ask(team).rows, key=repr) == sorted(ask(laptop).rows, key=repr)


def test_merging_twice_adds_nothing(laptop, team):
    merge([laptop], team)
    before = rows_of(team)
    assert merge([laptop], team) == Merged(0, 0, 0, 0, 0)
    assert rows_of(team) == before


def test_there_and_back_again_is_the_same(laptop, team, tmp_path):
    merge([laptop], team)
    with Store(tmp_path / "back.db") as back:
        merge([team], back)
        assert rows_of(back) == rows_of(laptop)


def test_what_ran_on_after_a_merge_gets_its_later_steps_and_its_ending(laptop, team):
    merge([laptop], team)
    whole = plain(5, task="running", ending=done())
    running = next(t for t in laptop.trajectories() if t.task.text == "running")
    whole = whole._with(id=running.id, started_at=running.started_at)
    for event in list(events(whole))[3:]:
        laptop.write(event)
    assert merge([laptop], team) == Merged(0, 3, 0, 1, 0)
    assert list(team.trajectories(id=running.id)) == [whole]


def test_many_sources_with_names_in_common_stay_apart(tmp_path, team):
    """Every store counts its tasks, policies and scorers from 1: the same integer means other things."""
    made = []
    for i in range(4):
        with Store(tmp_path / f"{i}.db") as store:
            mine = [plain(2, task=f"task {(i + j) % 3}", policy=f"p{(i * j) % 2}", ending=done()) for j in range(3)]
            source = Spec("model", {"version": i % 2})
            store.add(mine)
            store.add([scored(t, 0.1 * i, 0.5, source=source) for t in mine])
            made += [(t, source) for t in mine]
    assert merge([tmp_path / f"{i}.db" for i in range(4)], team).trajectories == 12
    assert {t.id: t for t in team.trajectories()} == {t.id: t for t, _ in made}
    assert {s.trajectory_id: s.source for s in team.scores()} == {t.id: source for t, source in made}


def test_scorers_keep_their_dates(laptop, team):
    merge([laptop], team)
    query = sa.select(tables.scorer.c.digest, tables.scorer.c.created_at).order_by(tables.scorer.c.id)
    with team.connection() as one, laptop.connection() as other:
        assert one.execute(query).all() == other.execute(query).all()


def test_an_interrupted_merge_goes_on_where_it_was(tmp_path, team, monkeypatch):
    made = [plain(1) for _ in range(450)]
    with Store(tmp_path / "laptop.db") as laptop:
        laptop.add(made)
        real, calls = team._writer.add, []

        def add(rows):
            calls.append(len(rows))
            if len(calls) == 2:
                raise KeyboardInterrupt
            real(rows)

        monkeypatch.setattr(team._writer, "add", add)
        with pytest.raises(KeyboardInterrupt):
            merge([laptop], team)
        assert len(list(team.trajectories())) == 200
        assert merge([laptop], team).trajectories == 250
        assert len(list(team.trajectories())) == 450


def test_an_empty_store_and_a_target_that_is_not_there(tmp_path):
    Store(tmp_path / "empty.db").close()
    assert merge([tmp_path / "empty.db"], tmp_path / "new.db") == Merged(0, 0, 0, 0, 0)
    assert (tmp_path / "new.db").exists()


def test_what_cannot_be_merged_is_refused(tmp_path, laptop):
    with pytest.raises(StoreError, match="there is no database at"):
        merge([tmp_path / "none.db"], tmp_path / "new.db")
    with pytest.raises(StoreError, match="cannot be merged into itself"):
        merge([laptop], tmp_path / "laptop.db")


def test_the_verb_says_what_was_new(laptop, url, tmp_path):
    laptop.flush()
    done = CliRunner().invoke(command, [str(tmp_path / "laptop.db"), url, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["trajectories"], said["steps"], said["labels"]) == (3, 8, 1)
    again = CliRunner().invoke(command, [str(tmp_path / "laptop.db"), str(tmp_path / "laptop.db"), url])
    assert "0 trajectories, 0 steps" in again.output


def test_a_source_that_is_not_there_leaves_no_target_behind(tmp_path):
    with pytest.raises(StoreError, match=r"there is no database at .*nope\.db"):
        merge([tmp_path / "nope.db"], tmp_path / "target.db")
    assert not (tmp_path / "target.db").exists()
