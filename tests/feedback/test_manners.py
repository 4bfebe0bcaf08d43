"""What Gymnasium asks of a wrapper, of ours as of its own: its generic tests, on the single and the vector wrappers."""

import copy
import inspect
import pickle
import threading
import warnings

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorStatistics

from agentprm import PRMRewardWrapper, Store, TrajectoryRecorder
from agentprm.feedback.gymnasium_vector import PRMVectorRewardWrapper
from agentprm.record.gymnasium_vector import VectorTrajectoryRecorder

SCORER = "constant:value=0.5"
WRAPS = {
    "recorder": TrajectoryRecorder,
    "reward": lambda env, store=None: PRMRewardWrapper(env, SCORER, store, shape="record"),
}
VECTOR_WRAPS = {
    "recorder": VectorTrajectoryRecorder,
    "reward": lambda env, store=None: PRMVectorRewardWrapper(env, SCORER, store, shape="record"),
}
wraps = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
vector_wraps = pytest.mark.parametrize("wrap", VECTOR_WRAPS.values(), ids=VECTOR_WRAPS)
modes = pytest.mark.parametrize("mode", AutoresetMode, ids=lambda mode: mode.value)


def without_ours(info):
    return {key: value for key, value in info.items() if key not in ("prm", "_prm")}


