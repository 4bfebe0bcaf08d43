from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit, TransformReward

from agentprm.errors import InvalidTrajectory, ReplayDiverged
from agentprm.record.gymnasium_vector import VectorTrajectoryRecorder
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.record.rollout import rollout
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Fork, Observation


class Uncopied(Corridor):
    snapshot = restore = None


class Arrays(gym.Env):
    """Observes a buffer that it goes on changing; is over after five steps."""

    observation_space = gym.spaces.Box(0, 100, (2,), np.int64)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen = np.array([self.np_random.integers(50), 0])
        return self.seen, {}

    def step(self, action):
        self.seen += [action, 1]
        return self.seen, float(self.seen[0] / 100), False, self.seen[1] >= 5, {}


def walk(n, of=Corridor, **kwargs):
    played = rollout(RandomPolicy(4), of(**kwargs), episodes=30, seeds=9)
    return next(t for t in played if len(t) >= n)


@pytest.mark.parametrize("of", [Corridor, Uncopied])
def test_completions_share_the_beginning_and_end_with_an_outcome(of):
    trajectory = walk(4)
    completions = Replay(of(), RandomPolicy(0))(trajectory, 1, 5)
    assert len({c.id for c in completions} | {trajectory.id}) == 6
    for completion in completions:
        assert completion.steps[:2] == trajectory.steps[:2]
        assert completion.observations[:3] == trajectory.observations[:3]
        assert completion.ending.terminated or completion.ending.truncated
        assert completion.outcome == completion.steps[-1].reward
        assert (completion.parent.trajectory_id, completion.parent.index) == (trajectory.id, 1)
        assert (completion.seed, completion.task) == (trajectory.seed, trajectory.task)


def test_copying_and_replaying_give_the_same_completions():
    trajectory = walk(4)
    both = [Replay(of(), RandomPolicy(0))(trajectory, 2, 6) for of in (Corridor, Uncopied)]
    assert [c.steps for c in both[0]] == [c.steps for c in both[1]]
    assert [c.outcome for c in both[0]] == [c.outcome for c in both[1]]


def test_steps_are_counted_as_the_environment_counts_them():
    trajectory = walk(4)
    for of in (Corridor, Uncopied):
        replay = Replay(of(), RandomPolicy(0))
        completions = [c for t in range(4) for c in replay(trajectory, t, 3)]
        assert replay.env_steps == sum(len(c) for c in completions) - 3 * (1 + 2 + 3 + 4)
        assert replay.env.n_steps == replay.env_steps + replay.replayed_steps
    assert replay.replayed_steps == 3 * (1 + 2 + 3 + 4)


def test_where_it_can_be_copied_an_episode_is_replayed_once():
    trajectory = walk(4)
    replay = Replay(Corridor(), RandomPolicy(0))
    for t in range(4):
        replay(trajectory, t, 10)
    assert replay.replayed_steps == len(trajectory)


def test_a_time_limit_counts_from_the_branch_not_from_the_copy():
    env = TimeLimit(Corridor(max_rounds=100), 6)
    replay = Replay(env, lambda trajectory, info: "wait")
    played = rollout(lambda trajectory, info: "wait", TimeLimit(Corridor(100), 6), episodes=1)
    assert [len(c) for t in (4, 1, 3) for c in replay(played[0], t, 2)] == [6] * 6
    assert replay.replayed_steps == 6


def test_under_an_unknown_wrapper_every_completion_is_replayed():
    trajectory = walk(4)
    replay = Replay(TransformReward(Corridor(), lambda r: 10 * r), RandomPolicy(0))
    replay(trajectory, 1, 3)
    assert replay.replayed_steps == 6


@pytest.mark.parametrize("of", [Corridor, Uncopied])
def test_chance_in_the_world_is_drawn_anew_for_each_completion(of):
    played = rollout(lambda t, i: "wait", of(20, slips=0.5), episodes=1)
    completions = Replay(of(20, slips=0.5), lambda t, i: "go left")(played[0], 0, 20)
    assert len({len(c) for c in completions}) > 1
    again = Replay(of(20, slips=0.5), lambda t, i: "go left")(played[0], 0, 20)
    assert [len(c) for c in again] == [len(c) for c in completions]


def test_an_ended_episode_has_nothing_to_play():
    trajectory = walk(4)
    replay = Replay(Corridor(), RandomPolicy(0))
    completions = replay(trajectory, len(trajectory) - 1, 2)
    assert [(c.steps, c.ending) for c in completions] == [(trajectory.steps, trajectory.ending)] * 2
    assert replay.env_steps == 0


def test_another_world_is_noticed_with_the_step_where_it_parts():
    trajectory = walk(4)
    replay = Replay(Corridor(slips=1.0), RandomPolicy(0))
    with pytest.raises(ReplayDiverged, match=r"observation \d"):
        replay(trajectory, 3, 1)


def test_another_seed_is_noticed_at_the_start():
    with pytest.raises(ReplayDiverged, match="observation 0"):
        Replay(Corridor(), RandomPolicy())(replace(episode(("somewhere else", "wait")), seed=3), 0, 1)


