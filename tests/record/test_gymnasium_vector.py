"""A vector's episodes, steps and final observations are those of its environments, in every autoreset mode."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from agentprm import PRMRewardWrapper, Store, TrajectoryRecorder
from agentprm.feedback.gymnasium_vector import PRMVectorRewardWrapper
from agentprm.record.gymnasium_vector import VectorTrajectoryRecorder

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
N, STEPS = 3, 60


class Counter(gym.Env):
    """Counts its steps; ends after as many as its seed says; says text, and reuses nothing."""

    def __init__(self, text=False):
        charset = "0123456789- "
        self.observation_space = (
            gym.spaces.Text(20, charset=charset) if text else gym.spaces.Box(-1, 1000, (2,), np.float32)
        )
        self.action_space = gym.spaces.Discrete(2)
        self._text, self._resets, self._seed = text, 0, 0

    def _see(self):
        return f"{self._resets} {self._t}" if self._text else np.array([self._resets, self._t], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._seed = self._seed if seed is None else seed
        self._resets, self._t = self._resets + 1, 0
        self._length = 2 + (self._resets + self._seed) % 3
        return self._see(), {"length": self._length}

    def step(self, action):
        self._t += 1
        done = self._t >= self._length
        info = {"success": bool(action)} if done else {}
        return self._see(), float(action), done, False, info


def facts(store):
    """What an episode is, apart from ids and times."""
    rows = []
    for t in store.trajectories():
        observations = [o.native.tolist() if hasattr(o.native, "tolist") else o.native for o in t.observations]
        actions = [int(step.action.native) for step in t.steps]
        infos = [{k: v for k, v in step.info.items() if k != "prm"} for step in t.steps]
        status = t.ending.status if t.ending else None
        rows.append((observations, actions, [s.reward for s in t.steps], infos, status, t.outcome))
    return sorted(rows, key=str)


def drive(env, mode, steps=STEPS):
    rng = np.random.default_rng(0)
    env.reset(seed=5)
    said = []
    for _ in range(steps):
        outcome = env.step(rng.integers(2, size=N))
        said.append(outcome)
        over = outcome[2] | outcome[3]
        if mode is AutoresetMode.DISABLED and over.any():
            env.reset(options={"reset_mask": over})
    env.close()
    return said


@pytest.mark.parametrize("text", [False, True], ids=["numbers", "text"])
@pytest.mark.parametrize("kind", ["sync", "async", "async-pipes"])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_outside_records_the_same_as_inside(tmp_path, mode, kind, text):
    if kind == "async" and text:
        pytest.skip("gymnasium 1.4 returns frozen garbage for Text in shared memory")
    inside, outside = str(tmp_path / "inside.db"), str(tmp_path / "outside.db")
    make = [lambda: TrajectoryRecorder(Counter(text), inside) for _ in range(N)]
    options = {} if kind != "async-pipes" else {"shared_memory": False}
    vector = (SyncVectorEnv if kind == "sync" else AsyncVectorEnv)(make, autoreset_mode=mode, **options)
    drive(VectorTrajectoryRecorder(vector, outside), mode)
    with Store(inside) as a, Store(outside) as b:
        ours, theirs = facts(b), facts(a)
        assert len(ours) > 3 * N
        # An episode that merely began when the run stopped has no step on either side.
        assert [f for f in ours if f[1]] == [f for f in theirs if f[1]]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_every_episode_starts_at_zero_and_ends_at_its_length(tmp_path, mode):
    path = str(tmp_path / "runs.db")
    drive(VectorTrajectoryRecorder(SyncVectorEnv([Counter] * N, autoreset_mode=mode), path), mode)
    with Store(path) as store:
        ended = list(store.trajectories(status="terminated"))
        assert len(ended) > 3 * N
        for t in ended:
            assert [o.native[1] for o in t.observations] == list(range(len(t) + 1))
            assert t.meta["info"] == {"length": len(t)}
            assert t.outcome == float(t.steps[-1].action.native)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_vector_pays_what_single_environments_pay(tmp_path, mode):
    shaped = {"scorer": "constant:value=0.5", "gamma": 0.9, "weight": 2.0}
    inner = SyncVectorEnv([lambda: PRMRewardWrapper(Counter(), **shaped) for _ in range(N)], autoreset_mode=mode)
    one = drive(inner, mode)
    other = drive(PRMVectorRewardWrapper(SyncVectorEnv([Counter] * N, autoreset_mode=mode), **shaped), mode)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a[1], b[1])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_scorer_is_called_once_per_vector_step_with_those_that_moved(mode):
    sizes = []

    class Counting:
        sees, unit = "action", "value"

        @property
        def spec(self):
            from agentprm import Spec

            return Spec("constant", {"value": 1.0})

        def __call__(self, trajectories):
            from agentprm import Scores

            sizes.append(len(trajectories))
            return [Scores(t.id, self.spec, "value", (1.0,) * len(t), sees="action") for t in trajectories]

    env = PRMVectorRewardWrapper(SyncVectorEnv([Counter] * N, autoreset_mode=mode), Counting())
    said = drive(env, mode)
    masks = [infos["prm"]["_score"] for *_, infos in said]
    assert sizes == [mask.sum() for mask in masks if mask.any()]
    if mode is AutoresetMode.SAME_STEP:
        assert all(mask.all() for mask in masks), "every call is a real step of every environment"
    if mode is AutoresetMode.NEXT_STEP:
        over_before = [said[i][2] | said[i][3] for i in range(len(said) - 1)]
        assert all((~mask == over).all() for mask, over in zip(masks[1:], over_before, strict=True))
        assert all(reward[~mask].sum() == 0 for (_, reward, *_), mask in zip(said, masks, strict=True))


def test_native_vector_environment_is_recorded(tmp_path):
    path = str(tmp_path / "runs.db")
    env = VectorTrajectoryRecorder(gym.make_vec("CartPole-v1", num_envs=2), path)
    env.reset(seed=0)
    for _ in range(40):
        env.step(np.array([0, 1]))
    env.close()
    with Store(path) as store:
        ended = list(store.trajectories(status="terminated"))
        assert len(ended) >= 4
        assert all(7 <= len(t) <= 12 for t in ended), "pushing one way topples the pole in about ten steps"
        assert {t.seed for t in store.trajectories(limit=2)} == {0, 1}


def test_the_callers_reset_options_are_not_touched():
    env = VectorTrajectoryRecorder(SyncVectorEnv([Counter] * N, autoreset_mode=AutoresetMode.DISABLED))
    env.reset(seed=0)
    options = {"reset_mask": np.array([True, False, True])}
    env.reset(options=options)
    assert list(options["reset_mask"]) == [True, False, True]