def walk(env, seed=3, steps=30):
    """Return observations, rewards, flags and infos of a seeded walk, without what ours said."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    said = [(observation, without_ours(info))]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        said.append((observation, float(reward), terminated, truncated, without_ours(info)))
        if terminated or truncated:
            said.append(without_ours(env.reset()[1]))
    return said


# The spec.


class Own(gym.Env):
    """Registered by these tests, with keyword arguments of its own."""

    observation_space = gym.spaces.Discrete(100)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, length=3):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return int(self.np_random.integers(100)), {}

    def step(self, action):
        self.t += 1
        return int(self.np_random.integers(100)), float(action), self.t >= self.length, False, {}


@pytest.fixture
def registered(tmp_path):
    """Ids of an environment registered with one of our wrappers in its spec, and where each records."""
    paths = {"recorder": str(tmp_path / "recorder.db"), "reward": str(tmp_path / "reward.db")}
    specs = {
        "recorder": TrajectoryRecorder.wrapper_spec(store=paths["recorder"], outcome="reward"),
        "reward": PRMRewardWrapper.wrapper_spec(scorer=SCORER, store=paths["reward"], shape="add"),
    }
    for name, spec in specs.items():
        gym.register(f"Own/{name}-v0", entry_point=f"{__name__}:Own", additional_wrappers=(spec,), max_episode_steps=9)
    yield paths
    for name in specs:
        del gym.registry[f"Own/{name}-v0"]


@pytest.mark.parametrize("name", ["recorder", "reward"])
def test_additional_wrappers_of_a_registered_environment_are_ours(registered, name):
    env = gym.make(f"Own/{name}-v0", length=2)
    assert isinstance(env, TrajectoryRecorder if name == "recorder" else PRMRewardWrapper)
    env.reset(seed=1)
    paid = [env.step(1)[1] for _ in range(2)]
    assert paid == ([1.0, 1.0] if name == "recorder" else [1.5, 1.5])
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    again.reset(seed=1)
    assert [again.step(1)[1] for _ in range(2)] == paid
    env.close()
    again.close()
    with Store(registered[name]) as store:
        a, b = store.trajectories()
        assert (a.steps, a.last, a.env, a.seed) == (b.steps, b.last, f"Own/{name}-v0", 1)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("name", ["recorder", "reward"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_vector_that_is_made_has_them_in_every_environment(registered, name, mode):
    envs = gym.make_vec(f"Own/{name}-v0", num_envs=2, vectorization_mode=mode, length=2)
    envs.reset(seed=4)
    paid = [envs.step(np.array([1, 2]))[1].tolist() for _ in range(3)]
    envs.close()
    extra = 0.0 if name == "recorder" else 0.5
    assert paid == [[1 + extra, 2 + extra]] * 2 + [[0.0, 0.0]]
    assert EnvSpec.from_json(envs.spec.to_json()).additional_wrappers == envs.spec.additional_wrappers
    with Store(registered[name]) as store:
        assert sorted((t.seed or 0, len(t), t.env) for t in store.trajectories()) == [
            (0, 0, f"Own/{name}-v0"), (0, 0, f"Own/{name}-v0"), (4, 2, f"Own/{name}-v0"), (5, 2, f"Own/{name}-v0"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (TrajectoryRecorder, {"store": "runs.db", "task": "walk", "outcome": "reward", "policy": "p"}),
        (PRMRewardWrapper, {"scorer": SCORER, "store": "runs.db", "shape": "add", "weight": 2.0, "gamma": 0.5}),
    ],
)
def test_what_is_recorded_is_the_signature_and_survives_the_spec(cls, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parameters = set(inspect.signature(cls.__init__).parameters) - {"self", "env"}
    assert next(name for name in inspect.signature(cls.__init__).parameters if name != "self") == "env"
    env = cls(gym.make("CartPole-v1"), **given)
    for made in (env, gym.make(env.spec), gym.make(EnvSpec.from_json(env.spec.to_json()))):
        assert set(made._saved_kwargs) == parameters
        assert {key: made._saved_kwargs[key] for key in given} == given
        assert made.spec.additional_wrappers[-1].entry_point == f"{cls.__module__}:{cls.__name__}"


@wraps
def test_the_whole_stack_is_remade_from_its_json_and_plays_the_same(wrap, tmp_path):
    env = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=15)
    env = gym.wrappers.NormalizeReward(gym.wrappers.FlattenObservation(wrap(env, tmp_path / "a.db")))
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert str(env) == str(again)
    assert env.spec == again.spec
    assert data_equivalence(walk(env), walk(again), exact=True)
    env.close()
    again.close()


@wraps
@pytest.mark.parametrize("module", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_a_stack_survives_pickling_with_its_chance(wrap, module, tmp_path):
    env = RecordEpisodeStatistics(wrap(gym.make("CartPole-v1"), tmp_path / "a.db"))
    env.reset(seed=7)
    again = pickle.loads(module.dumps(env))
    assert str(env) == str(again)
    for a, b in zip(walk(env), walk(again), strict=True):
        assert data_equivalence(*[x[:-1] if isinstance(x, tuple) else {} for x in (a, b)], exact=True)


# Attributes, seeds, the checker.


@wraps
def test_attributes_are_found_and_set_through_it(wrap):
    env = TimeLimit(wrap(gym.make("CartPole-v1")), 9)
    assert env.has_wrapper_attr("gravity")
    assert env.has_wrapper_attr("recorder")
    assert not env.has_wrapper_attr("no_such_thing")
    env.set_wrapper_attr("gravity", 1.5)
    assert env.unwrapped.gravity == env.get_wrapper_attr("gravity") == 1.5
    assert not hasattr(env.env, "gravity"), "attributes are found, not forwarded"
    with pytest.raises(AttributeError, match="no_such_thing"):
        env.get_wrapper_attr("no_such_thing")
    with pytest.raises(AttributeError):
        _ = env.env._np_random


@wraps
def test_seeds_pass_through_it(wrap):
    env, bare = wrap(gym.make("FrozenLake-v1")), gym.make("FrozenLake-v1")
    for e in (env, bare):
        e.reset(seed=42)
    assert env.np_random_seed == bare.np_random_seed == 42
    assert env.np_random is env.unwrapped.np_random
    assert env.np_random.bit_generator.state == bare.np_random.bit_generator.state
    env.np_random = np.random.default_rng(1)
    assert env.unwrapped.np_random.random() == np.random.default_rng(1).random()


@wraps
@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "MiniGrid-Empty-5x5-v0"])
def test_it_matches_the_bare_environment(wrap, env_id, tmp_path):
    if env_id.startswith("MiniGrid"):
        pytest.importorskip("minigrid")
    env = wrap(gym.make(env_id), tmp_path / "runs.db")
    # An int that the world pays is a float when we pay it; that they are equal is compared by test_gymnasium.
    is_paid = isinstance(env, PRMRewardWrapper)
    check_environments_match(gym.make(env_id), env, 30, skip_rew=is_paid, info_comparison="keys-superset")
    env.close()


@wraps
@pytest.mark.parametrize("disabled", [False, True], ids=["passive checker", "none"])
def test_the_checkers_find_nothing(wrap, disabled, tmp_path):
    env = wrap(gym.make("FrozenLake-v1", disable_env_checker=disabled), tmp_path / "runs.db")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*is different from the unwrapped version")
        check_env(env)
        check_env(TimeLimit(env, 5))
    env.close()
    env.close()


@wraps
def test_a_checker_outside_finds_nothing_either(wrap):
    env = gym.wrappers.PassiveEnvChecker(wrap(gym.make("CartPole-v1", disable_env_checker=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walk(env)


# Statistics inside and outside.


@pytest.mark.parametrize(("inside", "each"), [(True, 1.0), (False, 1.5)])
def test_statistics_inside_keep_the_worlds_return_outside_the_paid_one(inside, each):
    env = gym.make("CartPole-v1")
    env = RecordEpisodeStatistics(env) if inside else env
    env = PRMRewardWrapper(env, SCORER, shape="add")
    env = env if inside else RecordEpisodeStatistics(env)
    env.reset(seed=1)
    info, n = {}, 0
    while "episode" not in info:
        *_, info = env.step(0)
        n += 1
    assert (info["episode"]["r"], info["episode"]["l"]) == (n * each, n)


class Five(Own):
    """Pays 1 for each of five steps."""

    def __init__(self):
        super().__init__(length=5)

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, 1.0, *rest


@modes
@pytest.mark.parametrize(("inside", "each"), [(True, 1.0), (False, 1.5)])
def test_statistics_of_a_vector_count_whole_episodes_in_every_mode(mode, inside, each):
    env = SyncVectorEnv([Five] * 3, autoreset_mode=mode)
    env = VectorStatistics(env) if inside else env
    env = PRMVectorRewardWrapper(env, SCORER, shape="add")
    env = env if inside else VectorStatistics(env)
    env.reset(seed=1)
    found = []
    for _ in range(24):
        _, _, terminated, _, infos = env.step(np.zeros(3, int))
        episode = infos.get("episode", infos.get("final_info", {}).get("episode"))
        if terminated.any():
            found += zip(episode["r"].tolist(), episode["l"].tolist(), strict=True)
            if mode is AutoresetMode.DISABLED:
                env.reset(options={"reset_mask": terminated})
    assert found == [(5 * each, 5)] * len(found)
    assert len(found) == 12


def test_a_partial_reset_reaches_statistics_outside_with_its_mask():
    """Gymnasium's vectors take the mask out of the options they are given; ours pass a copy down."""
    env = VectorStatistics(VectorTrajectoryRecorder(SyncVectorEnv([Five, Own], autoreset_mode=AutoresetMode.DISABLED)))
    env.reset(seed=1)
    for _ in range(3):
        _, _, terminated, _, _ = env.step(np.zeros(2, int))
    env.reset(options={"reset_mask": terminated})
    assert terminated.tolist() == [False, True]
    for _ in range(2):
        *_, infos = env.step(np.zeros(2, int))
    assert infos["episode"]["l"][0] == 5


