"""What the learner is paid, what the scorer saw for it, and what stands in info and in the store."""

import copy
import json
import logging
import math
import pickle
import warnings
from dataclasses import dataclass, field
from inspect import signature

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence

from agentprm import PRMRewardWrapper, Store, TrajectoryRecorder, rollout
from agentprm.errors import (
    AgentPRMError,
    InvalidSpec,
    InvalidTrajectory,
    MissingText,
    SightError,
    UnitError,
    UnknownName,
)
from agentprm.feedback.gymnasium_vector import PRMVectorRewardWrapper
from agentprm.ops.shape import SHAPES, Shaping
from agentprm.scorers.constant import Constant
from agentprm.testing.corridor import Corridor
from agentprm.types import Scores, Spec

KEYS = {"score", "scored", "env_reward", "given_reward"}


@dataclass
class Script:
    """Says what it is told to, step by step, and remembers what it saw."""

    says: list
    sees: str = "action"
    unit: str = "value"
    seen: list = field(default_factory=list)

    @property
    def spec(self):
        return Spec("script", {"sees": self.sees, "unit": self.unit})

    def __call__(self, trajectories, /):
        self.seen += trajectories
        return [self.score(t) for t in trajectories]

    def score(self, trajectory):
        said = self.says[(len(trajectory) - 1) % len(self.says)]
        if isinstance(said, BaseException):
            raise said
        values = (None,) * (len(trajectory) - 1) + (said,)
        return Scores(trajectory.id, self.spec, self.unit, values, sees=self.sees)


class Strip(gym.Env):
    """Pays t for step t; ends after `length` steps."""

    def __init__(self, length=4, truncates=False, terminates=True):
        self.observation_space = gym.spaces.Box(0, 100, (1,))
        self.action_space = gym.spaces.Discrete(2)
        self._length, self._flags = length, (terminates, truncates)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._t = 0
        return np.zeros(1, np.float32), {"secret": "at reset"}

    def step(self, action):
        self._t += 1
        flags = [flag and self._t >= self._length for flag in self._flags]
        info = {"t": self._t, "success": self._t >= self._length}
        return np.full(1, self._t, np.float32), float(self._t), *flags, info


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as opened:
        yield opened


def play(env, n=4, seed=None):
    """Return the paid rewards and what was said beside them."""
    env.reset(seed=seed)
    paid, said = [], []
    for t in range(n):
        _, reward, terminated, truncated, info = env.step(t % 2)
        paid.append(reward)
        said.append(info["prm"])
        if terminated or truncated:
            break
    return paid, said


def one(store):
    (trajectory,) = store.trajectories()
    return trajectory


# Paying.

SAYS = [0.5, None, 0.75, 0.25]


@pytest.mark.parametrize(
    ("shape", "terms", "paid"),
    [
        # Φ: 0 → 0.5 → 0.5 → 0.75 → 0 (the end)
        ("potential", {}, [1 + 0.5, 2 + 0.0, 3 + 0.25, 4 - 0.75]),
        ("potential", {"gamma": 0.5, "weight": 2.0, "start": 1.0},
         [1 + 2 * (0.25 - 1), 2 + 2 * (0.25 - 0.5), 3 + 2 * (0.375 - 0.5), 4 - 2 * 0.75]),
        ("add", {"weight": 2.0}, [1 + 1.0, 2, 3 + 1.5, 4 + 0.5]),
        ("replace", {"weight": 2.0}, [1.0, 2, 1.5, 0.5]),
        ("record", {"weight": 2.0}, [1, 2, 3, 4]),
        (None, {}, [1 + 0.5, 2 + 0.0, 3 + 0.25, 4 - 0.75]),
    ],
)  # fmt: skip
def test_by_hand(store, shape, terms, paid):
    env = PRMRewardWrapper(Strip(), Script(SAYS), store, shape=shape, **terms)
    found, said = play(env)
    assert found == pytest.approx(paid, abs=1e-12)
    assert [p["given_reward"] for p in said] == found
    assert [p["env_reward"] for p in said] == [1.0, 2.0, 3.0, 4.0]
    assert [p["score"] for p in said] == [0.5, 0.5, 0.75, 0.25], "before the correction at the end"
    assert [p["scored"] for p in said] == [1.0, 0.0, 1.0, 1.0]
    rewards = store.rewards(one(store).id)
    assert rewards.env == (1.0, 2.0, 3.0, 4.0)
    assert rewards.score == (0.5, None, 0.75, 0.25)
    assert rewards.given == tuple(found)


