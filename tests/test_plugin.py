"""A package of somebody else's is found by its entry points, and nothing here knows its names."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"
SCRIPT = """
import json, sys
from agentprm import Action, Ending, Observation, Step, Task, Trajectory, make
from agentprm.errors import SightError
from agentprm.spec import as_action_scorer, as_live_scorer, names
from agentprm.testing.scorer import ScorerContract
from agentprm.types import new_id

assert "shouting" not in sys.modules
steps = (Step(Observation("a"), Action("STOP it")), Step(Observation("b"), Action("123")))
t = Trajectory(new_id(), Task("t"), steps, Observation("c"), Ending("terminated", True, outcome=1.0))
loud = as_action_scorer("shouting:volume=2.0")
try:
    as_live_scorer("brevity")
    refused = False
except SightError:
    refused = True
print(json.dumps({
    "values": loud([t])[0].values,
    "again": make(loud.spec)([t])[0].values,
    "label": make({"name": "brevity", "params": {}})([t])[0].values,
    "refused": refused,
    "listed": [name for name in ("shouting", "brevity", "constant") if name in names()],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The plug-in's folder as pip would leave it, its metadata written by hand: no network, no build."""
    site = tmp_path_factory.mktemp("site")
    (site / "shouting").symlink_to(PLUGIN / "shouting")
    info = site / "agentprm_shouting-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: agentprm-shouting\nVersion: 0.0.1\n")
    points = ("[agentprm.scorers]", "shouting = shouting.scorer:Shouting", "", "[agentprm.labels]")
    points = "\n".join((*points, "brevity = shouting.label:Brevity", ""))
    (info / "entry_points.txt").write_text(points)
    return site


def test_entry_points_make_names(installed):
    path = os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "values": [2 * 4 / 6, None],
        "again": [2 * 4 / 6, None],
        "label": [0.5, 0.5],
        "refused": True,
        "listed": ["shouting", "brevity", "constant"],
    }


def test_metadata_here_is_that_of_the_plug_ins_pyproject(installed):
    import tomllib

    declared = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    written = (next(installed.glob("*.dist-info")) / "entry_points.txt").read_text()
    for group, points in declared.items():
        assert f"[{group}]" in written
        assert all(f"{name} = {target}" in written for name, target in points.items())