# Vectors.


@modes
@vector_wraps
@pytest.mark.parametrize("n", [1, 3])
def test_a_wrapped_vector_is_a_vector_of_wrapped_environments(n, mode, wrap):
    single = dict(zip(VECTOR_WRAPS.values(), WRAPS.values(), strict=True))[wrap]
    outside = wrap(SyncVectorEnv([lambda: gym.make("CartPole-v1")] * n, autoreset_mode=mode))
    inside = SyncVectorEnv([lambda: single(gym.make("CartPole-v1"))] * n, autoreset_mode=mode)
    for name in ("observation_space", "single_observation_space", "action_space", "single_action_space", "num_envs"):
        assert getattr(outside, name) == getattr(inside, name)
    assert data_equivalence(outside.reset(seed=5)[0], inside.reset(seed=5)[0], exact=True)
    outside.action_space.seed(6)
    for _ in range(60):
        action = outside.action_space.sample()
        a, b = outside.step(action), inside.step(action)
        # What stands in "prm" differs where an environment only resets: masks say where; the rest is the same.
        ours, theirs = ({**without_ours(s[4]), "final_info": without_ours(s[4].get("final_info", {}))} for s in (a, b))
        assert data_equivalence((*a[:4], ours), (*b[:4], theirs), exact=True)
        over = a[2] | a[3]
        if mode is AutoresetMode.DISABLED and over.any():
            for env in (outside, inside):
                env.reset(seed=7, options={"reset_mask": over.copy()})
    outside.close()
    inside.close()


