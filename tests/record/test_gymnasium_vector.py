"""A vector's episodes, steps and final observations are those of its environments, however it runs them."""

import copy
import functools
import os
import pickle
import signal

import gymnasium as gym
import numpy as np
import pytest
from counters import MODES, Broken, Counter, Reusing, drive, expected, facts, plain
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from agentprm import PRMRewardWrapper, Store, TrajectoryRecorder
from agentprm.errors import InvalidSpec, InvalidTrajectory
from agentprm.feedback.gymnasium_vector import PRMVectorRewardWrapper
from agentprm.record._vectors import info_of
from agentprm.record.gymnasium_vector import VectorTrajectoryRecorder
from agentprm.types import Scores, Spec

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

KINDS = {
    "sync": SyncVectorEnv,
    "sync, one buffer": functools.partial(SyncVectorEnv, copy=False),
    "fork": functools.partial(AsyncVectorEnv, context="fork"),
    "fork, one buffer": functools.partial(AsyncVectorEnv, context="fork", copy=False),
    "fork, pipes": functools.partial(AsyncVectorEnv, context="fork", shared_memory=False),
    "spawn": functools.partial(AsyncVectorEnv, context="spawn"),
    "spawn, pipes": functools.partial(AsyncVectorEnv, context="spawn", shared_memory=False),
    "forkserver": functools.partial(AsyncVectorEnv, context="forkserver"),
    "forkserver, pipes": functools.partial(AsyncVectorEnv, context="forkserver", shared_memory=False),
}
NEXT_STEP, SAME_STEP, DISABLED = MODES


def size(kind):
    """Return how many environments and steps: fewer where every worker starts an interpreter."""
    return (2, 12) if kind.startswith(("spawn", "forkserver")) else (3, 60)


def inside(says, path):
    return TrajectoryRecorder(Counter(says), path)


def told(mode):
    return mode.value


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        *((kind, "numbers") for kind in KINDS),
        ("sync", "text"), ("sync", "pair"), ("sync", "both"), ("sync, one buffer", "both"),
        ("fork", "pair"), ("fork, pipes", "text"), ("fork, pipes", "both"), ("spawn, pipes", "text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", MODES, ids=told)
def test_episodes_steps_and_final_observations_are_exact_inside_and_outside(tmp_path, kind, says, mode):
    (n, steps), paths = size(kind), [str(tmp_path / "inside.db"), str(tmp_path / "outside.db")]
    makes = [functools.partial(inside, says, paths[0])] * n
    env = VectorTrajectoryRecorder(KINDS[kind](makes, autoreset_mode=mode), paths[1])
    actions, _ = drive(env, mode, steps, n)
    env.close()
    episodes = [e for i in range(n) for e in expected(lambda: Counter(says), 5 + i, actions[:, i], mode)]
    assert {status for *_, status, _, _, _ in episodes} == {"terminated", "truncated", "incomplete"}
    for path in paths:
        with Store(path) as store:
            assert facts(store) == sorted(episodes, key=str)
            assert (store.dropped, store.degraded) == (0, 0)


@pytest.mark.parametrize("kind", ["sync, one buffer", "fork, one buffer"])
@pytest.mark.parametrize("mode", MODES, ids=told)
def test_environments_that_reuse_a_buffer_are_recorded_as_they_were(tmp_path, kind, mode):
    (n, steps), paths = size(kind), [str(tmp_path / "inside.db"), str(tmp_path / "outside.db")]
    env = KINDS[kind]([lambda: TrajectoryRecorder(Reusing(), paths[0])] * n, autoreset_mode=mode)
    if mode is not SAME_STEP:  # there Gymnasium itself resets the buffer before it hands out the final observation
        env = VectorTrajectoryRecorder(env, paths[1])
    actions, _ = drive(env, mode, steps, n)
    env.close()
    episodes = [e for i in range(n) for e in expected(Counter, 5 + i, actions[:, i], mode)]
    for path in paths if mode is not SAME_STEP else paths[:1]:
        with Store(path) as store:
            assert facts(store) == sorted(episodes, key=str)


def test_a_pair_in_a_vector_of_two_is_one_environments_pair():
    """Two values of two environments, or two environments with two values each: the space tells."""
    env = VectorTrajectoryRecorder(SyncVectorEnv([lambda: Counter("pair")] * 2))
    env.reset(seed=0)
    env.step([0, 1])
    for i in range(2):
        numbers, count = env.recorder.trajectory(i).last.native
        assert (numbers.shape, numbers.dtype, int(count)) == ((2,), np.float32, 1)


