"""`agentprm credit`: one table or one JSON object, in either order, and exit codes for the alarm."""

import json
import sqlite3

import pytest
from credit_world import episode, fill
from test_alarms import training

from agentprm import Store
from agentprm.cli import main
from agentprm.credit import drops as credit_of
from agentprm.credit.questions import QUESTIONS


@pytest.fixture
def credit(capsys):
    """Run the verb; return exit code, standard output, standard error."""

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main(["credit", *map(str, words)])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def path(lite):
    return lite.url.removeprefix("sqlite:///")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_every_question_answers_in_lines_for_people(credit, path, made, question):
    rest = [made[0][0].id.hex[-12:]] if question.name == "timeline" else []
    code, out, err = credit(question.name, path, *rest, "--limit", "3") if question.name != "timeline" else credit(
        "timeline", path, *rest
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert len(out.splitlines()) >= 2
    code, out, _ = credit(path, question.name, *rest, "--json")
    assert {"title", "scorer", "n", "rows", "sql", "note"} <= json.loads(out).keys()


def test_the_list_names_all_of_them(credit):
    code, out, _ = credit("--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [*(q.name for q in QUESTIONS), "sql"]
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_overview_is_five_tables(credit, path):
    assert credit(path)[1].count("scores by model@") == 4
    assert len(json.loads(credit(path, "--json")[1])) == 5


def test_lists_fit_in_eighty_columns(credit, path):
    _, out, _ = credit("sinking", path)
    assert max(map(len, out.splitlines())) <= 80


def test_filters_reach_the_question(credit, path):
    words = ["success", path, "--policy", "ppo@0", "--policy", "ppo@1", "--outcome", "success", "--since", "2026-03-05",
             "--until", "2026-04-01T00:00+00:00", "--tag", "host=h1", "--env", "E-v0", "--json"]  # fmt: skip
    rows = json.loads(credit(*words)[1])["rows"]
    assert {row["policy"] for row in rows} == {"ppo@0", "ppo@1"}
    assert all(row["success"] == 1.0 for row in rows)
    alone = json.loads(credit("actions", path, "--tool", "search", "--scorer", "model", "--json")[1])
    assert {row["action"] for row in alone["rows"]} <= {"search", "calc"}


def test_settings_reach_the_question(credit, path):
    title = json.loads(credit("drops", path, "--over", "0.3", "--json")[1])["title"]
    assert title.endswith("0.3")
    assert "depth" in credit("calibration", path, "--by-depth")[1]


def test_statements_and_markdown_can_be_pasted(credit, path):
    _, out, _ = credit("sinking", path, "--sql")
    assert sqlite3.connect(path).execute(out.split("\n", 1)[1]).fetchall()
    _, out, _ = credit("success", path, "--markdown")
    assert "| policy | env | n |" in out


def test_sql_of_ones_own(credit, path):
    code, out, _ = credit("sql", path, "SELECT count(*) AS n FROM v_trajectory", "--json")
    assert (code, json.loads(out)["n"] > 0) == (0, True)
    code, _, err = credit("sql", path, "DELETE FROM trajectory")
    assert code == 1
    assert "readonly" in err


MISTAKES = {
    "nothing": ((), 2, "say which store"),
    "an unknown question": (("{path}", "nonesuch"), 2, "there are success"),
    "a setting of another question": (("success", "{path}", "--over", "1"), 2, "success takes no --over"),
    "a timeline of nothing": (("timeline", "{path}"), 2, "the id of one trajectory"),
    "a word too many": (("success", "{path}", "more"), 2, "no further words"),
    "no time": (("success", "{path}", "--since", "yesterday"), 2, "2026-03-01"),
    "no tag": (("success", "{path}", "--tag", "host"), 2, "KEY=VALUE"),
    "an unknown scorer": (("actions", "{path}", "--scorer", "nobody"), 1, "there are model@"),
    "an alarm for a store that is not there": (("hacking", "{path}.none"), 2, "no database"),
    "an alarm by an unknown scorer": (("hacking", "{path}", "--scorer", "nobody"), 2, "there are model@"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_the_way_out(credit, path, mistake):
    words, expected, hint = MISTAKES[mistake]
    code, out, err = credit(*(word.format(path=path) for word in words))
    assert code == expected
    assert hint in " ".join(err.split())
    assert "Traceback" not in out + err


RUNS = {"hacked": ((0.82, 0.70), (0.7, 0.9), 1), "healthy": ((0.4, 0.8), (0.45, 0.82), 0)}


@pytest.mark.parametrize("run", RUNS)
def test_a_training_job_can_stop_on_the_alarm(credit, tmp_path, run):
    success, score, expected = RUNS[run]
    with Store(tmp_path / "runs.db") as store:
        training(store, success, score)
    code, out, _ = credit("hacking", tmp_path / "runs.db")
    assert code == expected
    assert ("ALARM" in out) == (expected == 1)
    assert json.loads(credit("hacking", tmp_path / "runs.db", "--json")[1])["alarm"] is (expected == 1)


def test_an_alarm_without_anything_to_judge_is_no_all_clear(credit, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        fill(store, episode(["x"], [0.5], None))
    code, out, _ = credit("hacking", tmp_path / "runs.db")
    assert code == 2
    assert "no outcome is known" in out


def test_hints_are_spelled_as_the_command_line_spells_options(credit, path, tmp_path):
    _, out, _ = credit("sinking", path, "--policy", "ppo@0", "--tag", "host=nowhere", "--outcome", "failure")
    assert "nothing matches --policy ppo@0 --tag host=nowhere --outcome failure" in out
    with Store(tmp_path / "bare.db") as store:
        fill(store, episode(["go"]))
        assert "(scorer=)" in credit_of(store).note
    assert "(--scorer)" in credit("drops", tmp_path / "bare.db")[1]
    assert "lower --visits" in credit("anchors", path, "--visits", "999")[1]


def test_a_question_nearly_named_is_guessed(credit, path):
    code, _, err = credit("sinkin", path)
    assert code == 2
    assert "did you mean 'sinking'?" in err
    code, _, err = credit("drops", path, "--scorer", "modl")
    assert code == 1
    assert "did you mean 'model'?" in err
