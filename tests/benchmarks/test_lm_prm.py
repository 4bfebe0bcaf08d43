"""The benchmark of a small language model: its rows are told apart, and its shares are what was counted."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
lm_prm = pytest.importorskip("lm_prm", reason="the benchmarks are not part of this installation")
from labels_world import World  # noqa: E402
from lm_prm_lesson import VARIANTS, Cell  # noqa: E402


def test_no_two_rows_are_about_the_same():
    world = World("UnlockPickup")
    names = [*VARIANTS, *lm_prm.PEERS]
    plain = [Cell(world, budget, 0, name, (1, 8), 10, (2, 3)).plain() for name in names for budget in (10, 20)]
    assert len({repr(one) for one in plain}) == 2 * len(names)


def test_shares_are_of_all_label_seeds_and_missing_ones_are_not_made_up():
    rows = [
        {
            "method": "lookahead",
            "budget": 9,
            "episodes": 10,
            "env_steps": 9,
            "cpu_labels": 1.0,
            "cpu_training": 2.0,
            "best-8": 9,
        },
        {
            "method": "lookahead",
            "budget": 9,
            "episodes": 10,
            "env_steps": 9,
            "cpu_labels": 1.0,
            "cpu_training": 2.0,
            "best-8": 6,
        },
        {"method": "policy alone", "budget": 9, "episodes": 10, "best-1": 3},
    ]
    _, ours, alone = lm_prm.table(rows, (1, 8)).splitlines()
    assert "0.75 (0.53–0.89)" in ours
    assert ours.split()[:2] == ["9", "3"]
    assert "0.30 (0.11–0.60)" in alone
    assert alone.split()[-3] == "-"


@pytest.mark.parametrize("wrong", [["--variants", "nonesuch"], ["--peers", "nonesuch"]])
def test_what_is_not_known_is_refused_in_a_line(wrong, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lm_prm.py", *wrong])
    with pytest.raises(SystemExit) as refused:
        lm_prm.main()
    assert refused.value.code == 2
    assert "nonesuch" in capsys.readouterr().err