def test_action_spaces_are_told_apart_as_well():
    class Paired(Counter):
        def __init__(self):
            super().__init__()
            self.action_space = gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Box(-1, 1, (2,), np.float32)])

        def step(self, action):
            return super().step(action[0])

    env = VectorTrajectoryRecorder(SyncVectorEnv([Paired] * 2))
    env.reset(seed=0)
    env.step((np.array([0, 1]), np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)))
    native = [env.recorder.trajectory(i).steps[0].action.native for i in range(2)]
    assert plain(native[0]) == (0, pytest.approx([0.1, 0.2]))
    assert plain(native[1]) == (1, pytest.approx([0.3, 0.4]))


# Workers that are killed.


@pytest.mark.parametrize("killed", ["terminated", "killed", "forgotten"])
@pytest.mark.parametrize(("durability", "kept"), [("step", "all"), ("episode", "ended")])
def test_workers_without_a_close_lose_only_what_durability_says(tmp_path, killed, durability, kept):
    path = str(tmp_path / "runs.db")
    env = AsyncVectorEnv([lambda: TrajectoryRecorder(Counter(), path, durability=durability)] * 2, context="fork")
    actions, _ = drive(env, NEXT_STEP, 21, 2)
    if killed == "killed":
        for process in env.processes:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
    if killed != "forgotten":
        env.close(terminate=True)
    del env  # AsyncVectorEnv.__del__ terminates
    episodes = [e for i in range(2) for e in expected(Counter, 5 + i, actions[:, i], NEXT_STEP)]
    running = [(*e[:4], None, *e[5:]) if e[4] == "incomplete" else e for e in episodes]
    wanted = [e for e in running if kept == "all" or e[4] is not None]
    assert len(wanted) > 8
    with Store(path) as store:
        assert facts(store) == sorted(wanted, key=str)


# Paying.


def shaped(path=None):
    return PRMRewardWrapper(Counter(), "constant:value=0.5", path, gamma=0.9, weight=2.0)


@pytest.mark.parametrize("kind", ["sync", "fork", "spawn"])
@pytest.mark.parametrize("mode", MODES, ids=told)
def test_a_vector_pays_and_records_what_single_environments_do(tmp_path, mode, kind):
    (n, steps), paths = size(kind), [str(tmp_path / "inside.db"), str(tmp_path / "outside.db")]
    single = KINDS[kind]([functools.partial(shaped, paths[0])] * n, autoreset_mode=mode)
    vector = KINDS[kind]([Counter] * n, autoreset_mode=mode)
    vector = PRMVectorRewardWrapper(vector, "constant:value=0.5", paths[1], gamma=0.9, weight=2.0)
    rewards = []
    for env in (single, vector):
        rewards.append([said[0] for said in drive(env, mode, steps, n)[1]])
        env.close()
    np.testing.assert_allclose(*rewards)
    with Store(paths[0]) as a, Store(paths[1]) as b:
        assert facts(a) == facts(b)
        told = [sorted(s.rewards(t.id) for t in s.trajectories()) for s in (a, b)]
        assert told[0] == told[1]


class Counting:
    """Remembers how many episodes it was asked about at a time."""

    sees, unit, spec = "action", "value", Spec("constant", {"value": 1.0})

    def __init__(self):
        self.sizes = []

    def __call__(self, trajectories):
        self.sizes.append(len(trajectories))
        return [Scores(t.id, self.spec, "value", (1.0,) * len(t), sees="action") for t in trajectories]


@pytest.mark.parametrize("kind", ["sync", "fork", "fork, pipes"])
@pytest.mark.parametrize("mode", MODES, ids=told)
def test_the_scorer_is_called_once_per_vector_step_with_those_that_moved(mode, kind):
    n, steps = size(kind)
    scorer = Counting()
    env = PRMVectorRewardWrapper(KINDS[kind]([Counter] * n, autoreset_mode=mode), scorer)
    _, said = drive(env, mode, steps, n)
    env.close()
    masks = [infos["prm"]["_score"] for *_, infos in said]
    assert scorer.sizes == [mask.sum() for mask in masks if mask.any()]
    if mode is NEXT_STEP:
        over = [terminated | truncated for _, terminated, truncated, _ in said]
        assert all((~mask == before).all() for mask, before in zip(masks[1:], over[:-1], strict=True))
        assert all(reward[~mask].sum() == 0 for (reward, *_), mask in zip(said, masks, strict=True))
    else:
        assert all(mask.all() for mask in masks), "every call is a real step of every environment"


