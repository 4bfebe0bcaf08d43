"""So many episodes, or so many steps, by a policy in an environment."""

import gymnasium as gym
import pytest

from agentprm import Store, TrajectoryRecorder, rollout
from agentprm.errors import InvalidTrajectory
from agentprm.record.rollout import play
from agentprm.store.opened import _open
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import corridors


def leave(trajectory, info):
    """Walk to the door that is asked for."""
    return f"go {'left' if 'left' in info['task'] else 'right'}"


def test_so_many_episodes_with_seeds_counted_from_the_first():
    played = rollout(leave, Corridor(), episodes=4, seeds=7)
    assert [t.seed for t in played] == [7, 8, 9, 10]
    assert [t.outcome for t in played] == [1.0] * 4
    assert [len(t) for t in played] == [2] * 4


def test_seeds_may_be_named_and_decide_the_episode():
    assert [t.seed for t in rollout(leave, Corridor(), episodes=2, seeds=[5, 3])] == [5, 3]
    one, other = (rollout(leave, Corridor(), episodes=5, seeds=range(5)) for _ in range(2))
    assert [t.steps for t in one] == [t.steps for t in other]
    assert {t.task.text for t in one} == {"leave by the left door", "leave by the right door"}


def test_so_many_steps_and_the_last_episode_to_its_end():
    played = rollout(leave, Corridor(), steps=5)
    assert [len(t) for t in played] == [2, 2, 2]
    assert rollout(leave, Corridor(), steps=0) == []
    assert rollout(leave, Corridor(), episodes=0) == []


@pytest.mark.parametrize("limits", [{}, {"episodes": 1, "steps": 1}])
def test_one_limit_is_given(limits):
    with pytest.raises(InvalidTrajectory, match="give either episodes= or steps="):
        rollout(leave, Corridor(), **limits)


@pytest.mark.parametrize("limit", [{"episodes": 3}, {"steps": 5}])
def test_seeds_that_run_out_are_missed_and_nothing_played_is_lost(limit, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        with pytest.raises(InvalidTrajectory, match="there were only 2"):
            rollout(leave, Corridor(), **limit, seeds=[1, 2], store=store)
        assert len(list(store.trajectories(ended=True))) == 2


def test_the_policy_sees_the_episode_so_far_and_the_last_info():
    seen = []

    def watch(trajectory, info):
        seen.append((len(trajectory), trajectory.last.text, info["task"]))
        return "wait"

    (t,) = rollout(watch, Corridor(max_rounds=3), episodes=1)
    assert [n for n, *_ in seen] == [0, 1, 2]
    assert [text for _, text, _ in seen] == [o.text for o in t.observations[:3]]
    assert t.ending.status == "truncated"


def test_episodes_go_to_the_store_as_they_are_played_and_a_store_by_url_is_closed(tmp_path):
    path = tmp_path / "runs.db"
    played = rollout(leave, Corridor(), episodes=3, store=path)
    assert not [url for url in _open if url.database == str(path)]
    with Store(path) as store:
        assert list(store.trajectories()) == played


def test_a_store_that_was_given_stays_open(tmp_path):
    with Store(tmp_path / "runs.db", durability="group") as store:
        played = rollout(leave, Corridor(), episodes=3, store=store)
        assert list(store.trajectories()) == played


def test_an_environment_that_records_already_records_once(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        env = gym.wrappers.TimeLimit(TrajectoryRecorder(Corridor(), store), 50)
        played = rollout(leave, env, episodes=2, store=tmp_path / "other.db")
        assert list(store.trajectories()) == played
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_loses_none_of_what_was_played(tmp_path, error):
    def tired(trajectory, info):
        if trajectory.seed == 2 and len(trajectory) == 1:
            raise error
        return leave(trajectory, info)

    with Store(tmp_path / "runs.db") as store:
        with pytest.raises(error):
            rollout(tired, Corridor(), episodes=5, store=store)
        assert [(len(t), t.ending.status) for t in store.trajectories()] == [
            (2, "terminated"), (2, "terminated"), (1, "incomplete"),
        ]  # fmt: skip


def test_one_episode_is_played_to_its_end():
    t = play(leave, Corridor(), seed=3)
    assert t.outcome == 1.0
    assert t.seed == 3


def test_progress_is_drawn_only_where_it_is_asked_for(capsys, monkeypatch):
    rollout(leave, Corridor(), episodes=2, progress=False)
    rollout(leave, Corridor(), episodes=2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    rollout(leave, Corridor(), episodes=2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "playing" in err
    assert "success 100%" in err


def test_small_trajectories_for_tests_are_those_of_a_walk():
    assert [t.steps for t in corridors(3)] == [t.steps for t in corridors(3)]
