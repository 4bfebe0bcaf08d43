"""The sweep over label methods: an interruption loses nothing, and its figures are means of what was measured."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
labels = pytest.importorskip("labels", reason="the benchmarks are not part of this installation")
from labels_world import World  # noqa: E402

TINY = ["--levels", "PickupLoc", "--budgets", "200", "100", "--methods", "outcome (λ=1)", "MC K=2", "--ns", "1", "8"]
SIZES = ["--seeds", "1", "--episodes", "3", "--states", "2", "--rollouts", "2"]


@pytest.fixture
def sweep(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["labels.py", *TINY, *SIZES, "--json", *map(str, words)])
        labels.main()
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_it_goes_on_where_it_was_interrupted(sweep, tmp_path, monkeypatch):
    whole = sweep("--rows", tmp_path / "rows.jsonl")
    assert [(row["budget"], row["method"]) for row in whole["rows"]] == [
        (200, "outcome (λ=1)"),
        (200, "MC K=2"),
        (100, "outcome (λ=1)"),
        (100, "MC K=2"),
    ]
    lines = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    assert [json.loads(line) for line in lines] == whole["rows"]
    (tmp_path / "rows.jsonl").write_text("".join(lines[:3]) + lines[3][:40])
    measured, seen = labels.measured, []
    monkeypatch.setattr(labels, "measured", lambda cell: seen.append(cell.method) or measured(cell))
    again = sweep("--rows", tmp_path / "rows.jsonl", "--resume")
    assert seen == ["MC K=2"], "only what was cut off is measured again"
    timeless = [{**row, "train_s": None} for row in whole["rows"]]
    assert [{**row, "train_s": None} for row in again["rows"]] == timeless
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 4
    assert {"machine", "torch", "minigrid", "agentprm"} <= set(again["machine"])


def test_rows_of_other_sizes_are_not_taken_for_these(tmp_path):
    world, other = World("PickupLoc", states=2), World("PickupLoc", states=3)
    cells = [labels.Cell(w, 100, 0, "MC K=2", (8,), 3) for w in (world, other)]
    assert cells[0].plain() != cells[1].plain()
    assert json.loads(json.dumps(cells[0].plain())) == cells[0].plain()


def test_a_smaller_budget_is_the_beginning_of_a_larger_one():
    world = World("PickupLoc", most=200)
    few, more = (world.recorded(0, budget) for budget in (60, 200))
    assert few == more[: len(few)] != more
    assert sum(map(len, few[:-1])) < 60 <= sum(map(len, few))


def test_rollouts_are_paid_from_the_budget():
    world = World("PickupLoc", most=200)
    spent = 0
    for trajectory, scores in world.rolled(0, 2, 150):
        assert spent < 150, "nothing is labelled once the budget is spent"
        spent += len(trajectory) + int(sum(scores.parts["env_steps"]))
    assert spent >= 150


def test_draws_share_no_seed():
    assert World("PickupLoc").first(7_000_000 + 99 * 10_000) < World("PickupLoc", draw=1).first(1_000_000)


def test_means_and_standard_errors_are_over_label_seeds():
    found = [
        {"level": "a", "budget": 1, "method": "m", "labels": 4, "auc": auc, "pair": pair, "best-8": 0.5}
        for auc, pair in ((0.5, None), (0.75, 1.0), (1.0, 0.5))
    ]
    (row,) = labels.summary(found, [8])
    assert row["seeds"] == 3
    assert row["auc"]["mean"] == 0.75
    assert row["auc"]["se"] == pytest.approx(0.25 / 3**0.5)
    assert row["pair"] == {"mean": 0.75, "se": pytest.approx(0.25)}
    assert row["best-8"] == {"mean": 0.5, "se": 0.0}
    assert "0.750±144" in labels.table([row], [8])


def test_one_label_seed_has_no_standard_error():
    (row,) = labels.summary([{"level": "a", "budget": 1, "method": "m", "labels": 4, "auc": 0.5, "pair": None}], [])
    assert row["auc"] == {"mean": 0.5, "se": None}
    assert "pair" not in row
