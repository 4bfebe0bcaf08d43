"""Two processes learn what one learns: the same weights from the same batches, each reading its share of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentprm import Store, load_scorer
from agentprm.scorers._share import _split
from agentprm.testing.trajectories import corridors
from agentprm.train.processes import Processes

SCRIPT = Path(__file__).parent / "together.py"


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Train in one process and in two; give what each wrote, and where."""
    root = tmp_path_factory.mktemp("together")
    with Store(root / "runs.db") as store:
        store.add(corridors(12, seed=1))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for words in ([SCRIPT, root / "one"], [*launch, SCRIPT, root / "two", root / "runs.db"]):
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return root, *(json.loads((root / name).read_text()) for name in ("one.0", "two.0", "two.1"))


MODELS = ["all", "lora", "head", "ranking", "implicit", "hashed"]


@pytest.mark.parametrize("name", MODELS)
def test_two_learn_what_one_learns(learnt, name):
    _, one, first, second = learnt
    assert (one["n"], first["n"], second["n"]) == (1, 2, 2)
    assert first[name]["weights"] == pytest.approx(one[name]["weights"], abs=1e-5)
    for there, here in zip(first[name]["curve"], one[name]["curve"], strict=True):
        assert there == pytest.approx(here, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_both_end_with_the_same_model_to_the_last_bit(learnt, name):
    _, _, first, second = learnt
    assert first[name]["weights"] == second[name]["weights"]
    assert first[name]["spec"] == second[name]["spec"]
    assert first[name]["curve"] == second[name]["curve"]


@pytest.mark.parametrize("name", ["all", "lora", "head", "ranking"])
def test_each_reads_its_share(learnt, name):
    _, one, first, second = learnt
    assert first[name]["tokens"] + second[name]["tokens"] == one[name]["tokens"]
    assert 0.35 < first[name]["tokens"] / one[name]["tokens"] < 0.65


def test_different_data_is_an_error_in_both_and_nobody_waits(learnt):
    _, _, first, second = learnt
    assert "2 processes train together, and were given different" in first["different"]
    assert first["different"] == second["different"]
    assert (first["alone"], second["alone"]) == (24, 23)


def test_on_the_command_line_the_first_saves(learnt):
    root, _, first, second = learnt
    assert (first["code"], second["code"]) == (0, 0)
    assert load_scorer(root / "two.model").spec.name == "hashed"


def test_a_process_that_nobody_started_among_others_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Processes.here() == Processes()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Processes.here().is_first


@pytest.mark.parametrize("lengths", [[], [1], [5, 5], [9, 1, 1, 1], [1] * 11, [0, 0], [3, 1, 4, 1, 5, 9, 2, 6]])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_shares_are_everything_once_and_in_order(lengths, n):
    parts = _split(lengths, n)
    assert [i for part in parts for i in part] == list(range(len(lengths)))
    assert len(parts) == n
    if lengths:
        sizes = [sum(lengths[i] for i in part) for part in parts]
        assert max(sizes) <= sum(lengths) / n + max(lengths)