def test_one_answer_that_is_none_takes_no_other_with_it():
    class Overshooting(Counting):
        def __call__(self, trajectories):
            values = [1.5 if t.seed == 6 else 0.5 for t in trajectories]
            return [Scores(t.id, self.spec, "value", (v,) * len(t)) for t, v in zip(trajectories, values, strict=True)]

    env = PRMVectorRewardWrapper(SyncVectorEnv([Counter] * 3), Overshooting())
    env.reset(seed=5)
    _, given, _, _, infos = env.step([0, 0, 0])
    assert given.tolist() == [0.5, 0.0, 0.5]
    assert infos["prm"]["scored"].tolist() == [1.0, 0.0, 1.0]
    assert env.failed == 1


def test_environments_that_end_at_once_have_their_own_recipe_and_start():
    env = PRMVectorRewardWrapper(SyncVectorEnv([Counter] * 2), "constant:value=0.5", start=0.25)
    env.reset(seed=[2, 5])  # both of length two
    paid = [env.step([0, 0])[1].tolist() for _ in range(4)]
    assert paid == [[0.25, 0.25], [0.0, 0.0], [0.0, 0.0], [0.25, 0.25]], "truncated; then a call that only resets"


# Native vectors.


def native(env, n, steps):
    """Return the episodes of a NEXT_STEP vector, cut by hand: observations, actions, rewards, ending."""
    observations, _ = env.reset(seed=0)
    episodes = [[[np.copy(observations[i])], [], [], None] for i in range(n)]
    rng, done, actions = np.random.default_rng(1), [], []
    for _ in range(steps):
        actions.append(rng.integers(2, size=n))
        observations, rewards, terminated, truncated, _ = env.step(actions[-1])
        for i, episode in enumerate(episodes):
            if episode[3]:
                done.append(episode)
                episodes[i] = [[np.copy(observations[i])], [], [], None]
                continue
            episode[0].append(np.copy(observations[i]))
            episode[1].append(actions[-1][i])
            episode[2].append(float(rewards[i]))
            episode[3] = "terminated" if terminated[i] else "truncated" if truncated[i] else None
    return [*done, *episodes], actions


@pytest.mark.parametrize("wrap", [VectorTrajectoryRecorder, PRMVectorRewardWrapper])
def test_a_native_vector_is_recorded_exactly(tmp_path, wrap):
    n, path = 3, str(tmp_path / "runs.db")
    episodes, actions = native(CartPoleVectorEnv(num_envs=n), n, 80)
    scorer = [Counting()] if wrap is PRMVectorRewardWrapper else []
    env = wrap(gym.make_vec("CartPole-v1", num_envs=n), *scorer, path)
    assert isinstance(env.unwrapped, CartPoleVectorEnv)
    env.reset(seed=0)
    for action in actions:
        env.step(action)
    env.close()
    with Store(path) as store:
        played = list(store.trajectories())
        assert {t.env for t in played} == {"CartPole-v1"}
        assert {t.seed for t in played} == {None}, "one generator draws for all: no seed is that of one of them"
    found = {tuple(t.steps[0].observation.native) if t.steps else tuple(t.last.native): t for t in played}
    assert len(found) == len(played) == len(episodes) > 6
    for observations, taken, rewards, status in episodes:
        t = found[tuple(observations[0])]
        assert all(np.array_equal(o.native, seen) for o, seen in zip(t.observations, observations, strict=True))
        assert [step.action.native for step in t.steps] == taken
        assert [step.reward for step in t.steps] == rewards
        assert t.ending.status == (status or "incomplete")
    if scorer:
        assert sum(scorer[0].sizes) == sum(map(len, played))
        assert len(scorer[0].sizes) == len(actions)


# What names them.


@pytest.mark.parametrize("kind", ["sync", "fork"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Counter, "Counter"),
        (lambda: gym.wrappers.TimeLimit(Counter(), 9), "Counter"),
        (lambda: gym.make("FrozenLake-v1"), "FrozenLake-v1"),
    ],
    ids=["bare", "wrapped", "made"],
)
def test_episodes_bear_the_name_that_a_single_environment_has(tmp_path, kind, make, name):
    path = str(tmp_path / "runs.db")
    env = VectorTrajectoryRecorder(KINDS[kind]([make] * 2), path)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
    with Store(path) as store:
        assert {(t.env, t.task.text, t.seed) for t in store.trajectories()} == {(name, name, 0), (name, name, 1)}


def test_a_vector_that_was_made_bears_its_id(tmp_path):
    path = str(tmp_path / "runs.db")
    env = VectorTrajectoryRecorder(gym.make_vec("FrozenLake-v1", num_envs=2, vectorization_mode="sync"), path)
    env.reset(seed=[7, None])
    env.close()
    with Store(path) as store:
        assert {(t.env, t.seed) for t in store.trajectories()} == {("FrozenLake-v1", 7), ("FrozenLake-v1", None)}


