"""Episodes of text environments: playing them, and holding two of them against each other."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from gymnasium.utils.env_checker import data_equivalence

__all__ = ["Episode", "Reply", "assert_same", "play", "play_at_random", "reset", "start", "step"]


class Reply(NamedTuple):
    """What ``reset`` (reward 0, flags False) or ``step`` returned."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.terminated or self.truncated


class Episode(NamedTuple):
    """One episode that was played: the reply to the reset, then one per action."""

    seed: int
    actions: list[str]
    replies: list[Reply]


def reset(env: Any, seed: int) -> Reply:
    """Return the reply to a seeded reset."""
    observation, info = env.reset(seed=seed)
    return Reply(observation, 0.0, False, False, info)


def step(env: Any, action: str) -> Reply:
    """Return the reply to one action."""
    observation, reward, terminated, truncated, info = env.step(action)
    return Reply(observation, float(reward), terminated, truncated, info)


def play(env: Any, actions: Sequence[str]) -> list[Reply]:
    """Return the replies to some actions, up to the end of the episode."""
    replies: list[Reply] = []
    for action in actions:
        replies.append(step(env, action))
        if replies[-1].over:
            break
    return replies


def start(env: Any, seed: int, actions: Sequence[str]) -> list[Reply]:
    """Return the replies to a seeded reset and to some actions."""
    return [reset(env, seed), *play(env, actions)]


def play_at_random(env: Any, seed: int, rounds: int) -> Episode:
    """Play actions drawn from ``info["actions"]``: the same ones for the same seed, in every process."""
    chance, actions, replies = random.Random(f"actions {seed}"), list[str](), [reset(env, seed)]
    while not replies[-1].over and len(actions) < rounds:
        actions.append(chance.choice(replies[-1].info["actions"]))
        replies.append(step(env, actions[-1]))
    return Episode(seed, actions, replies)


def assert_same(expected: Sequence[Reply], actual: Sequence[Reply], where: str) -> None:
    """Raise an AssertionError that says where two episodes part, unless every value of every reply is equal."""
    for t, (reply, other) in enumerate(zip(expected, actual, strict=False)):
        for name, one, two in zip(Reply._fields, reply, other, strict=True):
            assert data_equivalence(one, two, exact=True), f"{where}: {name} {t} is\n{two!r}\ninstead of\n{one!r}"
    assert len(expected) == len(actual), f"{where}: {len(actual)} replies instead of {len(expected)}"
