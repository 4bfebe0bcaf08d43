"""A format of somebody else's is found by its entry point, guessed by its keys, and keeps the contract."""

import os
import subprocess
import sys

PLUGIN = '''
"""One word per line."""
import json
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from agentprm.types import Action, Observation, Step, Task, Trajectory

SIGNATURES = ({"word"},)


def read(source, *, on_bad=None, loud=False):
    with open(source) as file:
        for line in file:
            word = json.loads(line)["word"]
            step = Step(Observation(), Action(word.upper() if loud else word))
            yield Trajectory(uuid5(NAMESPACE_URL, line), Task("say"), (step,), Observation(),
                             started_at=datetime(2026, 1, 1, tzinfo=UTC))
'''
SCRIPT = """
import sys
from agentprm import formats
from agentprm.errors import OneWayFormat

assert "wordy" not in sys.modules
assert "words" in formats.names()
assert formats.guess("x.jsonl") == "words"
assert [t.steps[0].action.text for t in formats.read("x.jsonl", "words:loud=true")] == ["HI"]
try:
    formats.write("y", [], "words")
except OneWayFormat:
    print("done")
"""


def test_an_entry_point_is_a_format(tmp_path):
    (tmp_path / "wordy.py").write_text(PLUGIN)
    info = tmp_path / "wordy-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wordy\nVersion: 0.0.1\n")
    (info / "entry_points.txt").write_text("[agentprm.formats]\nwords = wordy\n")
    (tmp_path / "x.jsonl").write_text('{"word": "hi"}\n')
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout == "done\n", done.stderr