# Resets, misuse, what breaks.


def test_the_callers_reset_options_are_not_touched():
    env = VectorTrajectoryRecorder(SyncVectorEnv([Counter] * 3, autoreset_mode=DISABLED))
    env.reset(seed=0)
    options = {"reset_mask": np.array([True, False, True])}
    env.reset(options=options)
    assert list(options["reset_mask"]) == [True, False, True]


@pytest.mark.parametrize("kind", ["sync", "fork"])
@pytest.mark.parametrize("mode", MODES, ids=told)
def test_a_reset_in_the_middle_leaves_incomplete_episodes_and_begins_anew(tmp_path, kind, mode):
    path = str(tmp_path / "runs.db")
    env = VectorTrajectoryRecorder(KINDS[kind]([Counter] * 2, autoreset_mode=mode), path)
    env.reset(seed=[1, 2])  # of length four and two
    env.step([0, 0])
    env.step([0, 0])
    env.reset(seed=3)
    env.step([0, 0])
    env.close()
    with Store(path) as store:
        found = sorted((t.seed if t.seed is not None else -1, len(t), t.ending.status) for t in store.trajectories())
    again = [(-1, 0, "incomplete")] if mode is SAME_STEP else []
    assert found == [*again, (1, 2, "incomplete"), (2, 2, "truncated"), (3, 1, "incomplete"), (4, 1, "incomplete")]


@pytest.mark.parametrize("wrap", [VectorTrajectoryRecorder, lambda e: PRMVectorRewardWrapper(e, "constant")])
def test_a_step_before_a_reset_or_after_an_end_is_refused_before_the_world_moves(wrap):
    env = wrap(SyncVectorEnv([Counter] * 2, autoreset_mode=DISABLED))
    with pytest.raises(gym.error.ResetNeeded):
        env.step([0, 0])
    with pytest.raises(gym.error.ResetNeeded):
        env.recorder.trajectory(0)
    env.reset(seed=[2, 1])
    env.step([0, 0])
    env.step([0, 0])
    with pytest.raises(InvalidTrajectory, match=r"environments \[0\] ended: reset them first"):
        env.step([0, 0])
    assert env.unwrapped.envs[1]._t == 2
    env.reset(options={"reset_mask": np.array([True, False])})
    env.step([0, 0])
    assert [len(env.recorder.trajectory(i)) for i in range(2)] == [1, 3]
    env.close()
    env.close()
    with pytest.raises(gym.error.ResetNeeded):
        env.step([0, 0])


