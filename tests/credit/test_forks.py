"""Episodes played again: effects by hand, and on BabyAI."""

import gymnasium as gym
import pytest
from credit_world import NEW, episode, fill, fork

from agentprm import Scores, rollout
from agentprm.credit import counterfactual, effects, leave_one_out, rollout_values, success
from agentprm.errors import InvalidTrajectory, NoSuchTrajectory
from agentprm.ops.agree import difference_interval, wilson
from agentprm.record.policies import RandomPolicy
from agentprm.types import new_id

ENV = "agentprm_envs:BabyAIText/PickupLoc-v0"


def test_an_effect_is_the_difference_from_forks_without_an_intervention(store):
    (t,) = fill(store, episode(["go x", "go y"], [0.5, 0.8], 1.0))
    fill(
        store,
        *(fork(t, 1, {}, o) for o in (1.0, 1.0, 0.0, 1.0)),
        *(fork(t, 1, {"action": "go z"}, o) for o in (0.0, 1.0)),
    )
    (row,) = effects(store)
    assert (row["trajectory"], row["step"], row["intervention"]) == (t.id, 1, '{"action":"go z"}')
    assert (row["n"], row["success"], row["n_base"], row["base"], row["effect"]) == (2, 0.5, 4, 0.75, -0.25)
    assert (row["low"], row["high"]) == pytest.approx(wilson(1, 2))
    assert (row["effect_low"], row["effect_high"]) == pytest.approx(difference_interval(1, 2, 3, 4))


def test_without_such_forks_the_recorded_episode_is_the_baseline(store):
    (t,) = fill(store, episode(["go x"], outcome=1.0))
    (unknown,) = fill(store, episode(["go x"]))
    fill(store, fork(t, 0, {"drop": True}, 0.0), fork(unknown, 0, {"drop": True}, 0.0))
    rows = {row["trajectory"]: row for row in effects(store)}
    assert (rows[t.id]["n_base"], rows[t.id]["effect"]) == (1, -1.0)
    assert (rows[unknown.id]["n_base"], rows[unknown.id]["effect"]) == (0, None)


def test_rollouts_stand_beside_the_score_of_the_step_they_left_from(store):
    (t,) = fill(store, episode(["go x", "go y"], [0.5, 0.9], 1.0))
    fill(store, *(fork(t, 1, {}, o) for o in (1.0, 0.0, 0.0, 0.0)), fork(t, 0, {"drop": True}, 1.0))
    table = rollout_values(store)
    (row,) = table
    assert (row["step"], row["n"], row["mc_value"], row["score"], row["difference"]) == (
        1,
        4,
        0.25,
        0.9,
        pytest.approx(0.65),
    )
    assert "0 of 1 scores lie in the rollouts' interval" in table.note


def test_what_is_left_out_is_averaged_over_places(store):
    a, b = fill(store, episode(["go x", "take y"], outcome=1.0), episode(["go z"], outcome=0.0))
    fill(store, fork(a, 0, {"drop": True}, 0.0), fork(a, 0, {"drop": True}, 0.0), fork(b, 0, {"drop": True}, 1.0),
         fork(a, 1, {"without_tool": "take"}, 1.0), fork(a, 1, {"action": "go q"}, 0.0))  # fmt: skip
    rows = {row["left_out"]: row for row in leave_one_out(store)}
    assert rows.keys() == {"step go", "tool take"}
    go = rows["step go"]
    assert (go["n"], go["episodes"], go["effect"], go["forks"]) == (2, 2, 0.0, 3)
    assert go["low"] is None


@pytest.fixture
def played(store):
    env = gym.make(ENV)
    episodes = rollout(RandomPolicy(0), env, episodes=6, store=store, progress=False)
    return env, next(t for t in episodes if len(t) > 3)


@pytest.mark.parametrize("step", [0, 2])
def test_babyai_is_played_again_with_another_action(store, played, step):
    env, t = played
    made = counterfactual(store, env, t, step, continue_=RandomPolicy(1), action="move forward", n=3)
    for again in made:
        assert again.steps[:step] == t.steps[:step]
        assert again.observations[step] == t.observations[step]
        assert again.steps[step].action.native == "move forward"
        assert (again.parent.trajectory_id, again.parent.index, again.task, again.seed) == (t.id, step, t.task, t.seed)
        assert again.ending is not None
    counterfactual(store, env, t.id, step, continue_=RandomPolicy(1), n=3)
    (row,) = effects(store)
    assert (row["n"], row["n_base"], row["intervention"]) == (3, 3, '{"action":"move forward"}')
    assert sum(r["n"] for r in success(store)) == 6, "what was played again is not what the policy did"
    assert next(store.trajectories(parent=t.id)).steps[:step] == t.steps[:step]


@pytest.mark.parametrize("step", [0, 2])
def test_babyai_without_a_tool_and_without_a_step(store, played, step):
    env, t = played
    made = counterfactual(store, env, t, step, continue_=RandomPolicy(1), without_tool="turn", n=4)
    assert not [s for again in made for s in again.steps[step:] if s.action.text.startswith("turn")]
    assert all(again.outcome is not None for again in made), "an agent without any action left has failed"
    counterfactual(store, env, t, step, continue_=RandomPolicy(1), drop=True, n=2)
    assert {row["left_out"].split()[0] for row in leave_one_out(store)} == {"tool", "step"}


def test_rollouts_of_babyai_are_compared_with_a_score(store, played):
    env, t = played
    counterfactual(store, env, t, 1, continue_=RandomPolicy(1), n=3)
    store.add(Scores(t.id, NEW, "value", (0.5,) * len(t), sees="action"))
    (row,) = rollout_values(store)
    assert (row["step"], row["n"]) == (1, 3)


def test_mistakes_are_refused_before_anything_is_played(store, played):
    env, t = played
    ask = {"continue_": RandomPolicy()}
    with pytest.raises(InvalidTrajectory, match="one intervention at a time: give action or drop"):
        counterfactual(store, env, t, 0, action="x", drop=True, **ask)
    with pytest.raises(IndexError):
        counterfactual(store, env, t, len(t), **ask)
    with pytest.raises(NoSuchTrajectory):
        counterfactual(store, env, new_id(), 0, **ask)
    (seedless,) = fill(store, episode(["go x"]))
    with pytest.raises(InvalidTrajectory, match="without a seed"):
        counterfactual(store, env, seedless, 0, **ask)
    with pytest.raises(InvalidTrajectory, match="though 'turn' was taken away"):
        counterfactual(store, env, t, 1, continue_=lambda trajectory, info: "turn left", without_tool="turn")
    assert not list(store.trajectories(parent=t.id))
