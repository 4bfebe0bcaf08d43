"""The command line by hand: verbs in the order of the river, one-line errors, exit codes, Ctrl-C."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from agentprm import Store
from agentprm.cli import main

ENV = "agentprm_envs:BabyAIText/PickupLoc-v0"


@pytest.fixture
def agentprm(capsys):
    """Run a command; return exit code, standard output, standard error."""

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A store with forty recorded episodes; copy it before writing to it."""
    path = tmp_path_factory.mktemp("cli") / "runs.db"
    with pytest.raises(SystemExit) as stop:
        main(["record", ENV, "-o", str(path), "--episodes", "60", "--json"])
    assert not stop.value.code
    return path


@pytest.fixture
def copy(runs, tmp_path):
    path = tmp_path / "runs.db"
    sqlite3.connect(runs).execute("VACUUM INTO ?", (str(path),))
    return path


def test_help_lists_the_verbs_in_river_order(agentprm):
    code, out, _ = agentprm("--help")
    places = [out.index(f"\n  {verb} ") for verb in ("demo", "record", "label", "train", "score", "credit", "db")]
    assert code == 0
    assert places == sorted(places)


@pytest.mark.parametrize("verb", ["demo", "record", "label", "train", "score", "credit", "db"])
def test_every_verb_explains_itself(agentprm, verb):
    code, out, _ = agentprm(verb, "--help")
    assert code == 0
    assert out.startswith("Usage:")


def test_the_whole_river(agentprm, copy, tmp_path):
    model = tmp_path / "model"
    code, out, err = agentprm("label", copy, "outcome", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["trajectories"] == 60
    code, out, _ = agentprm("label", copy, "outcome")
    assert "labelled 0 steps" in out, "what is labelled is not labelled again"
    code, out, err = agentprm("train", copy, "-o", model, "--labels", "stored:outcome", "--json")
    assert code == 0, err
    assert json.loads(out)["n_labels"] > 500
    code, out, _ = agentprm("score", copy, model, "--json")
    assert json.loads(out)["trajectories"] == 60
    code, out, _ = agentprm("label", copy, "temporal:lambda_=0.9", "--critic", model, "--json")
    n_steps = json.loads(agentprm("score", copy, "constant", "--json")[1])["steps"]
    assert json.loads(out)["labels"] == n_steps > 500
    code, out, _ = agentprm("label", copy, "lookahead", "--critic", model, "--json")
    assert json.loads(out)["labels"] == n_steps
    code, out, _ = agentprm("credit", copy, "--json")
    titles = [table["title"] for table in json.loads(out)]
    assert len(titles) == 5
    code, out, _ = agentprm("credit", copy, "sinking", "--scorer", "hashed", "--limit", "2", "--json")
    table = json.loads(out)
    assert len(table["rows"]) == 2
    code, out, _ = agentprm("credit", copy, "timeline", table["rows"][0]["trajectory"])
    assert code == 0
    assert "given_reward" in out
    assert agentprm("db", "check", copy)[0] == 0


def test_an_empty_file_is_said_to_be_empty(agentprm, tmp_path):
    (tmp_path / "empty.db").touch()
    code, out, _ = agentprm("db", "check", tmp_path / "empty.db")
    assert code == 1
    assert out.splitlines() == [f"{tmp_path}/empty.db is empty: make its schema with `agentprm db upgrade "
                                f"{tmp_path}/empty.db`"]  # fmt: skip


def test_a_verb_nearly_named_is_guessed(agentprm):
    code, _, err = agentprm("credt", "runs.db")
    assert code == 2
    assert "no verb is called 'credt' (did you mean 'credit'?); there are demo" in err


def test_the_package_is_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "agentprm", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["Usage:", "python"])


@pytest.mark.parametrize("method", ["monte_carlo:rollouts=2,steps=1", "omega:rollouts=2"])
def test_labels_by_playing_on_need_the_environment(agentprm, copy, method):
    code, _, err = agentprm("label", copy, method)
    assert (code, "give --env" in err) == (2, True)
    code, out, err = agentprm("label", copy, method, "--env", ENV, "--limit", "5", "--json")
    assert code == 0, err
    assert json.loads(out)["env_steps"] > 5


