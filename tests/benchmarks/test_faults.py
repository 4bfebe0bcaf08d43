"""A dozen of the benchmark's kills: nothing acknowledged is lost, no episode has a hole, recording goes on."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
kills = pytest.importorskip("faults_kills", reason="the benchmarks are not part of this installation")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # Scenarios that go on in this process shorten these; the tests that follow need them as they were.
    for module, name in ((kills.merging, "_CHUNK"), (kills.database, "_BUSY_S"), (kills.database, "_AGAIN_S")):
        monkeypatch.setattr(module, name, getattr(module, name))


@pytest.mark.parametrize("scenario", [s for s in kills.LOOPS if "LangChain" not in s])
def test_what_a_killed_recorder_acknowledged_is_there(tmp_path, scenario, monkeypatch):
    monkeypatch.setattr(kills.database, "_BUSY_S", 0.5)
    for found in kills.killed_while_recording(scenario, str(tmp_path / "runs.db"), 2, random.Random(3)):
        assert found.wrong == []


@pytest.mark.parametrize("scenario", kills.ONCE)
def test_what_is_killed_half_way_is_whole_when_it_is_begun_again(tmp_path, scenario):
    (found,) = kills.killed_once(scenario, tmp_path, 1, random.Random(4))
    assert found.wrong == []


def test_a_lost_step_would_be_seen(tmp_path):
    url = str(tmp_path / "runs.db")
    t = kills.episode(5)
    with kills.Store(url) as store:
        store.add(t)
    assert kills.looked_at(url, "x", [(str(t.id), 5, 0.0)], 1.0, 0).wrong == []
    assert kills.looked_at(url, "x", [(str(t.id), 6, 0.0)], 1.0, 0).wrong == ["1 acknowledged steps lost, 0 allowed"]
    with kills.Store(url) as store, store._database.changing() as connection:
        connection.exec_driver_sql("DELETE FROM step WHERE idx = 2")
    assert "has a gap" in " ".join(kills.looked_at(url, "x", [], 1.0, 0).wrong)
