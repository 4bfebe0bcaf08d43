import pytest

from agentprm.errors import InvalidSpec
from agentprm.labels.monte_carlo import MonteCarlo
from agentprm.labels.omega import Omega
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.spec import make
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode


class Lost:
    """Completes in two steps, one in four successfully, until `error`; never from there on."""

    def __init__(self, error, *, silent=(), success=1.0):
        self.error, self.silent, self.success, self.asked = error, silent, success, []

    def __call__(self, trajectory, t, n, /):
        self.asked.append(t)
        outcomes = [self.success if t < self.error and i % 4 == 0 else 0.0 for i in range(n)]
        turns = [("a", "b")] * (t + 3)
        return [episode(*turns, outcome=None if t in self.silent else outcome) for outcome in outcomes]


def lost(n, outcome=0.0):
    return episode(*[("a", "b")] * n, outcome=outcome)


def label(continue_, trajectory, **kwargs):
    return Omega(continue_, **kwargs)([trajectory])[0]


class TestContract(ScorerContract):
    can_be_remade = False

    def make_scorer(self):
        return Omega(Lost(1), rollouts=4)


class TestContractOfHardLabels(ScorerContract):
    can_be_remade = False

    def make_scorer(self):
        return Omega(Lost(2, success=0.5), rollouts=3, mode="hard", above=0.25)


@pytest.mark.parametrize("error", range(9))
def test_whichever_step_sank_it_is_found_by_halving(error):
    continue_ = Lost(error)
    assert label(continue_, lost(9), mode="hard").values == (1.0,) * error + (0.0,) * (9 - error)
    assert len(continue_.asked) <= 4, "log₂ 9, rounded up"


def test_soft_labels_stand_at_the_probes_and_at_the_end():
    # Of steps 0 … 8 the last is known. Probed are 4 (lost), 2 (¼ succeed), 3 (¼): step 4 sank it.
    continue_ = Lost(4)
    scores = label(continue_, lost(9), rollouts=4)
    assert continue_.asked == [4, 2, 3]
    assert scores.values == (None, None, 0.25, 0.25, 0.0, None, None, None, 0.0)
    assert scores.parts["rollouts"] == (None, None, 4, 4, 4, None, None, None, None)
    assert scores.parts["env_steps"] == (None, None, 8, 8, 8, None, None, None, None)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_success_costs_nothing(mode):
    continue_ = Lost(0)
    expected = (1.0,) * 3 if mode == "hard" else (None, None, 1.0)
    assert label(continue_, lost(3, 1.0), mode=mode).values == expected
    assert continue_.asked == []


def test_what_counts_as_a_success_can_be_said():
    # Completions reach ½ at most: a success for above=¼, of an episode that itself reached ¼; none for above=½.
    assert label(Lost(2, success=0.5), lost(4, 0.25), mode="hard", above=0.25).values == (1.0, 1.0, 0.0, 0.0)
    assert label(Lost(2, success=0.5), lost(4, 0.25), mode="hard", above=0.5).values == (0.0,) * 4
    assert label(Lost(2, success=0.5), lost(4, 0.25), mode="hard").values == (1.0,) * 4


def test_a_probe_without_outcomes_leaves_open_what_it_would_have_told():
    scores = label(Lost(6, silent=(5,)), lost(8), mode="hard")
    assert scores.values == (1.0, 1.0, 1.0, 1.0, None, None, None, 0.0)
    assert scores.parts["rollouts"] == (None, None, None, 8, None, 0, None, None)
    assert label(Lost(6, silent=(5,)), lost(8)).values == (None, None, None, 0.25, None, None, None, 0.0)


@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize("unknown", ["running", "no outcome"])
def test_an_unknown_outcome_labels_nothing(mode, unknown):
    turns = [("a", "b")] * 3
    trajectory = episode(*turns, status=None) if unknown == "running" else episode(*turns, outcome=None)
    assert label(Lost(1), trajectory, mode=mode).values == (None,) * 3


def test_an_episode_of_one_step_needs_no_search():
    continue_ = Lost(0)
    assert label(continue_, lost(1)).values == label(continue_, lost(1), mode="hard").values == (0.0,)
    assert continue_.asked == []


def test_it_finds_what_labelling_every_step_finds_for_fewer_steps_of_the_world():
    played = [t for t in corridors(60, seed=1, max_rounds=12) if t.outcome == 0.0 and len(t) > 6]
    replays = [Replay(Corridor(12), RandomPolicy(seed), seed=seed) for seed in (0, 1)]
    every = MonteCarlo(replays[0], rollouts=48, mode="hard")(played)
    halved = Omega(replays[1], rollouts=48, mode="hard")(played)
    apart = [abs(sum(one.values) - sum(other.values)) for one, other in zip(every, halved, strict=True)]
    assert sum(distance == 0 for distance in apart) > 0.7 * len(apart)
    assert replays[1].env_steps < replays[0].env_steps / 2
    assert sum(v or 0 for s in halved for v in s.parts["env_steps"]) == replays[1].env_steps


def test_a_live_continuation_cannot_be_remade():
    with pytest.raises(InvalidSpec, match="Lost"):
        make(Omega(Lost(1)).spec.plain())


@pytest.mark.parametrize("bad", [{"rollouts": 0}, {"mode": "medium"}, {"above": 1.0}, {"above": float("nan")}])
def test_a_bad_configuration_is_refused(bad):
    with pytest.raises(InvalidSpec):
        Omega(Lost(1), **bad)


def test_a_continuation_that_is_no_function_is_refused():
    with pytest.raises(InvalidSpec):
        Omega("constant")
