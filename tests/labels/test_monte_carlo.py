import pytest

from agentprm.errors import InvalidSpec
from agentprm.labels.monte_carlo import MonteCarlo
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.spec import make
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode

TURNS = [("a", "b"), ("c", "d"), ("e", "f")]


class Scripted:
    """Completes with given outcomes, two steps further."""

    def __init__(self, *outcomes):
        self.outcomes, self.asked = outcomes, []

    def __call__(self, trajectory, t, n, /):
        self.asked.append((t, n))
        turns = [("x", "y")] * (t + 3)
        return [episode(*turns, outcome=self.outcomes[i % len(self.outcomes)]) for i in range(n)]


def label(continue_, trajectory, **kwargs):
    return MonteCarlo(continue_, **kwargs)([trajectory])[0]


class TestContract(ScorerContract):
    can_be_remade = False

    def make_scorer(self):
        return MonteCarlo(Scripted(1.0, 0.0, 0.0), rollouts=3, steps=2, seed=5)


def test_soft_labels_are_the_mean_outcome_and_hard_ones_the_best():
    trajectory = episode(*TURNS, outcome=0.0)
    assert label(Scripted(1, 0, 0, 0), trajectory, rollouts=4).values == (0.25, 0.25, 0.0)
    assert label(Scripted(1, 0, 0, 0), trajectory, rollouts=4, mode="hard").values == (1.0, 1.0, 0.0)


def test_what_a_label_cost_stands_beside_it():
    scores = label(Scripted(1.0), episode(*TURNS, outcome=0.0), rollouts=4)
    assert scores.parts == {"rollouts": (4, 4, 0), "env_steps": (8, 8, 0)}


def test_an_ended_episode_is_not_played_on():
    continue_ = Scripted(1.0)
    assert label(continue_, episode(*TURNS, outcome=0.5), rollouts=2).values[-1] == 0.5
    assert continue_.asked == [(0, 2), (1, 2)]


@pytest.mark.parametrize("status", [None, "incomplete", "aborted"])
def test_an_episode_that_the_world_did_not_end_is_played_on(status):
    assert label(Scripted(1.0), episode(*TURNS, status=status)).values == (1.0, 1.0, 1.0)


def test_completions_without_an_outcome_do_not_count():
    scores = label(Scripted(1.0, None), episode(*TURNS, outcome=None), rollouts=4)
    assert scores.values == (1.0, 1.0, None)
    assert scores.parts["rollouts"] == (2, 2, 0)
    nothing = label(Scripted(None), episode(*TURNS, outcome=1.0), rollouts=4)
    assert nothing.values == (None, None, 1.0)
    assert nothing.parts["env_steps"] == (8, 8, 0)


def test_only_some_steps_are_labelled_and_always_the_same():
    trajectory = episode(*[("a", "b")] * 30, outcome=0.0)
    first, again, other = (label(Scripted(1.0), trajectory, steps=4, seed=seed).values for seed in (0, 0, 1))
    assert sum(v is not None for v in first) == 4
    assert first == again != other


def test_true_values_come_out_in_the_mean():
    # From the middle, one step beside the asked door: a fair walk of ±1 or 0 within enough rounds.
    policy, trajectories = RandomPolicy(0), corridors(40, seed=2, max_rounds=500)
    replay = Replay(Corridor(500), policy)
    found = {}
    for trajectory, scores in zip(trajectories, MonteCarlo(replay, rollouts=24, steps=3)(trajectories), strict=True):
        for t, value in enumerate(scores.values):
            side = "left" in trajectory.task.text
            place = int(trajectory.observations[t + 1].text.split()[2]) if t + 1 < len(trajectory) else None
            if value is not None and place is not None:
                found.setdefault(4 - place if side else place, []).append(value)
    for place, chances in found.items():
        assert sum(chances) / len(chances) == pytest.approx(place / 4, abs=0.1)
    assert sorted(found) == [1, 2, 3]


def test_a_live_continuation_is_named_and_cannot_be_remade():
    spec = MonteCarlo(Scripted(1.0)).spec
    assert spec.params["continue_"] == {"live": "Scripted"}
    with pytest.raises(InvalidSpec, match="Scripted"):
        make(spec.plain())


@pytest.mark.parametrize("bad", [{"rollouts": 0}, {"steps": 0}, {"mode": "medium"}])
def test_a_bad_configuration_is_refused(bad):
    with pytest.raises(InvalidSpec):
        MonteCarlo(Scripted(1.0), **bad)


def test_a_continuation_that_is_no_function_is_refused():
    with pytest.raises(InvalidSpec):
        MonteCarlo("constant")
