"""The contract of a text environment: inherit it in a test module, say how your environment is made, run pytest.

>>> class TestMine(EnvContract):
...     rounds = 20
...
...     def make_env(self):
...         return gymnasium.make("agentprm_envs:BabyAIText/UnlockPickup-v0")
"""

import unittest
import warnings
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any, ClassVar

import gymnasium
from gymnasium.utils.env_checker import check_env, data_equivalence

from agentprm.testing.elsewhere import call_elsewhere
from agentprm.testing.playing import Episode, Reply, assert_same, play, play_at_random, reset, start, step

__all__ = ["EnvContract"]

_PLAYED: dict[type, list[Episode]] = {}


class EnvContract:
    """What every text environment owes to those who record it, roll it out again and score it.

    Override :meth:`make_env`. The class must be importable (not local to a function), for some checks run in another
    process. Environments without ``snapshot()`` and ``restore(snapshot)`` skip the checks of those two.
    """

    seeds: ClassVar[Sequence[int]] = (0, 1, 7, 12)
    """Episodes that are played at random."""
    rounds: ClassVar[int] = 100
    """Every episode ends within so many steps."""
    idle: ClassVar[str] = "do nothing of any use"
    """An action that the environment does not know: it must be answered, and must use up time."""
    successes: ClassVar[Sequence[tuple[int, Sequence[str]]]] = ()
    """Seed and actions of episodes known to succeed; without any, random play over 500 seeds looks for one."""

    def make_env(self) -> gymnasium.Env[Any, Any]:
        """Return a new environment, always of the same kind."""
        raise NotImplementedError("an EnvContract needs make_env()")

    def test_gymnasiums_checker(self) -> None:
        """Gymnasium's own checker passes without a warning."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*environment not having a spec")
            check_env(self._env())

    def test_replies_have_a_constant_form(self) -> None:
        """Flags are plain bools, rewards finite, and every info has the same keys and types."""
        for _, _, replies in self._episodes():
            form = {key: type(value) for key, value in replies[0].info.items()}
            for reply in replies:
                assert type(reply.terminated) is type(reply.truncated) is bool
                assert abs(reply.reward) < float("inf"), f"the reward is {reply.reward}"
                assert {key: type(value) for key, value in reply.info.items()} == form

    def test_infos_name_the_task_and_the_outcome(self) -> None:
        """Every info has ``task`` and ``task_id`` as text; the last one says in ``success`` whether it was done."""
        for _, _, replies in self._episodes():
            for reply in replies:
                assert reply.info["task"].strip(), "info['task'] is empty"
                assert reply.info["task_id"].strip(), "info['task_id'] is empty"
            assert type(replies[-1].info["success"]) is bool

    def test_success_is_possible(self) -> None:
        """Some episode succeeds: else nothing below looks at the reward of a success."""
        assert any(replies[-1].info["success"] for _, _, replies in self._episodes()), (
            "random play found no success: give one as `successes`"
        )

    def test_listed_actions_are_accepted(self) -> None:
        """``info["actions"]`` are distinct texts of the action space; none is answered by a False ``info["valid"]``."""
        env = self._env()
        for seed, actions, replies in self._episodes():
            for t in (0, len(actions) // 2):
                available = replies[t].info["actions"]
                assert available, "no action is available"
                assert len(set(available)) == len(available), f"an action is listed twice: {available}"
                for action in available:
                    assert action.strip(), "an available action has no words"
                    assert env.action_space.contains(action), f"{action!r} is not in the action space"
                    start(env, seed, actions[:t])
                    assert step(env, action).info.get("valid", True), f"{action!r} is listed but not accepted"

    def test_episodes_end_in_time(self) -> None:
        """Random play ends within ``rounds`` steps."""
        for _, _, replies in self._episodes():
            assert replies[-1].over, f"still running after {self.rounds} rounds"

    def test_idling_is_truncated(self) -> None:
        """An unknown action is answered and takes a round; nothing but such ends in truncation without success."""
        env = self._env()
        last = start(env, self.seeds[0], [self.idle] * self.rounds)[-1]
        assert last.truncated, f"not truncated after {self.rounds} rounds of {self.idle!r}"
        assert not last.terminated, "terminated by idling"
        assert last.info["success"] is False

    def test_same_seed_and_actions_give_the_same_episode(self) -> None:
        """A used environment repeats an episode exactly."""
        env = self._env()
        for seed, actions, replies in self._episodes():
            assert_same(replies, start(env, seed, actions), f"seed {seed}, played again")

    def test_environments_do_not_disturb_each_other(self) -> None:
        """An episode is the same beside another environment that is seeded and played in between."""
        env, neighbour = self._env(), self._env()
        for seed, actions, replies in self._episodes():
            beside = [reset(env, seed)]
            for action in actions:
                start(neighbour, seed + 1, [self.idle])
                beside.append(step(env, action))
            assert_same(replies, beside, f"seed {seed}, beside another environment")

    def test_other_processes_give_the_same_episodes_in_silence(self) -> None:
        """Processes with other hash seeds repeat the episodes exactly and write nothing on stdout."""
        episodes = self._episodes()
        tasks = [(seed, actions) for seed, actions, _ in episodes]
        for hash_seed in ("1", "2"):
            answers = call_elsewhere(type(self), "_play_tasks", tasks, hash_seed=hash_seed)
            for (seed, _, replies), others in zip(episodes, answers, strict=True):
                assert_same(replies, others, f"seed {seed}, in a process with PYTHONHASHSEED={hash_seed}")

    def test_restoring_equals_replaying(self) -> None:
        """From a snapshot before any step the rest of the episode is the same, also the second time."""
        env = self._env_with_snapshots()
        for seed, actions, replies in self._episodes():
            snapshots = []
            env.reset(seed=seed)
            for action in actions:
                snapshots.append(env.snapshot())
                env.step(action)
            for t in [*reversed(range(len(actions)))] * 2:
                env.restore(snapshots[t])
                assert_same(replies[t + 1 :], play(env, actions[t:]), f"seed {seed}, restored before step {t}")

    def test_rollouts_do_not_change_a_snapshot(self) -> None:
        """After every available action was tried from a snapshot, the episode continues as if none had been."""
        env = self._env_with_snapshots()
        for seed, actions, replies in self._episodes():
            t = len(actions) // 2
            start(env, seed, actions[:t])
            snapshot = env.snapshot()
            for action in replies[t].info["actions"]:
                play(env, [action, self.idle])
                env.restore(snapshot)
            assert_same(replies[t + 1 :], play(env, actions[t:]), f"seed {seed}, after rollouts from step {t}")

    def test_snapshots_remember_the_random_generator(self) -> None:
        """Resets without a seed after ``restore`` are those after ``snapshot``."""
        env = self._env_with_snapshots()
        env.reset(seed=self.seeds[0])
        snapshot = env.snapshot()
        after = [env.reset()[0] for _ in range(3)]
        env.restore(snapshot)
        again = [env.reset()[0] for _ in range(3)]
        assert data_equivalence(after, again, exact=True), "other episodes follow restore() than followed snapshot()"

    def test_other_processes_continue_from_a_snapshot(self) -> None:
        """A pickled snapshot is continued exactly by an environment of another process."""
        env, tasks, episodes = self._env_with_snapshots(), [], self._episodes()
        for seed, actions, _ in episodes:
            t = len(actions) // 2
            start(env, seed, actions[:t])
            tasks.append((env.snapshot(), actions[t:]))
        answers = call_elsewhere(type(self), "_play_tasks", tasks, hash_seed="3")
        for (seed, actions, replies), others in zip(episodes, answers, strict=True):
            assert_same(replies[len(actions) // 2 + 1 :], others, f"seed {seed}, continued in another process")

    def _env(self) -> Any:
        return self.make_env().unwrapped

    def _env_with_snapshots(self) -> Any:
        env = self._env()
        if not (hasattr(env, "snapshot") and hasattr(env, "restore")):
            raise unittest.SkipTest(f"{type(env).__name__} has no snapshot() and restore()")
        return env

    def _episodes(self) -> list[Episode]:
        """One episode per seed, played at random, and one success at least, if there is any to be had."""
        if type(self) not in _PLAYED:
            env, rounds = self._env(), self.rounds
            played = [play_at_random(env, seed, rounds) for seed in self.seeds]
            known = [Episode(seed, list(actions), start(env, seed, actions)) for seed, actions in self.successes]
            searched = (play_at_random(env, seed, rounds) for seed in range(1000, 1500))
            found = (episode for episode in chain(played, searched) if episode.replies[-1].info.get("success"))
            _PLAYED[type(self)] = played + (known or list(islice(found, 1)))
        return _PLAYED[type(self)]

    def _play_tasks(self, tasks: Sequence[tuple[Any, Sequence[str]]]) -> list[list[Reply]]:
        """Play from seeds (ints: the reply to the reset comes first) or from snapshots."""
        env, answers = self._env(), []
        for origin, actions in tasks:
            if isinstance(origin, int):
                answers.append(start(env, origin, actions))
            else:
                env.restore(origin)
                answers.append(play(env, actions))
        return answers
