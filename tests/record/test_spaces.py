"""What any space of Gymnasium gives is recorded and read back: type, dtype, shape and content."""

import copy
import random

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    GraphInstance,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Text,
    Tuple,
)
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate

from agentprm import PRMRewardWrapper, Store, TrajectoryRecorder
from agentprm.record.gymnasium_vector import VectorTrajectoryRecorder

DTYPES = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float16, np.float32,
          np.float64]  # fmt: skip
SMALL = {"count": Discrete(5), "where": Box(-1, 1, (2,), np.float32)}
SPACES = {
    **{f"box {np.dtype(d)}": Box(0, 100, (2, 3), d) for d in DTYPES},
    "box bool": Box(0, 1, (4,), np.bool_),
    "box of no size": Box(0, 1, (0, 3), np.float32),
    "box without dimensions": Box(0, 1, (), np.float64),
    "box unbounded": Box(-np.inf, np.inf, (40,), np.float32),
    "picture": Box(0, 255, (8, 8, 3), np.uint8),
    "discrete": Discrete(7, start=-3),
    "multi-discrete": MultiDiscrete([[2, 3], [4, 5]]),
    "multi-binary": MultiBinary([3, 2]),
    "text": Text(30, charset="abc \n\x00é日😀"),
    "dict": Dict(SMALL),
    "tuple": Tuple(list(SMALL.values())),
    "nested": Dict(deep=Dict(SMALL, more=Tuple([Text(5), Dict(x=Box(0, 1, (2, 2)))])), mission=Text(9)),
    "sequence": Sequence(Box(0, 1, (2,), np.float32)),
    "stacked sequence": Sequence(Dict(SMALL), stack=True),
    "one of": OneOf([Discrete(3), Box(0, 1, (2,), np.float16), Text(4)]),
    "empty dict": Dict({}),
}
GRAPHS = {
    "graph": Graph(Box(0, 1, (3,), np.float32), Discrete(4)),
    "graph without edges": Graph(Discrete(3), None),
}


class Sampled(gym.Env):
    """Says samples of a space; is over after four steps."""

    def __init__(self, space):
        self.observation_space, self.action_space = space, copy.deepcopy(space)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self._t = 0
        return self.observation_space.sample(), {"first": (self.observation_space.sample(),)}

    def step(self, action):
        self._t += 1
        return self.observation_space.sample(), 0.0, self._t >= 4, False, {"also": (self.observation_space.sample(),)}


def play(env, seed=3):
    """Return all that was seen, done and said."""
    seen, info = env.reset(seed=seed)
    observations, actions, infos = [seen], [], [*info["first"]]
    env.action_space.seed(seed + 1)
    for _ in range(4):
        actions.append(env.action_space.sample())
        seen, *_, info = env.step(actions[-1])
        observations.append(seen)
        infos.append(*info["also"])
    return observations, actions, infos


def same(a, b):
    """Equality with the types of containers and scalars, also where Gymnasium's own comparison has no word for them."""
    if isinstance(a, (dict, list, tuple)):
        values = (a.values(), b.values()) if isinstance(a, dict) else (a, b)
        alike = type(a) is type(b) and len(a) == len(b) and (not isinstance(a, dict) or list(a) == list(b))
        return alike and all(map(same, *values))
    return type(a) is type(b) and (a == b if isinstance(a, (str, type(None))) else data_equivalence(a, b, exact=True))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("wrap", [TrajectoryRecorder, lambda env, s: PRMRewardWrapper(env, "constant", s)],
                         ids=["recorded", "paid"])  # fmt: skip
