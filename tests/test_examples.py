"""The examples run as printed, each stage on what the one before left, and the demonstration does what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*words, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::DeprecationWarning:agentprm"}
    done = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_stages_of_the_river_follow_one_another(tmp_path):
    said = {}
    for stage in ("01_record", "03_label", "04_train", "05_score_and_credit", "06_reward", "11_report"):
        said[stage] = run(EXAMPLES / f"{stage}.py", cwd=tmp_path)
    assert "200 episodes" in said["01_record"]
    assert "environment steps for" in said["03_label"]
    assert (tmp_path / "model" / "scorer.json").is_file()
    assert "200 trajectories scored" in said["05_score_and_credit"]
    assert "paid in all" in said["06_reward"]
    assert "episodes, 0 left out" in said["11_report"]
    assert (tmp_path / "report.html").is_file()


ALONE = ["02_langchain", "08_middleware", "09_import_export", "12_judge", "14_remote", "sb3_ppo"]


@pytest.mark.parametrize("name", ALONE)
def test_standing_alone(tmp_path, name):
    assert run(EXAMPLES / f"{name}.py", *(["1000"] if name == "sb3_ppo" else []), cwd=tmp_path)


def test_an_agent_gets_better_by_its_own_record(tmp_path):
    said = run(EXAMPLES / "10_agent_lift.py", "runs.db", "120", "40", cwd=tmp_path)
    assert "120 runs recorded" in said
    shares = [int(line.split("%")[0].split()[-1]) for line in said.splitlines() if "right (" in line]
    assert len(shares) == 2
    assert shares[0] < shares[1], "the scorer chose worse than nobody"


def test_a_published_model_finds_the_wrong_step_and_the_better_solution(tmp_path):
    said = run(EXAMPLES / "13_math_steps.py", cwd=tmp_path)
    first, best = map(int, re.search(r"error: (\d+) of 50 .*: (\d+)", said).groups())
    assert first < best, "it chose worse than nobody"
    assert "the worst is step 1, After 7 comes 9." in said


def test_every_example_is_run_here():
    stages = {"01_record", "02_langchain", "03_label", "04_train", "05_score_and_credit", "06_reward", "10_agent_lift"}
    run_here = stages | {*ALONE, "11_report", "13_math_steps"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} - {"07_language_model"} == run_here


def test_a_small_demonstration_goes_all_the_way(tmp_path):
    words = ("-m", "agentprm.cli", "demo", "--folder", "out", "--steps", "600", "--episodes", "6", "--json")
    result = json.loads(run(*words, cwd=tmp_path))
    methods = [row["method"] for row in result["results"]]
    assert methods[0] == "policy alone"
    assert methods[-1] == "TD + GAE labels"
    for row in result["results"]:
        assert 0 <= row["low"] <= row["success"] <= row["high"] <= 1
    for name in ("database", "model", "plot"):
        assert (tmp_path / result[name]).exists()
