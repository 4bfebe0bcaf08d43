"""`agentprm import` and `agentprm export` by hand: what is new, what is left out, interruption, filters, pipes."""

import gzip
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from agentprm import Store, formats
from agentprm.cli import main
from agentprm.testing.trajectories import corridors
from agentprm.types import Scores, Spec

ROW = {"prompt": "2 + 2?", "completions": ["two and two", "4"], "labels": [True, True]}


@pytest.fixture
def agentprm(capsysbinary):
    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        captured = capsysbinary.readouterr()
        return stop.value.code or 0, captured.out.decode(), captured.err.decode()

    return call


@pytest.fixture
def rows(tmp_path):
    """Three rows of TRL's in a file."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(ROW | {"prompt": f"{i} + 2?"}) + "\n" for i in range(3)))
    return path


@pytest.fixture
def runs(tmp_path):
    """A store of ten episodes, with scores of two judges."""
    with Store(tmp_path / "full.db") as store:
        played = corridors(10, seed=4)
        store.add(played)
        for name in ("strict", "kind"):
            store.add(Scores(t.id, Spec(name), "value", (0.5,) * len(t)) for t in played)
    return tmp_path / "full.db"


def test_what_is_imported_says_what_it_was_and_what_is_new(agentprm, rows, tmp_path):
    code, out, err = agentprm("import", rows, tmp_path / "r.db")
    assert (code, err) == (0, "")
    assert f"{rows} is trl (guessed)" in out
    assert "3 trajectories, 6 steps, 3 scores" in out
    assert "3 trajectories and 3 scores are new" in out
    code, out, _ = agentprm("import", rows, tmp_path / "r.db", "--format", "trl", "--json")
    result = json.loads(out)
    assert result["files"] == [{"file": str(rows), "format": "trl", "guessed": False}]
    assert (result["trajectories"], result["new_trajectories"], result["new_scores"]) == (3, 0, 0)


def test_export_and_import_give_an_equal_store(agentprm, runs, tmp_path):
    for form in ("jsonl", "openai_messages"):
        file, copy, again = tmp_path / f"{form}.jsonl.gz", tmp_path / f"{form}.db", tmp_path / f"{form}2.jsonl"
        assert agentprm("export", runs, "-o", file, "--format", form)[0] == 0
        assert agentprm("import", file, copy)[0] == 0
        assert agentprm("export", copy, "-o", again, "--format", form)[0] == 0
        assert again.read_bytes() == gzip.decompress(file.read_bytes())
        with Store(runs) as one, Store(copy) as other:
            assert list(one.trajectories()) == list(other.trajectories())
            key = lambda s: (s.trajectory_id, s.source.name)  # noqa: E731
            assert sorted(one.scores(), key=key) == sorted(other.scores(), key=key)


def test_several_files_of_several_formats(agentprm, rows, runs, tmp_path):
    file = tmp_path / "runs.jsonl"
    agentprm("export", runs, "-o", file)
    code, out, _ = agentprm("import", rows, file, tmp_path / "r.db", "--json")
    assert code == 0
    assert [f["format"] for f in json.loads(out)["files"]] == ["trl", "jsonl"]
    assert json.loads(out)["new_trajectories"] == 13


def test_a_wrong_record_stops_it_and_what_stands_before_it_stays(agentprm, rows, tmp_path):
    rows.write_text(rows.read_text() + "{broken\n" + json.dumps(ROW) + "\n")
    code, _, err = agentprm("import", rows, tmp_path / "r.db")
    assert code == 1
    assert err.count("\n") == 1
    assert "rows.jsonl, line 4: expected one JSON object per line" in err
    assert "--skip-bad" in err
    with Store(tmp_path / "r.db") as store:
        assert len(list(store.trajectories())) == 3


def test_wrong_records_are_left_out_and_counted(agentprm, rows, tmp_path):
    bad = [{}, ROW | {"labels": [True]}, ROW | {"completions": 7}]
    rows.write_text("\n".join([rows.read_text(), "{broken", *map(json.dumps, bad), json.dumps(ROW)]))
    code, out, err = agentprm("import", rows, tmp_path / "r.db", "--skip-bad", "--json")
    result = json.loads(out)
    assert (code, result["skipped"], result["trajectories"]) == (0, 4, 4)
    assert len(result["wrong"]) == len(err.splitlines()) == 4
    assert all("rows.jsonl, line" in line for line in err.splitlines())


def test_what_the_store_refuses_is_left_out_too(agentprm, runs, tmp_path):
    file = tmp_path / "runs.jsonl"
    agentprm("export", runs, "-o", file, "--no-scores")
    first, second, *rest = map(json.loads, file.read_text().splitlines())
    second["trajectory"]["id"] = first["trajectory"]["id"]
    file.write_text("\n".join(map(json.dumps, [first, second, *rest])))
    code, _, err = agentprm("import", file, tmp_path / "a.db")
    assert code == 1
    assert "the store holds another trajectory" in err
    code, out, _ = agentprm("import", file, tmp_path / "b.db", "--skip-bad", "--json")
    assert (code, json.loads(out)["skipped"], json.loads(out)["new_trajectories"]) == (0, 1, 9)


def test_standard_input_and_output(agentprm, rows, runs, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(rows.read_bytes())))
    code, out, err = agentprm("import", "-", tmp_path / "r.db", "--format", "trl")
    assert (code, err) == (0, "")
    assert "3 trajectories" in out
    code, out, err = agentprm("export", runs, "-o", "-", "--limit", 2)
    assert code == 0
    assert len(list(formats.read(io.BytesIO(out.encode())))) == 6
    assert "2 trajectories" in err


FILTERS = {
    "limit": (("--limit", 3), lambda t: None, 3),
    "task": (("--task", "leave by the left door"), lambda t: "left" in t.task.text, None),
    "outcome": (("--outcome", 1, 1), lambda t: t.outcome == 1.0, None),
    "status": (("--status", "truncated"), lambda t: t.ending.status == "truncated", None),
    "since": (("--since", "2100-01-01"), lambda t: False, 0),
    "until": (("--until", "2100-01-01"), lambda t: True, 10),
    "policy": (("--policy", "nobody"), lambda t: False, 0),
}


@pytest.mark.parametrize("name", FILTERS)
def test_only_what_is_asked_for_is_exported(agentprm, runs, tmp_path, name):
    words, wanted, n = FILTERS[name]
    code, out, err = agentprm("export", runs, "-o", tmp_path / "x.jsonl", "--json", "--no-scores", *words)
    assert code == 0, err
    with Store(runs) as store:
        there = [t for t in store.trajectories() if wanted(t)]
    assert json.loads(out)["trajectories"] == (len(there) if n is None else n)
    if n is None:
        assert 0 < len(there) < 10
        assert list(formats.read(tmp_path / "x.jsonl")) == there


def test_scores_of_one_scorer_or_of_none(agentprm, runs, tmp_path):
    def sources(*words):
        agentprm("export", runs, "-o", tmp_path / "x.jsonl", *words)
        return {item.source.name for item in formats.read(tmp_path / "x.jsonl") if isinstance(item, Scores)}

    assert sources() == {"strict", "kind"}
    assert sources("--scorer", "kind") == {"kind"}
    assert sources("--no-scores") == set()


MISTAKES = {
    "a file that is not there": (("import", "{tmp}/none.jsonl", "{tmp}/r.db"), 1, "none.jsonl"),
    "no file": (("import", "{tmp}/r.db"), 2, "FILES"),
    "an unknown format": (("import", "{rows}", "{tmp}/r.db", "--format", "csv"), 1, "there are agentprocessbench"),
    "a format that is only read": (("export", "{runs}", "-o", "{tmp}/x", "--format", "prm800k"), 1, "is only read"),
    "a format that is only written": (("import", "{rows}", "{tmp}/r.db", "--format", "openinference"), 1, "only writ"),
    "an option that is none": (("import", "{rows}", "{tmp}/r.db", "--format", "trl:x=1"), 1, "has no option 'x'"),
    "a file nobody knows": (("import", "{tmp}/odd.jsonl", "{tmp}/r.db"), 1, "records with the keys colour"),
    "an empty file": (("import", "{tmp}/empty.jsonl", "{tmp}/r.db"), 1, "the file is empty"),
    "the wrong format": (("import", "{rows}", "{tmp}/r.db", "--format", "openai_messages"), 1, "messages: expected"),
    "standard input without a format": (("import", "-", "{tmp}/r.db"), 2, "--format"),
    "a store that is not there": (("export", "{tmp}/none.db", "-o", "{tmp}/x"), 1, "there is no database at"),
    "a folder that is not there": (("export", "{runs}", "-o", "{tmp}/no/x.jsonl"), 1, "No such file"),
    "several labels for one": (("export", "{runs}", "-o", "{tmp}/x", "--format", "trl"), 1, "name one as source"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_the_way_out(agentprm, rows, runs, tmp_path, mistake):
    words, expected, hint = MISTAKES[mistake]
    (tmp_path / "odd.jsonl").write_text('{"colour": 1}')
    (tmp_path / "empty.jsonl").write_text("")
    before = sorted(os.listdir(tmp_path))
    code, out, err = agentprm(*(word.format(tmp=tmp_path, rows=rows, runs=runs) for word in words))
    assert code == expected
    assert hint in err
    assert "Traceback" not in out + err
    if expected == 1:
        assert err.count("\n") == 1
    if mistake != "the wrong format":
        assert sorted(os.listdir(tmp_path)) == before, "a mistake makes no file"


def test_ctrl_c_keeps_what_was_imported_and_the_same_command_goes_on(tmp_path):
    path, database = tmp_path / "many.jsonl", tmp_path / "r.db"
    path.write_text("".join(json.dumps(ROW | {"prompt": f"{i} + 2?"}) + "\n" for i in range(60_000)))
    words = [sys.executable, "-m", "agentprm.cli", "import", str(path), str(database), "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _n_trajectories(database) < 200:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (1, "agentprm: interrupted; what was recorded is kept")
    kept = _n_trajectories(database)
    assert 200 <= kept < 60_000
    path.write_text("".join(path.read_text().splitlines(keepends=True)[: kept + 100]))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["new_trajectories"] == 100


def _n_trajectories(path):
    try:
        return sqlite3.connect(path).execute("SELECT count(*) FROM trajectory").fetchone()[0]
    except sqlite3.Error:
        return 0