def test_every_space_returns_from_the_store(tmp_path, name, wrap):
    with Store(tmp_path / "runs.db") as store:
        env = wrap(Sampled(SPACES[name]), store)
        observations, actions, infos = play(env)
        (back,) = store.trajectories()
        assert same([o.native for o in back.observations], observations)
        assert same([step.action.native for step in back.steps], actions)
        assert same([back.meta["info"]["first"][0], *(step.info["also"][0] for step in back.steps)], infos)
        assert all(o.text == (o.native if isinstance(o.native, str) else "") for o in back.observations)
        assert back == env.trajectory
        assert (store.degraded, store.dropped) == (0, 0)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_returns_with_its_parts_and_the_loss_of_its_type_is_counted(tmp_path, name):
    with Store(tmp_path / "runs.db") as store:
        observations, actions, _ = play(TrajectoryRecorder(Sampled(GRAPHS[name]), store))
        (back,) = store.trajectories()
        for native, graph in zip([o.native for o in back.observations], observations, strict=True):
            assert same(tuple(native), tuple(graph))
        for step, graph in zip(back.steps, actions, strict=True):
            assert same(tuple(step.action.native), tuple(graph))
        kept = isinstance(back.last.native, GraphInstance)
        assert store.degraded == (0 if kept else 14), "5 observations, 4 actions, 5 infos"


def alike(a, b):
    """Equality up to what batching changes: numbers are NumPy's there."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, str):
        return a == b
    a, b = np.asarray(a), np.asarray(b)
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.mark.parametrize("mode", AutoresetMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", [name for name in SPACES if name != "empty dict"])
def test_every_space_is_taken_apart_in_a_vector(tmp_path, name, mode):
    """There are as many environments as a pair has parts: neither may be taken for the other."""
    with Store(tmp_path / "alone.db") as alone, Store(tmp_path / "vector.db") as store:
        for seed in (3, 4):
            play(TrajectoryRecorder(Sampled(copy.deepcopy(SPACES[name])), alone), seed)
        env = SyncVectorEnv([lambda: Sampled(copy.deepcopy(SPACES[name]))] * 2, autoreset_mode=mode)
        env = VectorTrajectoryRecorder(env, store)
        env.reset(seed=3)
        env.action_space.seed(1)
        batches = [env.action_space.sample() for _ in range(4)]
        for batch in batches:
            env.step(batch)
        found = {t.seed: t for t in store.trajectories(status="terminated")}
        for i, t in enumerate(alone.trajectories()):
            other = found[t.seed]
            assert alike(tuple(o.native for o in t.observations), tuple(o.native for o in other.observations))
            taken = [list(iterate(env.action_space, batch))[i] for batch in batches]
            assert alike(tuple(taken), tuple(step.action.native for step in other.steps))
            assert form(t.steps[0].action.native) == form(other.steps[0].action.native)


def form(value):
    """Return which containers hold which kinds of leaves; a choice among spaces is a choice."""
    if isinstance(value, dict):
        return {key: form(v) for key, v in value.items()}
    return type(value).__name__ if isinstance(value, (str, tuple)) else "numbers"


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-Fetch-5x5-N2-v0", "BabyAI-GoToLocal-v0"])
def test_minigrid_returns_with_its_picture_and_its_mission(tmp_path, env_id):
    pytest.importorskip("minigrid")
    with Store(tmp_path / "runs.db") as store:
        env = TrajectoryRecorder(gym.make(env_id), store)
        observations = [env.reset(seed=1)[0]]
        observations += [env.step(action)[0] for action in (0, 1, 1, 0)]
        env.close()
        (back,) = store.trajectories()
        assert same([o.native for o in back.observations], observations)
        assert back.task.text == observations[0]["mission"]
        assert store.degraded == 0


def test_chance_is_drawn_by_nobody_but_the_environment(tmp_path):
    torch = pytest.importorskip("torch")
    states = []
    for wrap in (lambda env: env, TrajectoryRecorder, lambda env: PRMRewardWrapper(env, "constant", tmp_path / "a.db")):
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        env = wrap(gym.make("FrozenLake-v1"))
        env.reset(seed=4)
        for _ in range(3):
            env.step(2)
        states.append((random.random(), np.random.random(), float(torch.rand(())), env.np_random.random()))
        env.close()
    assert states[0] == states[1] == states[2]
