"""Scoring by one process and by many: every trajectory once, whoever is killed meanwhile, and nothing half."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa

from agentprm import Store
from agentprm.errors import AgentPRMError, InvalidSpec, StoreError, UnknownName
from agentprm.scorers.constant import Constant
from agentprm.serve import worker
from agentprm.serve.scoring import score_store
from agentprm.serve.worker import Batch, is_dead, worker_name
from agentprm.store.jobs import ScoreJob
from agentprm.store.tables import content
from agentprm.store.tally import failures, tally
from agentprm.testing.store import recording
from agentprm.testing.trajectories import episode
from agentprm.types import Scores, Spec

ODD = Spec("odd", {"version": 1})


@pytest.fixture
def store(url):
    with Store(url) as opened:
        yield opened


@pytest.fixture
def diary(tmp_path):
    folder = tmp_path / "diary"
    folder.mkdir()
    return folder


def fill(store, n, task="go", steps=3):
    made = [episode(*[("here", "go")] * steps, task=f"{task} {i}", outcome=1.0) for i in range(n)]
    store.add(made)
    return [t.id for t in made]


def written(diary):
    """Return how often each trajectory was scored, and by how many processes."""
    files = list(diary.iterdir())
    return Counter(UUID(line) for file in files for line in file.read_text().split()), len(files)


def whole(store, ids, source=ODD):
    """Check that each of these has a score on every step, and nothing else has any."""
    said = {scores.trajectory_id: scores for scores in store.scores(source=source)}
    assert said.keys() == set(ids)
    lengths = {t.id: len(t) for t in store.trajectories(id=ids)}
    assert all((s.start, len(s)) == (0, lengths[s.trajectory_id]) for s in said.values())


def rows(store, query):
    with store.connection() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def until(holds, seconds=30.0):
    over = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < over, "it never came to that"
        time.sleep(0.02)


# One process, and several.


@pytest.mark.parametrize(("url", "workers"), [("sqlite", 1), ("postgresql", 1), ("postgresql", 2)], indirect=["url"])
def test_every_trajectory_is_scored_once_and_another_run_finds_nothing(store, url, odd, diary, workers, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    ids = fill(store, 90)
    scorer = {"name": odd, "params": {"diary": str(diary)}}
    scored = score_store(url, scorer, workers=workers, batch=7)
    assert scored.done == Batch(scored=90, steps=270)
    assert (scored.tally.scored, scored.tally.left, scored.failures, scored.is_stopped) == (90, 0, [], False)
    whole(store, ids)
    counts, n_processes = written(diary)
    assert set(counts.values()) == {1}
    assert n_processes <= workers
    threads = {file.name.partition("-")[2] for file in diary.iterdir()}
    assert threads == {"7" if workers == 1 else "1"}, "several workers take one thread each"
    assert score_store(url, scorer).done == Batch()
    assert rows(store, "SELECT count(*) FROM score_claim") == [(0,)]
    assert [row[0] for row in rows(store, "SELECT n_scored FROM score_job ORDER BY started_at")] == [90, 0]
    assert rows(store, "SELECT count(*) FROM score_job WHERE ended_at IS NULL") == [(0,)]


def test_a_selector_keeps_others_out(store, url, odd):
    made = [episode(("here", "go"), outcome=1.0)._with(policy=f"p{i % 2}") for i in range(6)]
    store.add(made)
    assert score_store(url, odd, policy="p1").done.scored == 3
    whole(store, [t.id for t in made[1::2]])
    with pytest.raises(TypeError, match="outcome is no filter here"):
        score_store(url, odd, outcome=(0, 1))


def test_what_was_scored_by_others_is_left_alone(store, url, odd, diary):
    ids = fill(store, 6)
    store.add([Scores(key, ODD, "value", (0.25,) * 3, sees="result") for key in ids[:4]])
    assert score_store(url, {"name": odd, "params": {"diary": str(diary)}}).done.scored == 2
    assert written(diary)[0].keys() == set(ids[4:])


def test_no_opinion_is_counted_apart(store, url, odd):
    fill(store, 3, "mute")
    fill(store, 2)
    assert score_store(url, odd).done == Batch(scored=2, none=3, steps=15)
    assert score_store(url, odd).done == Batch(), "no opinion is an opinion: it is not asked again"


def test_one_that_runs_is_scored_as_far_as_it_went_and_again_when_it_went_on(store, url, odd):
    whole_one = episode(*[("here", "go")] * 4, outcome=1.0)
    began, *stepped, ended = recording(whole_one)
    for event in (began, *stepped[:2]):
        store.write(event)
    assert score_store(url, odd).done == Batch(scored=1, steps=2)
    assert score_store(url, odd).done == Batch()
    for event in (*stepped[2:], ended):
        store.write(event)
    store.flush()
    assert score_store(url, odd).done.scored == 1
    whole(store, [whole_one.id])


def test_a_label_method_waits_for_the_ending(store, url):
    fill(store, 1)
    store.add(episode(("here", "go"), status=None))
    assert score_store(url, "outcome").done.scored == 1


# What cannot be scored.


def test_a_trajectory_on_which_the_scorer_raises_fails_alone(store, url, odd):
    good, bad = fill(store, 20), fill(store, 2, "poison")
    scored = score_store(url, odd, batch=8)
    assert (scored.done.scored, scored.tally.scored, scored.tally.failed) == (20, 20, 2)
    assert [f.trajectory_id for f in scored.failures] == sorted(bad)
    assert sorted(f.error for f in scored.failures) == [f"ValueError: cannot read poison {i}" for i in range(2)]
    assert rows(store, "SELECT DISTINCT tries FROM score_claim") == [(3,)]
    whole(store, good)
    assert score_store(url, odd, tries=1).tally.failed == 2, "another run tries again"


def test_a_damaged_trajectory_fails_alone(store, url):
    good, (bad,) = fill(store, 5), fill(store, 1, "damaged")
    with store._database.changing() as connection:
        broken = sa.update(content).where(content.c.trajectory_id == bad, content.c.idx == 1)
        connection.execute(broken.values(info="{no JSON"))
    scored = score_store(url, "constant:value=0.5")
    assert (scored.done.scored, [f.trajectory_id for f in scored.failures]) == (5, [bad])
    assert "is damaged" in scored.failures[0].error
    whole(store, good, Constant().spec)


def test_a_scorer_that_answers_for_others_is_no_scorer(store, url):
    ids = fill(store, 2)

    class Mixed(Constant):
        def __call__(self, trajectories, /):
            return super().__call__(trajectories)[::-1]

    scored = score_store(url, Mixed(), tries=2)
    assert scored.done == Batch(scored=2, steps=6), "alone, each is answered for"
    whole(store, ids, Mixed().spec)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_trajectory_that_kills_its_worker_fails_and_the_others_are_scored(store, url, odd, capfd):
    good, bad = fill(store, 20), fill(store, 1, "lethal")
    said = []
    scored = score_store(url, odd, workers=2, batch=8, tries=2, say=said.append)
    assert scored.tally[:3] == (20, 0, 1)
    assert [(f.trajectory_id, f.error) for f in scored.failures] == [(bad[0], "its workers were killed, or crashed")]
    assert said == ["a worker died (exit code -9); another takes its place"] * 2
    whole(store, good)


# Killed and interrupted.


def command(url, plugins, diary, *words, seconds=0.05):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(plugins), *filter(None, sys.path)])}
    scorer = f"odd:diary={diary},seconds={seconds}"
    started = [sys.executable, "-m", "agentprm.cli", "score", url, scorer, "--batch", "2", "--json", *words]
    return subprocess.Popen(
        started, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def children_of(process):
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_killed_worker_loses_nothing_and_repeats_little(store, url, plugins, diary):
    ids = fill(store, 40)
    process = command(url, plugins, diary, "--workers", "2")
    until(lambda: written(diary)[1] == 2)
    victim = children_of(process)[0]
    victim.kill()
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["n_failed"] == 0
    whole(store, ids)
    assert sum(written(diary)[0].values()) <= 40 + 2, "at most the batch in hand was scored again"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_killed_machine_leaves_the_rest_to_the_next(store, url, plugins, diary, odd):
    ids = fill(store, 40)
    process = command(url, plugins, diary, "--workers", "2")
    until(lambda: written(diary)[0])
    theirs = children_of(process)
    process.kill()
    process.communicate()
    psutil.wait_procs(theirs, timeout=20)
    assert not any(child.is_running() for child in theirs), "workers end when their parent is gone"
    n_before = len(list(store.scores()))
    assert 0 < n_before < 40
    scored = score_store(url, {"name": odd, "params": {"diary": str(diary)}})
    assert scored.done.scored == 40 - n_before
    assert scored.tally.scored == 40, "the same job goes on"
    whole(store, ids)


@pytest.mark.parametrize(("url", "workers"), [("sqlite", "1"), ("postgresql", "2")], indirect=["url"])
def test_ctrl_c_finishes_the_batch_in_hand_and_says_how_to_go_on(store, url, plugins, diary, workers, odd):
    ids = fill(store, 30)
    process = command(url, plugins, diary, "--workers", workers)
    until(lambda: written(diary)[0])
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 1
    result = json.loads(out)
    assert result["stopped"]
    assert result["trajectories"] == len(list(store.scores())) < 30
    assert "finishing the batch in hand" in err
    assert "Traceback" not in err
    assert rows(store, "SELECT count(*) FROM score_claim WHERE worker IS NOT NULL") == [(0,)]
    again = score_store(url, {"name": odd, "params": {"diary": str(diary)}})
    assert again.done.scored == 30 - result["trajectories"]
    assert set(written(diary)[0].values()) == {1}
    whole(store, ids)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_ctrl_c_twice_gives_the_batch_back(store, url, plugins, diary):
    fill(store, 4)
    process = command(url, plugins, diary, "--workers", "2", seconds=60)
    until(lambda: len(rows(store, "SELECT DISTINCT worker FROM score_claim WHERE worker IS NOT NULL")) == 2)
    for _ in range(2):
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["n_left"]) == (1, 4), err
    assert rows(store, "SELECT DISTINCT worker, tries FROM score_claim") == [(None, 0)]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_two_machines_share_the_work(store, url, plugins, diary):
    ids = fill(store, 60)
    both = [command(url, plugins, diary, seconds=0.1) for _ in range(2)]
    results = [json.loads(process.communicate()[0]) for process in both]
    assert sum(result["trajectories"] for result in results) == 60
    assert all(result["trajectories"] for result in results)
    assert results[0]["job"] == results[1]["job"]
    assert set(written(diary)[0].values()) == {1}
    whole(store, ids)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_following_scores_what_ends_later(store, url, plugins, diary):
    first = fill(store, 2)
    process = command(url, plugins, diary, "--follow", seconds=0)
    until(lambda: len(list(store.scores())) == 2)
    second = fill(store, 3)
    until(lambda: len(list(store.scores())) == 5)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["trajectories"] == 5
    whole(store, first + second)


# Claims.


def test_claims_are_apart_and_return_when_they_are_not_renewed(store):
    ids = fill(store, 6)
    job = ScoreJob(store._database, Constant(), lease_s=0.5)
    same = ScoreJob(store._database, Constant(), lease_s=0.5)
    assert same.id == job.id
    mine, theirs = job.claim("a", 4), same.claim("b", 4)
    assert len(mine) == 4
    assert sorted(mine + theirs) == sorted(ids)
    assert job.claim("c", 4) == []
    assert not job.end(), "others still work on it"
    stop = threading.Event()
    keeping = threading.Thread(target=lambda: [same.keep("b") for _ in iter(lambda: stop.wait(0.1), True)])
    keeping.start()
    until(lambda: job.claim("c", 4) != [])
    stop.set()
    keeping.join()
    taken = rows(store, "SELECT worker, count(*) FROM score_claim GROUP BY worker ORDER BY worker")
    assert taken == [("a", 3), ("b", 2), ("c", 1)], "what was tried before comes alone"


def test_whoever_lost_a_claim_stores_nothing(store):
    (key,) = fill(store, 1)
    job = ScoreJob(store._database, Constant(), lease_s=0.05)
    given = Constant()(list(store.trajectories()))
    assert job.claim("a", 1) == [key]
    until(lambda: job.claim("b", 1) == [key])
    assert job.finish("a", given) == []
    assert list(store.scores()) == []
    assert job.finish("b", given) == given
    assert list(store.scores()) == given
    assert (tally(store._database, job.id).scored, job.end()) == (1, True)


def test_a_batch_of_which_some_were_lost_stores_the_others(store):
    ids = fill(store, 3)
    job = ScoreJob(store._database, Constant())
    given = Constant()(list(store.trajectories(id=ids)))
    job.claim("a", 3)
    with store._database.changing() as connection:
        connection.execute(sa.text("UPDATE score_claim SET worker = 'b' WHERE tries = 1"))
    with store._database.changing() as connection:
        query = "UPDATE score_claim SET worker = 'a' WHERE trajectory_id = (SELECT max(trajectory_id) FROM score_claim)"
        if not store._database.is_sqlite:
            query = query.replace("max(trajectory_id)", "max(trajectory_id::text)::uuid")
        connection.execute(sa.text(query))
    assert job.finish("a", given) == given[-1:]
    whole(store, [max(ids)], Constant().spec)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_many_that_claim_at_once_wait_for_nobody_and_share_nothing(store):
    ids = fill(store, 200)
    claimed = []

    def work(name):
        job = ScoreJob(store._database, Constant())
        while got := job.claim(name, 3):
            claimed.append(got)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for got in claimed for key in got) == sorted(ids)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_claim_that_another_transaction_holds_is_skipped(store):
    fill(store, 4)
    job = ScoreJob(store._database, Constant())
    job.claim("a", 1)
    job.release("a")
    with store._database.changing() as connection:
        held = connection.execute(sa.text("SELECT trajectory_id FROM score_claim ORDER BY 1 LIMIT 2 FOR UPDATE")).all()
        free = job.claim("b", 4)
    assert len(free) in (1, 2)
    assert not {row[0] for row in held} & set(free)


def test_a_deleted_trajectory_is_nobodys_any_more(store):
    ids = fill(store, 2)
    job = ScoreJob(store._database, Constant())
    given = Constant()(list(store.trajectories(id=ids)))
    assert len(job.claim("a", 2)) == 2
    store.delete(ids[0])
    assert job.finish("a", given[1:]) == given[1:]
    assert job.end()


def test_a_job_goes_on_where_it_was(store, monkeypatch):
    fill(store, 8)
    monkeypatch.setattr("agentprm.store.unscored._LOOK", 3)
    job = ScoreJob(store._database, Constant())
    assert len(job.claim("a", 3)) == 3
    job.give_back("a")
    again = ScoreJob(store._database, Constant())
    assert again.id == job.id
    assert rows(store, "SELECT place FROM score_job") == [(3,)]
    assert sum(len(got) for got in iter(lambda: again.claim("b", 3), [])) == 8
    assert failures(store._database, again.id) == []


def test_the_dead_are_known_on_their_machine_only():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    machine, _, rest = worker_name().rsplit("/", 2)
    assert not is_dead(worker_name())
    assert is_dead(f"{machine}/{process.pid}/{rest}")
    assert not is_dead(f"elsewhere/{process.pid}/{rest}")


# Mistakes.


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_mistakes_are_named(store, url, tmp_path):
    with pytest.raises(InvalidSpec, match="not a live Constant"):
        score_store(url, Constant(), workers=2)
    with pytest.raises(UnknownName, match="nonesuch"):
        score_store(url, "nonesuch")
    with pytest.raises(AgentPRMError, match="no scorer or label method is called 'nonesuch'"):
        score_store(url, "nonesuch", workers=2)
    with pytest.raises(StoreError, match="there is no database"):
        score_store(tmp_path / "none.db", "constant")


def test_a_database_that_is_away_is_waited_for(store, url, monkeypatch):
    fill(store, 2)
    monkeypatch.setattr(worker, "_AWAY_S", 5.0)
    real, n_failures = ScoreJob.finish, []

    def finish(self, *given):
        if len(n_failures) < 2:
            n_failures.append(1)
            away = self._database.dialect.loaded_dbapi.OperationalError()
            raise StoreError("cannot use it") from sa.exc.OperationalError("", {}, away)
        return real(self, *given)

    monkeypatch.setattr(ScoreJob, "finish", finish)
    assert score_store(url, "constant").done.scored == 2
    assert len(n_failures) == 2


def test_the_verb_reports_failures_and_exits_with_one(store, url, odd, capsys):
    from agentprm.cli import main

    fill(store, 1)
    fill(store, 1, "poison")
    fill(store, 1, "mute")
    with pytest.raises(SystemExit) as stop:
        main(["score", url, odd])
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "scored 2 trajectories, 6 steps" in out
    assert "it had no opinion on any step of 1 of them" in out
    assert "1 failed; run the same command to try them again" in out
    assert "ValueError: cannot read poison 0" in out
    assert Path(url).name in out or "postgresql" in out
