"""A recorded environment is the same environment, and what it recorded is what happened."""

import copy
import json
import logging
import pickle
import sqlite3
import warnings
from collections import OrderedDict, namedtuple
from inspect import signature

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

from agentprm import Store, TrajectoryRecorder
from agentprm.errors import InvalidSpec, InvalidTrajectory, StoreError
from agentprm.record.recorder import plain
from agentprm.scorers.constant import Constant
from agentprm.types import Ending, Observation, Task, Trajectory

Point = namedtuple("Point", "x y")


class Puppet(gym.Env):
    """Says what it is told to; counts its steps in a buffer that it reuses."""

    def __init__(self, *, infos=(), first=None, rewards=(0.0,), length=3, truncates=False, see=None):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = gym.spaces.Discrete(5)
        self._infos, self._first, self._rewards, self._length = infos, first or {}, rewards, length
        self._truncates, self._see = truncates, see or (lambda buffer: buffer)
        self._buffer, self._mask = np.zeros(2), np.ones(2, dtype=bool)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._buffer[:] = 0
        self._mask[:] = True
        return self._see(self._buffer), {"mask": self._mask, **self._first}

    def step(self, action):
        if action == 4:
            raise RuntimeError("the world broke")
        self._buffer += 1
        self._mask[:] = False
        t = int(self._buffer[0])
        info = self._infos[t - 1] if t <= len(self._infos) else {}
        over = t >= self._length
        reward = self._rewards[min(t, len(self._rewards)) - 1]
        return self._see(self._buffer), reward, over and not self._truncates, over and self._truncates, info


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as opened:
        yield opened


def play(env, actions=(0, 1, 2), seed=None):
    env.reset(seed=seed)
    for action in actions:
        said = env.step(action)
    return said


def one(store):
    (trajectory,) = store.trajectories()
    return trajectory


# A recorder changes nothing.

ENVIRONMENTS = ["CartPole-v1", "FrozenLake-v1", "Blackjack-v1", "MiniGrid-DoorKey-5x5-v0"]


@pytest.fixture(params=ENVIRONMENTS)
def env_id(request):
    if request.param.startswith("MiniGrid"):
        pytest.importorskip("minigrid")
    return request.param


def walk(env, steps=200):
    """Yield what everything said, types included, on a seeded walk with resets."""
    rng = np.random.default_rng(0)
    observation, info = env.reset(seed=3)
    info.pop("prm", None)
    yield observation, info
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(int(rng.integers(env.action_space.n)))
        yield observation, reward, type(reward), terminated, type(terminated), truncated, type(truncated), info
        if terminated or truncated:
            observation, info = env.reset()
            info.pop("prm", None)
            yield observation, info
    yield env.np_random.random(), env.np_random_seed


def test_observations_rewards_flags_infos_types_and_chance_are_those_of_the_bare_environment(env_id, store):
    bare = list(walk(gym.make(env_id)))
    recorded = list(walk(TrajectoryRecorder(gym.make(env_id), store)))
    assert len(bare) == len(recorded)
    for expected, found in zip(bare, recorded, strict=True):
        assert len(expected) == len(found)
        for a, b in zip(expected, found, strict=True):
            assert a is b if isinstance(a, type) else data_equivalence(a, b, exact=True)
    assert (store.dropped, store.degraded) == (0, 0)
    n_steps = sum(len(t) for t in store.trajectories())
    assert n_steps == 200


def test_what_was_recorded_is_what_was_seen_and_done(env_id, store):
    env = TrajectoryRecorder(gym.make(env_id), store)
    observation, info = env.reset(seed=5)
    seen, done, paid, said = [copy.deepcopy(observation)], [], [], [info]
    over = False
    while not over:
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append(copy.deepcopy(observation))
        done.append(action)
        paid.append(float(reward))
        said.append(info)
        over = terminated or truncated
    for t in (env.trajectory, one(store)):
        assert all(data_equivalence(o.native, s, exact=True) for o, s in zip(t.observations, seen, strict=True))
        assert [step.action.native for step in t.steps] == done
        assert [step.reward for step in t.steps] == paid
        assert [dict(step.info) for step in t.steps] == said[1:]
        assert (t.ending.terminated, t.ending.truncated) == (terminated, truncated)
        assert (t.env, t.seed) == (env_id, 5)
    assert env.trajectory == one(store)