@pytest.mark.filterwarnings("ignore:shape='difference'")
@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_pays_what_the_function_says_whatever_ended_the_episode(shape, flags):
    terminates, truncates = flags
    terms = {"gamma": 0.9, "weight": 1.5, "start": 0.25}
    env = PRMRewardWrapper(Strip(terminates=terminates, truncates=truncates), Script(SAYS), shape=shape, **terms)
    shaping = Shaping(shape, **terms)
    expected = [shaping.pay(t + 1.0, said, t == 3 and terminates) for t, said in enumerate(SAYS)]
    assert play(env)[0] == expected


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("last", [0.9, None, math.nan, RuntimeError("down")], ids=repr)
@pytest.mark.parametrize("truncates", [False, True])
def test_shaping_sums_to_minus_the_start_whatever_the_scorer_does_at_the_end(gamma, last, truncates):
    env = PRMRewardWrapper(Strip(truncates=truncates), Script([0.4, None, 0.8, last]), gamma=gamma, start=0.3)
    paid, said = play(env)
    extra = [p - q["env_reward"] for p, q in zip(paid, said, strict=True)]
    assert sum(gamma**t * f for t, f in enumerate(extra)) == pytest.approx(-0.3, abs=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_a_time_limit_is_no_end_and_the_promise_stays(gamma):
    env = PRMRewardWrapper(Strip(terminates=False, truncates=True), Script(SAYS), gamma=gamma)
    paid, said = play(env)
    extra = [p - q["env_reward"] for p, q in zip(paid, said, strict=True)]
    assert sum(gamma**t * f for t, f in enumerate(extra)) == pytest.approx(gamma**4 * 0.25, abs=1e-12)


def test_phi_starts_anew_at_every_reset():
    env = PRMRewardWrapper(Strip(), Script([0.5]), start=0.25)
    assert play(env, 2)[0] == play(env, 4)[0][:2] == [1.25, 2.0]


def test_shape_follows_from_the_unit_and_correctness_must_be_decided():
    assert play(PRMRewardWrapper(Strip(), Script([0.5], unit="reward")))[0] == [1.5, 2.5, 3.5, 4.5]
    with pytest.raises(UnitError, match="name the shape"):
        PRMRewardWrapper(Strip(), Script([0.5], unit="correctness"))
    assert play(PRMRewardWrapper(Strip(), Script([0.5], unit="correctness"), shape="add"))[0][0] == 1.5


def double(reward, potential, previous, *, gamma, weight, terminated):
    return 2 * reward


def test_a_shape_may_be_a_function_or_its_reference():
    for shape in (double, f"{__name__}:double"):
        assert play(PRMRewardWrapper(Strip(), Script([0.5]), shape=shape))[0] == [2.0, 4.0, 6.0, 8.0]


def test_difference_warns_whoever_asks_for_it():
    with pytest.warns(UserWarning, match="'potential' does not") as caught:
        PRMRewardWrapper(Strip(), Script([0.5]), shape="difference")
    assert [w.filename for w in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PRMRewardWrapper(Strip(), Script([0.5]), shape="potential")


@pytest.mark.parametrize(
    ("scorer", "options", "error"),
    [
        (Script([0.5], sees="episode"), {}, SightError),
        ("constnat", {}, UnknownName),
        ("constant", {"shape": "potental"}, UnknownName),
        ("constant", {"gamma": math.nan}, InvalidSpec),
        ("constant", {"gamma": 2}, InvalidSpec),
        ("constant", {"gamma": -0.5}, InvalidSpec),
        ("constant", {"gamma": None}, InvalidSpec),
        ("constant", {"weight": math.inf}, InvalidSpec),
        ("constant", {"weight": math.nan}, InvalidSpec),
        ("constant", {"weight": "2"}, InvalidSpec),
        ("constant", {"start": math.nan}, InvalidSpec),
        (Constant, {}, InvalidSpec),
        ("constant", {"outcome": "no reference"}, InvalidSpec),
        ("constant:value=abc", {}, InvalidSpec),
        ("constant:value=NaN", {}, InvalidSpec),
        ("models/unlock", {}, UnknownName),
        (Script([0.5], unit="reward"), {"shape": "potential"}, UnitError),
        (Script([0.5], unit="reward"), {"shape": "difference"}, UnitError),
    ],
    ids=[
        "sight", "scorer", "shape", "gamma nan", "gamma 2", "gamma -0.5", "gamma none", "weight inf", "weight nan",
        "weight text", "start nan", "class", "outcome", "value abc", "value nan", "folder", "potential of rewards",
        "difference of rewards",
    ],
)  # fmt: skip
@pytest.mark.parametrize("vector", [False, True], ids=["single", "vector"])
def test_what_cannot_work_is_refused_at_once(scorer, options, error, vector):
    env = gym.vector.SyncVectorEnv([Strip]) if vector else Strip()
    with pytest.raises(error) as refused:
        (PRMVectorRewardWrapper if vector else PRMRewardWrapper)(env, scorer, **options)
    assert isinstance(refused.value, AgentPRMError)
    assert "\n" not in str(refused.value)


def test_terms_are_recorded_as_plain_numbers():
    env = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant", gamma=np.float32(0.5), weight=np.int64(2), start=0)
    form = json.loads(env.spec.to_json())["additional_wrappers"][0]["kwargs"]
    assert (form["gamma"], form["weight"], form["start"]) == (0.5, 2.0, 0.0)


def test_a_value_outside_0_and_1_is_a_failure_of_the_scorer(store):
    env = PRMRewardWrapper(Strip(), Script([0.5, 1.5, -0.5, 1.0]), store)
    paid, said = play(env)
    assert paid == [1.5, 2.0, 3.0, 3.5]
    assert [p["scored"] for p in said] == [1.0, 0.0, 0.0, 1.0]
    assert env.failed == 2
    assert store.rewards(one(store).id).score == (0.5, None, None, 1.0)


def test_a_recipe_that_is_not_json_is_refused_at_once():
    class Vague(Script):
        spec = Spec("vague", {"weights": np.float32(1)})

    with pytest.raises(InvalidSpec, match="is not JSON"):
        PRMRewardWrapper(Strip(), Vague([0.5]))


# What the scorer sees.


@pytest.mark.parametrize("sees", ["action", "result"])
@pytest.mark.parametrize("truncates", [False, True])
def test_it_is_called_once_per_step_with_exactly_what_was_seen(store, sees, truncates):
    scorer = Script([0.5], sees=sees)
    env = PRMRewardWrapper(Strip(terminates=not truncates, truncates=truncates), scorer, store)
    play(env)
    assert len(scorer.seen) == 4
    for whole in (env.trajectory, one(store)):
        assert scorer.seen == [whole.seen(t, sees) for t in range(4)]
    assert all(t.outcome is None for t in scorer.seen)
    assert all(t.steps[-1].info == {} for t in scorer.seen)


def test_only_the_last_value_is_used_and_stored(store):
    class Chatty(Script):
        def score(self, trajectory):
            return Scores(trajectory.id, self.spec, "value", [0.1 * (t + 1) for t in range(len(trajectory))])

    env = PRMRewardWrapper(Strip(), Chatty([]), store, shape="replace")
    assert play(env)[0] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    (scores,) = store.scores()
    assert scores.values == pytest.approx((0.1, 0.2, 0.3, 0.4))


def test_a_scorer_may_answer_for_the_last_step_alone(store):
    class Terse(Script):
        def score(self, trajectory):
            return Scores(trajectory.id, self.spec, "value", (0.5,), start=len(trajectory) - 1)

    assert play(PRMRewardWrapper(Strip(), Terse([]), store, shape="replace"))[0] == [0.5] * 4


@pytest.mark.parametrize(
    "answer",
    [
        lambda t: [],
        lambda t: [Scores(t.id, Spec("script"), "value", ())],
        lambda t: [Scores(t.id, Spec("script"), "value", (0.5,) * (len(t) - 1))],
        lambda t: [Scores(t.id, Spec("script"), "value", (0.5, 0.5), start=len(t))],
        lambda t: [Scores(t._with(id=type(t.id)(int=1)).id, Spec("script"), "value", (0.5,) * len(t))],
        lambda t: None,
        lambda t: [0.5],
        lambda t: [Scores(t.id, Spec("script"), "value", (math.nan,) * len(t))],
    ],
    ids=["no scores", "no values", "too few", "too late", "another's", "none", "a number", "nan"],
)
def test_an_answer_that_is_none_of_the_last_step_counts_as_a_failure(answer, store, caplog):
    class Confused(Script):
        def __call__(self, trajectories, /):
            return answer(trajectories[0])

    env = PRMRewardWrapper(Strip(), Confused([]), store)
    paid, said = play(env)
    assert paid == [1.0, 2.0, 3.0, 4.0]
    assert env.failed == 4
    assert {p["scored"] for p in said} == {0.0}
    assert store.rewards(one(store).id).score == (None,) * 4
    assert len(caplog.records) == 1, "said once, then counted"


@pytest.mark.parametrize("bad", [None, RuntimeError("down"), OSError("no server")], ids=repr)
def test_where_it_has_no_opinion_or_fails_phi_is_carried_on_and_all_is_recorded(store, bad, caplog):
    caplog.set_level(logging.WARNING)
    env = PRMRewardWrapper(Strip(), Script([0.5, bad, bad, 0.75]), store, gamma=0.5)
    paid, said = play(env)
    assert paid == [1 + 0.25, 2 - 0.25, 3 - 0.25, 4 - 0.5]
    assert [p["score"] for p in said] == [0.5, 0.5, 0.5, 0.75]
    assert [p["scored"] for p in said] == [1.0, 0.0, 0.0, 1.0]
    assert env.failed == (0 if bad is None else 2)
    assert store.rewards(one(store).id) == ((1.0, 2.0, 3.0, 4.0), (0.5, None, None, 0.75), tuple(paid))
    assert len(caplog.records) == (bad is not None)


def test_an_environment_without_words_is_no_failure_of_the_scorer(store):
    env = PRMRewardWrapper(Strip(), Script([0.5, MissingText("this reads words")]), store)
    env.reset()
    env.step(0)
    with pytest.raises(MissingText):
        env.step(0)
    assert env.failed == 0


def test_an_interruption_is_no_failure_of_the_scorer():
    env = PRMRewardWrapper(Strip(), Script([KeyboardInterrupt()]))
    env.reset()
    with pytest.raises(KeyboardInterrupt):
        env.step(0)


def test_scores_and_payments_name_the_version_that_gave_them(store):
    class Learning(Script):
        version = 1

        @property
        def spec(self):
            return Spec("learning", {"weights": str(self.version)})

    scorer = Learning([0.5])
    env = PRMRewardWrapper(Strip(), scorer, store)
    play(env)
    scorer.version = 2
    play(env)
    first, second = store.trajectories()
    assert store.rewards(first.id).score == store.rewards(second.id).score == (0.5,) * 4
    assert {s.trajectory_id: s.source.params["weights"] for s in store.scores()} == {first.id: "1", second.id: "2"}


# What is said.


def test_info_holds_the_same_floats_at_every_step_and_the_id_at_reset_only(store):
    env = PRMRewardWrapper(Strip(), Script([0.5, None, RuntimeError(), 1]), store)
    _, info = env.reset()
    assert info == {"secret": "at reset", "prm": {"trajectory": str(env.trajectory.id)}}
    for t in range(4):
        *_, info = env.step(0)
        assert set(info["prm"]) == KEYS
        assert {type(v) for v in info["prm"].values()} == {float}
        assert info["t"] == t + 1
    assert all(set(step.info) == {"t", "success"} for step in one(store).steps)


@pytest.mark.parametrize("reward", [np.float32(1.0), 1, True, np.array(1.0)], ids=repr)
def test_the_payment_is_a_python_float(reward):
    class Odd(Strip):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, reward, *rest

    paid, said = play(PRMRewardWrapper(Odd(), "constant:value=0.5"))
    assert {type(p) for p in paid} == {float}
    assert said[0] == {"score": 0.5, "scored": 1.0, "env_reward": 1.0, "given_reward": 1.5}


def test_everything_else_is_that_of_the_bare_environment(store):
    bare, env = gym.make("CartPole-v1"), PRMRewardWrapper(gym.make("CartPole-v1"), "constant:value=0.5", store)
    assert data_equivalence(bare.reset(seed=1)[0], env.reset(seed=1)[0], exact=True)
    for t in range(100):
        expected, found = bare.step(t % 2), env.step(t % 2)
        info = {k: v for k, v in found[4].items() if k != "prm"}
        assert data_equivalence((expected[0], *expected[2:]), (found[0], *found[2:4], info), exact=True)
        if expected[2] or expected[3]:
            assert data_equivalence(bare.reset()[0], env.reset()[0], exact=True)
    assert bare.np_random.random() == env.np_random.random()
    assert env.env.spec.id == "CartPole-v1"


def test_gymnasiums_checker_finds_nothing(tmp_path):
    env = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant:value=0.5", tmp_path / "runs.db")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*is different from the unwrapped version")
        check_env(env)


def test_misuse_is_refused_before_the_world_moves():
    env = PRMRewardWrapper(Strip(), "constant:value=0.5")
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    with pytest.raises(gym.error.ResetNeeded):
        _ = env.trajectory
    play(env)
    with pytest.raises(InvalidTrajectory, match="reset the environment first"):
        env.step(0)
    assert env.unwrapped._t == 4
    env.close()
    env.close()


def test_it_is_one_wrapper_around_the_environment_that_was_given():
    bare = Strip()
    env = PRMRewardWrapper(bare, "constant:value=0.5")
    assert env.env is bare
    assert env.unwrapped is bare


def test_what_it_records_is_what_a_recorder_records(tmp_path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        recorded = TrajectoryRecorder(Corridor(), a, outcome="reward", policy="p")
        paid = PRMRewardWrapper(Corridor(), "constant:value=0.5", b, outcome="reward", policy="p")
        for env in (recorded, paid):
            env.reset(seed=1)
            for _ in range(2):
                env.step("go left")
        one_, other = one(a), one(b)
        assert one_._with(id=other.id, started_at=other.started_at, ending=other.ending) == other
        assert one_.outcome == other.outcome


def test_rollout_uses_the_wrappers_own_recording(store):
    env = PRMRewardWrapper(Corridor(), "constant:value=0.5", store)
    played = rollout(lambda t, info: "go left", env, episodes=3)
    assert list(store.trajectories()) == played
    assert [s.values for s in store.scores()] == [(0.5, 0.5)] * 3


def test_a_wrapper_may_stand_on_another():
    inner = PRMRewardWrapper(Strip(), "constant:value=0.5", shape="add")
    outer = PRMRewardWrapper(inner, "constant:value=0.25", shape="add")
    paid, said = play(outer)
    assert paid == [1.75, 2.75, 3.75, 4.75]
    assert said[0]["env_reward"] == 1.5
    assert "prm" not in outer.trajectory.steps[0].info


# Remade from its spec.


def test_every_argument_is_recorded_under_its_own_name():
    recorded = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant")._saved_kwargs
    assert set(recorded) == set(signature(PRMRewardWrapper.__init__).parameters) - {"self", "env"}


@pytest.mark.parametrize(
    "scorer",
    ["constant:value=0.25", Constant(0.25).spec.plain(), Constant(0.25).spec, Constant(0.25)],
    ids=["text", "dict", "spec", "scorer"],
)
@pytest.mark.parametrize("given", ["url", "path", "store", "none"])
def test_it_is_remade_from_the_json_of_its_spec_and_pays_the_same(tmp_path, scorer, given):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        stores = {"url": f"sqlite:///{path}", "path": path, "store": store, "none": None}
        options = {"shape": "add", "weight": 2.0, "gamma": 0.9, "start": 0.1, "outcome": "reward", "policy": "p"}
        env = PRMRewardWrapper(gym.make("FrozenLake-v1", is_slippery=False), scorer, stores[given], **options)
        again = gym.make(EnvSpec.from_json(env.spec.to_json()))
        assert play(env, 20, seed=3)[0] == play(again, 20, seed=3)[0]
        assert isinstance(again, PRMRewardWrapper)
        env.close()
        again.close()
        assert len(list(store.trajectories())) == (0 if given == "none" else 2)


def test_a_shape_of_ones_own_is_remade_by_its_reference():
    env = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant", shape=double)
    form = json.loads(env.spec.to_json())["additional_wrappers"][0]["kwargs"]
    assert form["shape"] == f"{__name__}:double"
    assert play(gym.make(EnvSpec.from_json(env.spec.to_json())), 5, seed=0)[0] == play(env, 5, seed=0)[0]


@pytest.mark.parametrize("name", ["shape", "task", "render", "outcome"])
def test_a_live_function_is_recorded_by_name_and_must_be_given_anew(name):
    live = (lambda reward, *_, **__: reward) if name == "shape" else (lambda *_: "x")
    env = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant", **{name: live})
    form = json.loads(gym.wrappers.TimeLimit(env, 9).spec.to_json())["additional_wrappers"][0]["kwargs"]
    assert set(form[name]) == {"live"}
    with pytest.raises(InvalidSpec, match="give it anew"):
        gym.make(env.spec)


def test_a_live_store_is_recorded_by_name_and_must_be_given_anew():
    with Store(":memory:") as store:
        env = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant", store)
        assert env.spec.additional_wrappers[0].kwargs["store"] == {"live": "Store"}
        with pytest.raises(InvalidSpec, match="a live Store was recorded here"):
            gym.make(env.spec)


def test_a_scorer_that_nobody_registered_is_recorded_and_cannot_be_remade():
    env = PRMRewardWrapper(gym.make("FrozenLake-v1"), Script([0.5]))
    assert "script" in env.spec.to_json()
    with pytest.raises(UnknownName, match="'script'"):
        gym.make(EnvSpec.from_json(env.spec.to_json()))


def test_a_password_never_appears_in_its_spec(monkeypatch):
    monkeypatch.delenv("AGENTPRM_STORE", raising=False)
    env = PRMRewardWrapper(gym.make("FrozenLake-v1"), "constant", "postgresql://me:s3cr3t@host/db")
    assert "s3cr3t" not in env.spec.to_json()
    assert "me:***@host" in env.spec.to_json()


# Copies.


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)),
                                       lambda e: pickle.loads(cloudpickle.dumps(e))],
                         ids=["deepcopy", "pickle", "cloudpickle"])  # fmt: skip
def test_a_copy_carries_no_open_episode_and_both_go_on(store, duplicate):
    env = PRMRewardWrapper(gym.make("CartPole-v1"), "constant:value=0.5", store)
    env.reset(seed=1)
    env.step(0)
    twin = duplicate(env)
    with pytest.raises(gym.error.ResetNeeded):
        twin.step(0)
    assert play(twin, 2, seed=2)[0] == [1.5, 1.0]
    assert env.step(1)[1] == 1.0
    twin.close()
    env.close()
    a, b = store.trajectories()
    assert [(len(t), t.seed) for t in (a, b)] == [(2, 1), (2, 2)]
    assert store.rewards(a.id).given == store.rewards(b.id).given == (1.5, 1.0)


def test_a_start_that_no_value_can_have_is_refused():
    with pytest.raises(InvalidSpec, match=r"start=7.0 is what a value says before the first step: in \[0, 1\]"):
        PRMRewardWrapper(gym.make("CartPole-v1"), "constant:value=0.5", start=7)
    PRMRewardWrapper(gym.make("CartPole-v1"), "constant:value=5,unit=reward", shape="add", start=7)