# One store, several environments.


@wraps
@pytest.mark.parametrize("given", ["store", "url"])
def test_two_environments_share_a_store(wrap, given, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        one, other = (wrap(Own(4), store if given == "store" else str(tmp_path / "runs.db")) for _ in range(2))
        one.reset(seed=1)
        other.reset(seed=2)
        for _ in range(2):
            for env in (one, other):
                env.step(1)
                env.step(2)
        one.close()
        other.reset(seed=3)
        other.step(0)
        other.close()
        found = [(t.seed, [s.reward for s in t.steps], t.ending.status) for t in store.trajectories()]
        assert sorted(found) == [
            (1, [1.0, 2.0, 1.0, 2.0], "terminated"), (2, [1.0, 2.0, 1.0, 2.0], "terminated"), (3, [0.0], "incomplete"),
        ]  # fmt: skip


@wraps
@pytest.mark.parametrize("durability", ["step", "group", "episode"])
def test_threads_share_a_store(wrap, durability, tmp_path):
    with Store(tmp_path / "runs.db", durability=durability) as store:
        failed = []

        def play(seed):
            try:
                env = wrap(Own(5), store)
                for episode in range(5):
                    env.reset(seed=100 * seed + episode)
                    for t in range(5):
                        env.step(t % 3)
                env.close()
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=play, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        played = list(store.trajectories())
        assert sorted(t.seed for t in played) == [100 * seed + episode for seed in range(4) for episode in range(5)]
        assert {tuple(step.reward for step in t.steps) for t in played} == {(0.0, 1.0, 2.0, 0.0, 1.0)}
        assert store.dropped == 0


@wraps
def test_an_environment_that_raises_leaves_an_incomplete_episode_and_the_next_begins_anew(wrap, tmp_path):
    class Fragile(Own):
        def step(self, action):
            if action == 2:
                raise RuntimeError("the world broke")
            return super().step(action)

    with Store(tmp_path / "runs.db") as store:
        env = wrap(Fragile(3), store)
        env.reset(seed=1)
        env.step(1)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="the world broke"):
                env.step(2)
        env.reset(seed=2)
        for _ in range(3):
            env.step(1)
        env.close()
        assert [(t.seed, len(t), t.ending.status) for t in store.trajectories()] == [
            (1, 1, "incomplete"), (2, 3, "terminated"),
        ]  # fmt: skip


def test_a_deep_copy_of_a_stack_is_one_of_its_own(tmp_path):
    env = TimeLimit(PRMRewardWrapper(gym.make("CartPole-v1"), SCORER, tmp_path / "runs.db"), 9)
    env.reset(seed=1)
    twin = copy.deepcopy(env)
    assert twin.unwrapped is not env.unwrapped
    assert twin.env.scorer == env.env.scorer
    assert data_equivalence(walk(env)[1][0], walk(twin)[1][0], exact=True)
    env.close()
    twin.close()