def test_a_world_that_ends_earlier_is_noticed():
    trajectory = next(t for t in corridors(20) if len(t) >= 4)
    with pytest.raises(ReplayDiverged, match="ended"):
        Replay(Corridor(max_rounds=2), RandomPolicy(0))(trajectory, 3, 1)


def test_without_a_seed_there_is_no_way_back():
    with pytest.raises(InvalidTrajectory, match="seed"):
        Replay(Corridor(), RandomPolicy())(episode(("a", "b")), 0, 1)


@pytest.mark.parametrize("t", [-1, 9])
def test_there_is_no_such_step(t):
    with pytest.raises(IndexError):
        Replay(Corridor(), RandomPolicy())(episode(("a", "b")), t, 1)


def test_arrays_are_compared_exactly_and_copied():
    policy = RandomPolicy(0, Arrays.action_space)
    trajectory = rollout(policy, Arrays(), episodes=1, seeds=7)[0]
    completions = Replay(Arrays(), policy, outcome="reward")(trajectory, 1, 2)
    for completion in completions:
        assert [o.native[1] for o in completion.observations] == [0, 1, 2, 3, 4, 5]
        assert completion.outcome == completion.steps[-1].reward
    with pytest.raises(ReplayDiverged):
        Replay(Arrays(), policy)(replace(trajectory, seed=8), 1, 1)


def test_a_completion_without_end_is_cut_off():
    replay = Replay(Corridor(10**6), lambda trajectory, info: "wait", max_steps=7)
    trajectory = rollout(lambda t, i: "wait", Corridor(3), episodes=1)[0]
    (completion,) = replay(trajectory, 0, 1)
    assert (len(completion), completion.ending.status, completion.ending.truncated) == (8, "truncated", True)


def test_babyai_is_replayed_and_copied():
    name = "agentprm_envs:BabyAIText/UnlockPickup-v0"
    trajectory = rollout(RandomPolicy(1), gym.make(name), episodes=1, seeds=3)[0]
    replay = Replay(gym.make(name), RandomPolicy(2))
    completions = [c for t in (0, 7, 3) for c in replay(trajectory, t, 2)]
    assert replay.replayed_steps == len(trajectory)
    assert all(len(c) <= 20 and c.outcome is not None for c in completions)


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "Blackjack-v1", "CartPole-v1"])
def test_what_a_vector_recorded_is_played_on_in_a_single_environment(env_id):
    """There an observation that is an int, or a pair of them, is NumPy's."""
    env = VectorTrajectoryRecorder(SyncVectorEnv([lambda: gym.make(env_id)] * 2))
    env.reset(seed=3)
    env.step(np.zeros(2, int))
    for i in range(2):
        trajectory = env.recorder.trajectory(i)
        single = gym.make(env_id)
        (completion,) = Replay(single, RandomPolicy(space=single.action_space))(trajectory, 0, 1)
        assert completion.steps[0] == trajectory.steps[0]
        assert completion.ending.terminated or completion.ending.truncated


def test_numbers_that_differ_still_part_ways():
    trajectory = rollout(RandomPolicy(space=gym.spaces.Discrete(2)), gym.make("Blackjack-v1"), episodes=1, seeds=4)[0]
    first = trajectory.steps[0]
    other = replace(first, observation=Observation("", tuple(n + 1 for n in first.observation.native)))
    replay = Replay(gym.make("Blackjack-v1"), RandomPolicy(space=gym.spaces.Discrete(2)))
    with pytest.raises(ReplayDiverged, match="observation 0"):
        replay(replace(trajectory, steps=(other, *trajectory.steps[1:])), 0, 1)


@pytest.mark.parametrize("of", [Corridor, Uncopied])
def test_another_action_may_be_tried_in_the_middle_of_an_episode(of):
    trajectory = walk(4)
    replay = Replay(of(), RandomPolicy(0))
    for t in (0, 2):
        waited, same = replay.instead(trajectory, t, ["wait", trajectory.steps[t].action.native])
        assert waited.steps[:t] == trajectory.steps[:t]
        assert waited.steps[t].action.text == "wait"
        assert len(waited) == t + 1
        assert waited.ending.status == "incomplete"
        assert waited.parent == Fork(trajectory.id, t, intervention={"action": "wait"})
        assert same.steps[t] == trajectory.steps[t]
        assert same.last == trajectory.observations[t + 1]
    assert replay.env_steps == 4


def test_an_action_that_ends_the_episode_ends_the_fork():
    trajectory = next(t for t in corridors(40) if t.outcome == 1.0)
    last = len(trajectory) - 1
    (fork,) = Replay(Corridor(), RandomPolicy(0)).instead(trajectory, last, [trajectory.steps[last].action.native])
    assert (fork.ending.status, fork.outcome) == (trajectory.ending.status, 1.0)


def test_no_action_can_be_tried_at_a_step_that_was_not_taken():
    trajectory = walk(2)
    with pytest.raises(IndexError, match="of a trajectory of"):
        Replay(Corridor(), RandomPolicy(0)).instead(trajectory, len(trajectory), ["wait"])