def test_an_environment_that_raises_leaves_incomplete_episodes_and_the_next_reset_begins_anew(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        env = VectorTrajectoryRecorder(SyncVectorEnv([Counter, Broken]), store)
        env.reset(seed=1)
        env.step([1, 0])
        with pytest.raises(RuntimeError, match="the world broke"):
            env.step([1, 1])
        env.reset(seed=1)
        env.step([1, 0])
        env.close()
        assert [(len(t), t.ending.status) for t in store.trajectories()] == [(1, "incomplete")] * 4


@pytest.mark.filterwarnings("ignore:.*ERROR:UserWarning")
def test_an_environment_that_raises_in_a_worker_leaves_its_episodes_as_they_were(tmp_path):
    path = str(tmp_path / "runs.db")
    env = AsyncVectorEnv([lambda: TrajectoryRecorder(Broken(), path)] * 2, context="fork")
    env.reset(seed=1)
    env.step([0, 0])
    with pytest.raises(RuntimeError, match="the world broke"):
        env.step([0, 1])
    env.close(terminate=True)
    with Store(path) as store:
        # A worker that caught the exception closes its environment, one that was terminated does not.
        assert sorted(len(t) for t in store.trajectories()) == [1, 2]


def test_after_a_close_it_opens_its_store_anew(tmp_path):
    path = str(tmp_path / "runs.db")
    env = VectorTrajectoryRecorder(SyncVectorEnv([Counter] * 2), path)
    for seed in (1, 3):
        env.reset(seed=seed)
        env.step([0, 0])
        env.recorder.close()
    with Store(path) as store:
        assert sorted((t.seed, len(t)) for t in store.trajectories()) == [(1, 1), (2, 1), (3, 1), (4, 1)]


def test_a_store_that_was_given_is_flushed_and_left_open(tmp_path):
    with Store(tmp_path / "runs.db", durability="episode") as store:
        env = VectorTrajectoryRecorder(SyncVectorEnv([Counter] * 2), store, durability="episode")
        env.reset(seed=1)
        env.step([0, 0])
        env.close()
        assert [len(t) for t in store.trajectories()] == [1, 1]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
@pytest.mark.parametrize("given", ["store", "url"])
def test_a_copy_carries_no_open_episode_and_both_go_on(tmp_path, duplicate, given):
    with Store(tmp_path / "runs.db") as store:
        env = VectorTrajectoryRecorder(gym.make_vec("CartPole-v1", 2), store if given == "store" else store.url)
        env.reset(seed=1)
        env.step(np.array([0, 1]))
        users = store._database.users
        twin = duplicate(env)
        assert store._database.users == users + (given == "store" and duplicate is not copy.deepcopy)
        with pytest.raises(gym.error.ResetNeeded):
            twin.step(np.array([0, 1]))
        twin.reset(seed=2)
        for e in (twin, env, twin):
            e.step(np.array([0, 1]))
        twin.recorder.close()
        env.recorder.close()
        assert sorted(len(t) for t in store.trajectories()) == [2, 2, 2, 2]


def test_a_deep_copy_shares_a_store_in_memory():
    with Store(":memory:") as store:
        env = VectorTrajectoryRecorder(gym.make_vec("CartPole-v1", 2), store)
        env.reset(seed=1)
        copy.deepcopy(env).reset(seed=2)
        assert len(list(store.trajectories())) == 4


# Infos.


def test_infos_that_are_no_series_are_said_of_every_environment():
    infos = {"elapsed": 3.5, "name": "v", "x": np.array([1.0, 2.0]), "_x": np.array([False, True]), "none": None}
    assert info_of(infos, 0) == {"elapsed": 3.5, "name": "v", "none": None}
    assert info_of(infos, 1) == {"elapsed": 3.5, "name": "v", "x": 2.0, "none": None}
    assert info_of({"few": [1]}, 1) == {"few": [1]}


def test_infos_nest_under_their_own_masks(tmp_path):
    class Talkative(Counter):
        def step(self, action):
            *said, info = super().step(action)
            return *said, {"deep": {"a": action, "list": [action]}, "array": np.full(2, action), **info}

    env = VectorTrajectoryRecorder(SyncVectorEnv([Counter, Talkative], autoreset_mode=SAME_STEP))
    env.reset(seed=[1, 1])
    env.step([1, 1])
    quiet, loud = (env.recorder.trajectory(i).steps[0].info for i in range(2))
    assert quiet == {}
    assert (loud["deep"], loud["array"].tolist()) == ({"a": 1, "list": [1]}, [1, 1])


def test_ids_of_trajectories_are_in_the_infos_of_the_call_that_began_them():
    env = VectorTrajectoryRecorder(SyncVectorEnv([Counter] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    _, infos = env.reset(seed=[1, 2])
    assert list(infos["prm"]["trajectory"]) == [str(env.recorder.trajectory(i).id) for i in range(2)]
    assert "prm" not in env.step([0, 0])[-1]
    *_, infos = env.step([0, 0])
    assert infos["_prm"].tolist() == infos["prm"]["_trajectory"].tolist() == [False, True]
    assert infos["prm"]["trajectory"][1] == str(env.recorder.trajectory(1).id)


# Wiring.


def test_one_database_takes_one_recorder(tmp_path):
    inner = SyncVectorEnv([lambda: TrajectoryRecorder(Counter(), tmp_path / "runs.db")] * 2)
    for wrap in (VectorTrajectoryRecorder, lambda env, store: PRMVectorRewardWrapper(env, "constant", store)):
        with pytest.raises(InvalidSpec, match=r"TrajectoryRecorder in this environment records to .*twice"):
            wrap(inner, str(tmp_path / "runs.db"))
        wrap(inner, str(tmp_path / "other.db"))
    outer = VectorTrajectoryRecorder(SyncVectorEnv([Counter]), tmp_path / "runs.db")
    with pytest.raises(InvalidSpec, match="VectorTrajectoryRecorder in this environment"):
        PRMVectorRewardWrapper(outer, "constant", tmp_path / "runs.db")


def test_a_durability_beside_an_open_store_is_refused(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        for wrap in (VectorTrajectoryRecorder, lambda env, s, **k: PRMVectorRewardWrapper(env, "constant", s, **k)):
            with pytest.raises(InvalidSpec, match="durability='group' was asked of an open store, whose own is 'step'"):
                wrap(SyncVectorEnv([Counter]), store, durability="group")
