"""One running episode: its events, its trajectory, its end; and how well it went."""

import numpy as np
import pytest

from agentprm.errors import InvalidSpec, InvalidTrajectory
from agentprm.record.episode import Episode
from agentprm.record.outcome import outcome_of, outcome_rule
from agentprm.types import (
    Action,
    Began,
    Ended,
    Ending,
    Observation,
    Scores,
    Spec,
    Step,
    Stepped,
    Task,
    Trajectory,
    new_id,
)

BEGUN = Trajectory(new_id(), Task("leave"), (), Observation("a door"))


def test_events_tell_the_episode_in_order():
    events = []
    episode = Episode(BEGUN, events.append)
    steps = [Step(Observation("a door"), Action("open")), Step(Observation("a hall"), Action("go"), 1.0)]
    score, shaping = Scores(BEGUN.id, Spec("m"), "value", (0.5,)), Spec("shaping")
    episode.step(steps[0], Observation("a hall"), given_reward=0.25, shaping=shaping, scores=(score,))
    episode.step(steps[1], Observation("a garden"))
    episode.end(Ending("terminated", terminated=True))
    began, first, second, ended = events
    assert isinstance(began, Began)
    assert began.trajectory is BEGUN
    assert isinstance(first, Stepped)
    assert (first.trajectory_id, first.index, first.step, first.result) == (
        BEGUN.id,
        0,
        steps[0],
        Observation("a hall"),
    )
    assert (first.given_reward, first.shaping, first.scores) == (0.25, shaping, (score,))
    assert (second.index, second.given_reward, second.shaping, second.scores) == (1, None, None, ())
    assert isinstance(ended, Ended)
    assert ended.trajectory_id == BEGUN.id
    assert ended.ending is episode.ending


def test_the_trajectory_is_the_episode_so_far():
    episode = Episode(BEGUN)
    assert episode.trajectory == BEGUN
    before = episode.trajectory
    episode.step(Step(Observation("a door"), Action("open")), Observation("a hall"))
    assert len(episode) == len(episode.trajectory) == 1
    assert episode.trajectory.last == episode.last == Observation("a hall")
    assert before == BEGUN, "what was handed out does not change"
    episode.end(Ending("failed"))
    assert episode.trajectory.ending.status == "failed"


def test_nothing_follows_the_end():
    episode = Episode(BEGUN)
    episode.end(Ending("truncated", truncated=True))
    with pytest.raises(InvalidTrajectory, match=r"a step after the episode .* ended \(truncated, 0 steps\)"):
        episode.step(Step(Observation(), Action()), Observation())
    with pytest.raises(InvalidTrajectory, match="another ending after"):
        episode.end(Ending("failed"))


def test_an_episode_without_steps_is_an_episode():
    assert Episode(BEGUN)
    assert len(Episode(BEGUN)) == 0


# Outcomes.


@pytest.mark.parametrize(
    ("info", "outcome"),
    [
        ({}, None),
        ({"outcome": 0.25}, 0.25),
        ({"success": True}, 1.0),
        ({"success": False}, 0.0),
        ({"is_success": np.bool_(True)}, 1.0),
        ({"outcome": 0.5, "success": True, "is_success": False}, 0.5),
        ({"outcome": None, "success": False, "is_success": True}, 0.0),
        ({"outcome": 0}, 0.0),
        ({"reward": 1.0}, None),
    ],
)
def test_the_world_says_how_well_it_went_and_never_the_rewards(info, outcome):
    assert outcome_of(info, reward=0.7) == outcome


@pytest.mark.parametrize(("reward", "outcome"), [(0.25, 0.25), (-3.0, 0.0), (7.0, 1.0)])
def test_the_last_reward_may_be_the_outcome_clipped(reward, outcome):
    assert outcome_of({"success": False}, reward, outcome_rule("reward")) == outcome


def half(info, reward):
    return info.get("half")


def test_a_function_decides_alone():
    for form in (half, f"{half.__module__}:half"):
        rule = outcome_rule(form)
        assert outcome_of({"half": 0.5, "success": True}, 1.0, rule) == 0.5
        assert outcome_of({"success": True}, 1.0, rule) is None
    assert outcome_rule(None) is None
    with pytest.raises(InvalidSpec):
        outcome_rule("rewards")


@pytest.mark.parametrize("said", [1.5, -0.1, float("nan")])
def test_an_outcome_outside_0_and_1_is_refused(said):
    with pytest.raises(InvalidTrajectory, match="give outcome= a function"):
        outcome_of({"outcome": said}, 0.0)