def test_recording_with_a_scorer_stores_three_rewards(agentprm, tmp_path):
    path = tmp_path / "r.db"
    code, out, _ = agentprm("record", ENV, "-o", path, "--steps", "30", "--scorer", "constant:value=0.5")
    assert code == 0
    assert "success" in out
    with Store(path) as store:
        rewards = store.rewards(next(store.trajectories()).id)
    assert set(rewards.score) == {0.5}
    assert rewards.given[0] == rewards.env[0] + (0.5 if len(rewards.env) > 1 else 0.0)


def test_sql_option_prints_statements_that_run(agentprm, runs):
    _, out, _ = agentprm("credit", runs, "success", "--sql")
    assert sqlite3.connect(runs).execute(out.split("\n", 1)[1]).fetchall()


MISTAKES = {
    "a database that is not there": (("credit", "{tmp}/none.db"), 1, "there is no database at"),
    "a database that is not ours": (("credit", "{tmp}/theirs.db"), 1, "no agentprm store"),
    "a file that is no database": (("score", "{tmp}/text.db", "constant"), 1, "no SQLite database"),
    "a folder that is not there": (("record", ENV, "-o", "{tmp}/no/such/r.db", "--steps", "1"), 1, "create it first"),
    "an unknown scorer": (("score", "{runs}", "nonesuch"), 1, "there are"),
    "a scorer with an unknown parameter": (("score", "{runs}", "constant:valu=1"), 1, "valu"),
    "a label method that is a scorer": (("label", "{runs}", "constant"), 2, "agentprm score"),
    "a scorer that sees the episode": (
        ("record", ENV, "-o", "{tmp}/r.db", "--episodes", "1", "--scorer", "outcome"), 1, "sees the whole episode"),
    "an unknown environment": (("record", "NoSuch-v0", "-o", "{tmp}/r.db", "--episodes", "1"), 1, "NoSuch"),
    "an environment of no module": (("record", "nope:X-v0", "-o", "{tmp}/r.db", "--steps", "1"), 1, "nope"),
    "a scorer without scores": (("credit", "{runs}", "--scorer", "nope"), 1, "no scores by"),
    "a limit below one": (("credit", "{runs}", "--limit", "0"), 2, "--limit"),
    "an unknown policy": (("record", ENV, "-o", "{tmp}/r.db", "--steps", "1", "--policy", "os:no"), 1, "os:no"),
    "no length": (("record", ENV, "-o", "{tmp}/r.db"), 2, "--episodes or --steps"),
    "no labels": (("train", "{runs}", "-o", "{tmp}/m", "--labels", "stored:nothing"), 1, "agentprm label"),
    "a model that cannot learn": (("train", "{runs}", "-o", "{tmp}/m", "--model", "constant"), 1, "nothing to train"),
    "temporal without a critic": (("label", "{runs}", "temporal"), 2, "--critic"),
    "lookahead without a critic": (("label", "{runs}", "lookahead"), 2, "--critic"),
    "an id that is none": (("credit", "{runs}", "timeline", "xyz"), 1, "no trajectory's id"),
    "an unknown verb": (("frobnicate",), 2, "no verb is called 'frobnicate'; there are demo"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_the_way_out(agentprm, runs, tmp_path, mistake):
    words, expected, hint = MISTAKES[mistake]
    (tmp_path / "text.db").write_text("hello, I am no database at all\n" * 100)
    sqlite3.connect(tmp_path / "theirs.db").execute("CREATE TABLE customer (id INTEGER)")
    code, out, err = agentprm(*(word.format(tmp=tmp_path, runs=runs) for word in words))
    assert code == expected
    assert hint in err
    assert "Traceback" not in out + err
    if expected == 1:
        assert err.count("\n") == 1


def test_ctrl_c_keeps_what_was_recorded(tmp_path):
    path = tmp_path / "runs.db"
    words = [sys.executable, "-m", "agentprm.cli", "record", ENV, "-o", str(path), "--episodes", "1000000"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _n_steps(path) < 200:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.strip() == "agentprm: interrupted; what was recorded is kept"
    assert _n_steps(path) >= 200


def _n_steps(path):
    try:
        return sqlite3.connect(path).execute("SELECT count(*) FROM step").fetchone()[0]
    except sqlite3.Error:
        return 0