def complaints(env):
    """Return what gymnasium's checker warns of, apart from being wrapped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
    return {str(w.message) for w in caught if "is different from the unwrapped version" not in str(w.message)}


def test_gymnasiums_checker_finds_nothing_that_it_does_not_find_in_the_bare_environment(env_id, tmp_path):
    env = TrajectoryRecorder(gym.make(env_id), tmp_path / "runs.db")
    assert complaints(env) == complaints(gym.make(env_id).unwrapped)


def test_spaces_metadata_and_attributes_are_those_of_the_environment(store):
    bare = gym.make("CartPole-v1", render_mode="rgb_array")
    env = TrajectoryRecorder(bare, store)
    assert env.observation_space is bare.observation_space
    assert env.action_space is bare.action_space
    assert env.metadata is bare.metadata
    assert env.render_mode == "rgb_array"
    assert env.unwrapped is bare.unwrapped
    assert env.get_wrapper_attr("gravity") == bare.unwrapped.gravity


# Snapshots.


@pytest.mark.parametrize(
    "see",
    [
        lambda b: b,
        lambda b: {"x": b, "deep": [{"y": (b,)}]},
        lambda b: (b, [b]),
        lambda b: OrderedDict(x=b),
        lambda b: Point(b, b),
    ],
    ids=["array", "dict", "tuple", "ordered", "named"],
)
def test_an_environment_that_reuses_its_buffer_changes_nothing_recorded(see, store):
    env = TrajectoryRecorder(Puppet(see=see), store)
    play(env)

    def first_number(native):
        while not isinstance(native, np.ndarray):
            native = next(iter(native.values())) if isinstance(native, dict) else native[0]
        return float(native[0])

    for t in (env.trajectory, one(store)):
        assert [first_number(o.native) for o in t.observations] == [0.0, 1.0, 2.0, 3.0]


def test_an_environment_that_reuses_its_info_and_a_policy_that_reuses_its_action_change_nothing_recorded(store):
    shared = {"mask": np.zeros(2), "list": [0]}

    class Sharing(Puppet):
        def step(self, action):
            shared["mask"] += 1
            shared["list"][0] += 1
            said = super().step(int(action[0]))
            return *said[:4], shared

    env = TrajectoryRecorder(Sharing(), store)
    action = np.zeros(1)
    env.reset()
    for _ in range(3):
        env.step(action)
        action += 1
    for t in (env.trajectory, one(store)):
        assert [step.info["list"] for step in t.steps] == [[1], [2], [3]]
        assert [step.info["mask"][0] for step in t.steps] == [1, 2, 3]
        assert [step.action.native[0] for step in t.steps] == [0, 1, 2]
        assert t.meta["info"]["mask"].all()


def test_a_live_object_in_info_is_left_alone(store):
    thing = object()
    env = TrajectoryRecorder(Puppet(infos=[{"thing": thing, "in": [thing]}]), store)
    env.reset()
    assert env.step(0)[4]["thing"] is thing
    assert env.trajectory.steps[0].info == {"thing": thing, "in": [thing]}
    assert one(store).steps[0].info["thing"] == {"$repr": repr(thing)}


def test_what_cannot_be_copied_is_passed_on_and_recorded_as_its_text(store):
    class Live:
        def __deepcopy__(self, memo):
            raise TypeError("alive")

    thing = Live()
    env = TrajectoryRecorder(Puppet(see=lambda b: thing), store)
    assert env.reset()[0] is thing
    assert env.step(0)[0] is thing
    assert store.degraded == 2
    assert "Live" in one(store).last.native["$repr"]


# Words.


class Texts(Puppet):
    def reset(self, **options):
        super().reset(**options)
        return self._see(0), {**self._first}

    def step(self, action):
        _, *rest = super().step(0)
        return self._see(1), *rest


def begun(store, *, see="seen", first=None, **options):
    env = TrajectoryRecorder(Texts(see=lambda t: see, first=first), store, **options)
    env.reset()
    return env.trajectory


def named(observation, info):
    return f"find {info['what']}"


def made(observation, info):
    return Task("made", "its key")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "Texts"),
        ({"see": {"x": 1}}, "Texts"),
        ({"see": {"instruction": "i"}}, "i"),
        ({"see": {"instruction": "i", "goal": "g"}}, "g"),
        ({"see": {"instruction": "i", "goal": "g", "mission": "m"}}, "m"),
        ({"see": {"mission": "m"}, "first": {"task": "t"}}, "t"),
        ({"see": {"mission": "m"}, "first": {"task": "t"}, "task": "given"}, "given"),
        ({"first": {"what": "it"}, "task": named}, "find it"),
        ({"first": {"what": "it"}, "task": f"{__name__}:named"}, "find it"),
        ({"task": made}, "made"),
        ({"task": "Goal: find it"}, "Goal: find it"),
        ({"task": "任务:打开门"}, "任务:打开门"),
        ({"task": "10:30"}, "10:30"),
        ({"see": {"goal": np.array([1.5, 2.0])}}, "[1.5, 2]"),
        ({"first": {"task": {"find": "it"}}}, "find: it"),
    ],
)
def test_the_task_is_told_by_whoever_comes_first(store, options, text):
    t = begun(store, **options)
    assert t.task.text == text
    assert next(store.trajectories()).task == t.task


def test_the_task_falls_back_on_the_environments_id(store):
    env = TrajectoryRecorder(gym.make("FrozenLake-v1"), store)
    env.reset()
    assert env.trajectory.task.text == env.trajectory.env == "FrozenLake-v1"


@pytest.mark.parametrize(
    ("first", "key"),
    [({"task_id": 7}, "7"), ({"task_id": "door-1"}, "door-1"), ({}, None), ({"task_id": None}, None)],
)
def test_the_key_of_the_task_is_the_environments_or_the_hash_of_the_text(store, first, key):
    t = begun(store, first={"task": "open", **first})
    assert t.task.key == (key or Task("open").key)


def test_a_task_that_looks_like_a_reference_and_is_none_is_refused(store):
    with pytest.raises(InvalidSpec, match="cannot be imported"):
        TrajectoryRecorder(Puppet(), store, task="nowhere:to_be_found")


def render(native):
    return f"<{native}>"


@pytest.mark.parametrize(
    ("see", "options", "text"),
    [
        ("words", {}, "words"),
        ({"x": 1}, {}, ""),
        ("words", {"render": render}, "<words>"),
        (3, {"render": f"{__name__}:render"}, "<3>"),
        (3, {"render": lambda native: 7}, "7"),
    ],
)
def test_the_words_of_an_observation_are_its_own_or_rendered(store, see, options, text):
    env = TrajectoryRecorder(Texts(see=lambda t: see), store, **options)
    env.reset()
    env.step(0)
    for t in (env.trajectory, one(store)):
        assert [o.text for o in t.observations] == [text, text]
        assert t.last.native == see


def test_words_that_were_acted_are_the_actions_text(store):
    env = TrajectoryRecorder(Texts(see=str), store)
    env.reset()
    env.step("go left")
    env.step(2)
    assert [(s.action.text, s.action.native, s.action.kind) for s in one(store).steps] == [
        ("go left", "go left", "env"),
        ("", 2, "env"),
    ]


@pytest.mark.parametrize(
    ("final", "rewards", "options", "outcome"),
    [
        ({}, [0, 0, 9], {}, None),
        ({"success": True}, [0, 0, 0], {}, 1.0),
        ({"is_success": False}, [1, 1, 1], {}, 0.0),
        ({"success": True}, [0, 0, 0.25], {"outcome": "reward"}, 0.25),
        ({"score": 0.5}, [0, 0, 0], {"outcome": lambda info, reward: info["score"]}, 0.5),
    ],
)
def test_the_outcome_is_told_by_the_last_step_alone(store, final, rewards, options, outcome):
    env = TrajectoryRecorder(Puppet(infos=[{"success": True}, {}, final], rewards=rewards), store, **options)
    play(env)
    assert env.trajectory.outcome == one(store).outcome == outcome


@pytest.mark.parametrize("final", [{"outcome": 7}, {"success": "yes"}, {"outcome": np.ones(2)}])
def test_an_outcome_that_cannot_be_read_is_left_open_and_said_once(store, final, caplog):
    env = TrajectoryRecorder(Puppet(infos=[{}, {}, final]), store)
    for _ in range(3):
        play(env)
    assert [t.outcome for t in store.trajectories()] == [None] * 3
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(("truncates", "status"), [(False, "terminated"), (True, "truncated")])
def test_the_ending_is_the_worlds(store, truncates, status):
    env = TrajectoryRecorder(Puppet(truncates=truncates), store)
    play(env)
    ending = one(store).ending
    assert (ending.status, ending.terminated, ending.truncated) == (status, not truncates, truncates)


def test_both_flags_at_once_are_kept(store):
    class Both(Puppet):
        def step(self, action):
            observation, reward, *_ = super().step(action)
            return observation, reward, np.bool_(True), np.bool_(True), {}

    env = TrajectoryRecorder(Both(), store)
    play(env, [0])
    assert one(store).ending == Ending("terminated", True, True, None, one(store).ending.ended_at)


# Abandoned, broken, misused.


def test_an_episode_left_by_reset_or_close_is_incomplete(store):
    env = TrajectoryRecorder(Puppet(), store)
    play(env, [0])
    play(env, [0, 1])
    env.reset()
    env.close()
    env.close()
    assert [(len(t), t.ending.status) for t in store.trajectories()] == [(n, "incomplete") for n in (1, 2, 0)]
    with pytest.raises(gym.error.ResetNeeded):
        _ = env.trajectory


def test_an_environment_that_raises_leaves_its_episode_incomplete(store):
    env = TrajectoryRecorder(Puppet(), store)
    env.reset()
    env.step(0)
    with pytest.raises(RuntimeError, match="the world broke"):
        env.step(4)
    assert one(store).ending is None
    play(env)
    assert [(len(t), t.ending.status) for t in store.trajectories()] == [(1, "incomplete"), (3, "terminated")]


def test_a_step_after_the_end_is_refused_before_the_world_moves(store):
    env = TrajectoryRecorder(Puppet(), store)
    play(env)
    before = env.unwrapped._buffer.copy()
    with pytest.raises(InvalidTrajectory, match="reset the environment first"):
        env.step(0)
    assert (env.unwrapped._buffer == before).all()
    assert len(one(store)) == 3


@pytest.mark.parametrize("env", [Puppet(), gym.make("CartPole-v1")], ids=["bare", "made"])
def test_a_step_before_the_first_reset_is_refused(env, store):
    recorded = TrajectoryRecorder(env, store)
    with pytest.raises(gym.error.ResetNeeded):
        recorded.step(0)
    with pytest.raises(gym.error.ResetNeeded):
        _ = recorded.trajectory
    recorded.close()
    assert list(store.trajectories()) == []


@pytest.mark.parametrize("reward", [None, "much", np.array([1.0, 2.0]), {}], ids=repr)
def test_a_reward_that_is_no_number_reaches_the_agent_and_is_recorded_as_nan(store, reward, caplog):
    env = TrajectoryRecorder(Puppet(rewards=[reward]), store)
    env.reset()
    assert env.step(0)[1] is reward
    env.step(1)
    assert all(np.isnan(step.reward) for step in one(store).steps)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("reward", [1, True, np.float32(0.5), np.array(0.5), np.array([0.5]), np.int64(2)], ids=repr)
def test_a_reward_of_any_numeric_type_reaches_the_agent_as_it_is_and_is_recorded_as_a_float(store, reward):
    env = TrajectoryRecorder(Puppet(rewards=[reward]), store)
    env.reset()
    assert env.step(0)[1] is reward
    assert type(one(store).steps[0].reward) is float
    assert one(store).steps[0].reward == float(np.asarray(reward).item())


# Stores.


def test_a_store_given_by_url_is_opened_at_the_first_reset_and_closed_with_the_environment(tmp_path):
    path = tmp_path / "runs.db"
    env = TrajectoryRecorder(Puppet(), path, durability="episode")
    assert not path.exists(), "a vector of processes makes and closes environments that it never uses"
    play(env, [0])
    env.close()
    play(env)
    env.close()
    with Store(path) as store:
        assert [t.ending.status for t in store.trajectories()] == ["incomplete", "terminated"]
        assert store._database.users == 1


def test_a_store_that_was_given_is_flushed_and_left_open(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path, durability="episode") as store:
        env = TrajectoryRecorder(Puppet(), store)
        env.reset()
        env.step(0)
        env.close()
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT status FROM trajectory").fetchall() == [("incomplete",)]
        db.close()
        assert len(one(store)) == 1


def test_a_store_closed_too_early_stops_nothing(tmp_path, caplog):
    store = Store(tmp_path / "runs.db")
    env = TrajectoryRecorder(Puppet(), store)
    env.reset()
    store.close()
    env.step(0)
    env.close()
    assert store.dropped == 1
    assert "closed before everything was on disk: the store" in caplog.text


def test_a_store_that_cannot_be_opened_says_so_at_the_first_reset(tmp_path):
    env = TrajectoryRecorder(Puppet(), tmp_path / "nowhere" / "runs.db")
    with pytest.raises(StoreError, match="no folder"):
        env.reset()


def test_without_a_store_the_trajectory_is_there_all_the_same():
    env = TrajectoryRecorder(Puppet(), policy="ppo@3")
    play(env, seed=7)
    assert (len(env.trajectory), env.trajectory.policy, env.trajectory.seed) == (3, "ppo@3", 7)


def test_the_trajectory_id_is_in_the_reset_info_only(store):
    env = TrajectoryRecorder(Puppet(), store)
    _, info = env.reset()
    assert info["prm"] == {"trajectory": str(env.trajectory.id)}
    assert "prm" not in env.step(0)[4]
    assert "prm" not in one(store).meta["info"]


def test_recorders_nest(tmp_path):
    with Store(tmp_path / "in.db") as inner, Store(tmp_path / "out.db") as outer:
        env = TrajectoryRecorder(TrajectoryRecorder(Puppet(), inner), outer)
        play(env)
        a, b = one(inner), one(outer)
        assert a.id != b.id
        assert a._with(id=b.id, started_at=b.started_at, ending=b.ending) == b


# Remade from its spec.


def task(observation, info):
    return "walk"


def test_every_argument_is_recorded_under_its_own_name():
    recorded = TrajectoryRecorder(gym.make("FrozenLake-v1"))._saved_kwargs
    assert set(recorded) == set(signature(TrajectoryRecorder.__init__).parameters) - {"self", "env"}


def test_a_recorder_is_remade_from_the_json_of_its_spec(tmp_path):
    made = {"task": task, "render": f"{__name__}:render", "outcome": "reward", "policy": "p", "durability": "group"}
    env = TrajectoryRecorder(gym.make("FrozenLake-v1", is_slippery=False), tmp_path / "runs.db", **made)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(again, TrajectoryRecorder)
    for e in (env, again):
        play(e, [2, 2, 1, 1, 1, 2], seed=0)
        e.close()
    with Store(tmp_path / "runs.db") as store:
        a, b = store.trajectories()
        assert (a.steps, a.last, a.task, a.outcome, a.policy) == (b.steps, b.last, b.task, b.outcome, b.policy)
        assert (a.task.text, a.outcome, a.last.text) == ("walk", 1.0, "<15>")


@pytest.mark.parametrize("name", ["task", "render", "outcome"])
def test_a_live_object_is_recorded_by_name_and_must_be_given_anew(name, store):
    env = TrajectoryRecorder(gym.make("FrozenLake-v1"), store, **{name: lambda *_: None})
    outer = gym.wrappers.RecordEpisodeStatistics(env)
    form = json.loads(outer.spec.to_json())["additional_wrappers"][0]["kwargs"]
    assert form[name] == {"live": "test_a_live_object_is_recorded_by_name_and_must_be_given_anew.<locals>.<lambda>"}
    with pytest.raises(InvalidSpec, match="has no plain form: give it anew"):
        gym.make(env.spec)


def test_a_given_store_is_recorded_as_its_url_and_one_in_memory_as_live(store):
    assert plain(store) == store.url == f"sqlite:///{store._database.url.database}"
    for url in (":memory:", "sqlite:///:memory:"):
        with Store(url) as memory:
            assert plain(memory) == {"live": "Store"}


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("postgresql://me:s3cr3t@host:5432/db?x=1", "postgresql://me:***@host:5432/db?x=1"),
        ("postgresql+psycopg://me:s3/cr%403t@host/db?options=a@b", "postgresql+psycopg://me:***@host/db?options=a@b"),
        (
            "postgresql://me@host/db?password=s3cr3t&sslmode=require",
            "postgresql://me@host/db?password=***&sslmode=require",
        ),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////data:1/me@work/runs.db", "sqlite:////data:1/me@work/runs.db"),
        ("read my mail at me@host", "read my mail at me@host"),
    ],
)
def test_a_password_never_appears_in_a_spec(given, recorded):
    env = TrajectoryRecorder(gym.make("FrozenLake-v1"), given)
    text = env.spec.to_json()
    assert "s3" not in text
    assert json.loads(text)["additional_wrappers"][0]["kwargs"]["store"] == recorded
    assert "s3" not in gym.wrappers.TimeLimit(env, 5).spec.to_json()


def test_what_has_a_plain_form_is_recorded_in_it(tmp_path):
    assert plain(tmp_path) == str(tmp_path)
    assert plain(task) == f"{__name__}:task"
    assert plain(np.clip) == "numpy:clip"
    assert plain(Constant(0.25)) == {"name": "constant", "params": {"value": 0.25, "unit": "value"}}
    assert plain(Constant(0.25).spec) == plain(Constant(0.25))
    assert plain({"name": "constant"}) == {"name": "constant"}
    for same in (None, 1, 0.5, True, "text"):
        assert plain(same) is same
    assert plain(object()) == {"live": "object"}


# Copies.


def through_cloudpickle(env):
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(env))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), through_cloudpickle],
                         ids=["deepcopy", "pickle", "cloudpickle"])  # fmt: skip
@pytest.mark.parametrize("given", ["store", "url"])
@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "outermost"])
def test_a_copy_carries_no_open_episode_and_both_go_on_recording(tmp_path, duplicate, given, wrapped):
    with Store(tmp_path / "runs.db") as store:
        env = TrajectoryRecorder(gym.make("CartPole-v1"), store if given == "store" else store.url)
        env = gym.wrappers.TimeLimit(env, 20) if wrapped else env
        env.reset(seed=1)
        env.step(0)
        twin = duplicate(env)
        with pytest.raises(gym.error.ResetNeeded):
            twin.step(0)
        twin.reset(seed=2)
        twin.step(1)
        env.step(1)
        twin.step(1)
        twin.close()
        env.step(0)
        env.close()
        a, b = store.trajectories()
        assert [(len(t), t.seed, t.ending.status) for t in (a, b)] == [(3, 1, "incomplete"), (2, 2, "incomplete")]


def test_the_trajectory_in_memory_is_a_trajectory(store):
    env = TrajectoryRecorder(Puppet(), store)
    env.reset()
    assert isinstance(env.trajectory, Trajectory)
    assert isinstance(env.trajectory.last, Observation)


def broken(*_):
    raise LookupError("no words for this")


@pytest.mark.parametrize(
    ("options", "message", "failures"),
    [({"render": broken}, "no text is recorded, for render failed", 4), ({"task": broken}, "for task failed", 1)],
    ids=["render", "task"],
)
def test_a_function_that_fails_never_reaches_the_agent_and_is_counted(store, options, message, failures, caplog):
    env = TrajectoryRecorder(Puppet(), store, **options)
    with caplog.at_level(logging.WARNING):
        play(env)
    store.flush()
    assert len(one(store)) == 3
    assert env.recorder.failed == failures
    assert [message in record.message and "no words for this" in record.message for record in caplog.records] == [True]


def test_failures_of_different_kinds_are_each_logged_once(store, caplog):
    env = TrajectoryRecorder(Puppet(rewards=("much",)), store, render=broken)
    with caplog.at_level(logging.WARNING):
        play(env)
    assert len(caplog.records) == 2
    assert env.recorder.failed == 4 + 3


def endless():
    knot = []
    knot.append(knot)
    return knot


def deep():
    value = []
    for _ in range(3000):
        value = [value]
    return value


@pytest.mark.parametrize("make", [endless, deep], ids=["endless", "deep"])
def test_what_holds_itself_or_is_nested_thousands_deep_never_reaches_the_agent(store, make):
    tied = make()
    env = TrajectoryRecorder(Puppet(see=lambda buffer: tied, infos=({"knot": tied},)), store)
    observation, _ = env.reset()
    assert observation is tied
    _, _, _, _, info = env.step(0)
    assert info["knot"] is tied
    env.close()
    store.flush()
    assert len(one(store)) == 1
    assert store.degraded > 0
    assert store.dropped == 0


def test_a_policy_that_is_no_text_is_refused_when_the_recorder_is_made(store):
    with pytest.raises(InvalidSpec, match="policy is a text, such as 'ppo@12000', not 3: say policy='3'"):
        TrajectoryRecorder(Puppet(), store, policy=3)
