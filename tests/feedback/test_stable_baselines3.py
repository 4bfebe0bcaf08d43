"""Stable-Baselines3 learns from a paid environment; who stands inside and outside decides which return it prints."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

from agentprm import PRMRewardWrapper, Store, TrajectoryRecorder

sb3 = pytest.importorskip("stable_baselines3")
from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor  # noqa: E402


def paid(env, store=None, **options):
    return PRMRewardWrapper(env, "constant:value=0.5", store, **({"shape": "add"} | options))


def cart_pole(path=None):
    return paid(gym.make("CartPole-v1"), path)


def ppo(env, **options):
    return sb3.PPO("MlpPolicy", env, n_steps=32, batch_size=16, n_epochs=1, seed=0, device="cpu", **options)


@pytest.mark.parametrize("wrap", [paid, TrajectoryRecorder])
@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "CartPole-v1"])
def test_its_checker_finds_nothing(tmp_path, wrap, env_id):
    env = wrap(gym.make(env_id), tmp_path / "runs.db")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
    env.close()


STATISTICS = {"monitor": Monitor, "statistics": gym.wrappers.RecordEpisodeStatistics, "nothing": lambda env: env}


@pytest.mark.parametrize(
    ("inside", "outside", "prints"),
    [
        ("monitor", "nothing", "world"),
        ("nothing", "monitor", "paid"),
        ("monitor", "monitor", "paid"),
        ("nothing", "nothing", "paid"),
        ("statistics", "nothing", None),
        ("nothing", "statistics", None),
    ],
)
def test_ppo_learns_every_step_is_there_and_the_order_decides_what_is_printed(tmp_path, inside, outside, prints):
    path = tmp_path / "runs.db"
    env = STATISTICS[outside](paid(STATISTICS[inside](gym.make("CartPole-v1")), path))
    if prints is None:
        # SB3 would put its own Monitor, whose key is the same, around it.
        env = DummyVecEnv([lambda: env])
    model = ppo(env)
    model.learn(64)
    model.get_env().close()
    with Store(path) as store:
        played = list(store.trajectories())
        assert sum(map(len, played)) == 64
        assert all(store.rewards(t.id).given == (1.5,) * len(t) for t in played)
        assert all(store.rewards(t.id).env == (1.0,) * len(t) for t in played)
        assert [t.ending.status for t in played] == ["terminated"] * (len(played) - 1) + [played[-1].ending.status]
    each = {"world": 1.0, "paid": 1.5, None: 1.0 if inside == "statistics" else 1.5}[prints]
    ended = [len(t) for t in played if t.ending.status == "terminated"]
    assert [episode["r"] for episode in model.ep_info_buffer] == pytest.approx([n * each for n in ended])


@pytest.mark.parametrize(("inside", "each"), [(True, 1.0), (False, 1.5)])
def test_evaluation_prints_what_its_monitor_saw(inside, each):
    env = paid(Monitor(gym.make("CartPole-v1"))) if inside else Monitor(paid(gym.make("CartPole-v1")))
    returns, lengths = evaluate_policy(ppo(env), env, n_eval_episodes=2, return_episode_rewards=True)
    assert returns == pytest.approx([n * each for n in lengths])


@pytest.mark.parametrize("kind", ["dummy", "fork", "forkserver", "spawn"])
def test_vectors_of_it_record_every_step_and_their_infos_survive(tmp_path, kind):
    path, n = str(tmp_path / "runs.db"), 2
    makes = [lambda: cart_pole(path)] * n
    venv = DummyVecEnv(makes) if kind == "dummy" else SubprocVecEnv(makes, start_method=kind)
    venv = VecMonitor(venv)
    venv.seed(3)
    venv.reset()
    assert [set(info["prm"]) for info in venv.venv.reset_infos] == [{"trajectory"}] * n
    ended = 0
    for _ in range(40):
        _, rewards, dones, infos = venv.step(np.array([0, 1]))
        assert rewards.tolist() == [1.5] * n
        assert [info["prm"]["env_reward"] for info in infos] == [1.0] * n
        ended += dones.sum()
        assert all(("terminal_observation" in info) == done for info, done in zip(infos, dones, strict=True))
    assert venv.get_attr("failed") == [0] * n
    venv.close()
    with Store(path) as store:
        played = list(store.trajectories())
        assert sum(map(len, played)) == 40 * n
        assert sum(t.ending.status == "terminated" for t in played) == ended > 4
        assert {t.seed for t in played if t.seed is not None} == {3, 4}


def test_ppo_learns_in_worker_processes(tmp_path):
    path = str(tmp_path / "runs.db")
    model = ppo(SubprocVecEnv([lambda: cart_pole(path)] * 2, start_method="forkserver"))
    model.learn(128)
    with Store(path) as store:  # learn() closes nothing, and the last episode goes on
        played = list(store.trajectories())
        # The environments took one more step each than was learnt from at most.
        assert sum(map(len, played)) == 128
        assert sum(t.ending is None for t in played) == 2
    model.get_env().close()


def test_minigrid_is_read_inside_and_turned_into_numbers_outside(tmp_path):
    pytest.importorskip("minigrid")
    from minigrid.wrappers import ImgObsWrapper

    path = tmp_path / "runs.db"
    env = ImgObsWrapper(paid(Monitor(gym.make("MiniGrid-Empty-5x5-v0")), path))
    ppo(env).learn(32)
    env.close()
    with Store(path) as store:
        played = list(store.trajectories())
        assert sum(map(len, played)) == 32
        assert {t.task.text for t in played} == {"get to the green goal square"}
        assert set(played[0].last.native) == {"image", "direction", "mission"}
        assert (played[0].last.native["image"].dtype, played[0].last.native["image"].shape) == (np.uint8, (7, 7, 3))
