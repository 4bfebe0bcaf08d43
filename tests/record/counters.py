"""Environments of known length, light to import: worker processes need them too. And what they should leave behind."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]


class Counter(gym.Env):
    """Counts its resets and steps; ends after two to four, as its seed says; pays its action.

    It says numbers, text, a pair or a mapping; ends by its own will and by a time limit in turn.
    """

    def __init__(self, says="numbers"):
        spaces = {
            "numbers": gym.spaces.Box(-1, 1000, (2,), np.float32),
            "text": gym.spaces.Text(20, charset="0123456789- "),
            "pair": gym.spaces.Tuple([gym.spaces.Box(-1, 1000, (2,), np.float32), gym.spaces.Discrete(100)]),
        }
        spaces["both"] = gym.spaces.Dict(count=spaces["numbers"], mission=spaces["text"])
        self.observation_space = spaces[says]
        self.action_space = gym.spaces.Discrete(2)
        self._says, self._resets, self._seed = says, 0, 0

    def _see(self):
        numbers, text = self._numbers(), f"{self._resets} {self._t}"
        pair, both = (numbers, self._t), {"count": numbers, "mission": text}
        return {"numbers": numbers, "text": text, "pair": pair, "both": both}[self._says]

    def _numbers(self):
        return np.array([self._resets, self._t], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._seed = self._seed if seed is None else seed
        self._resets, self._t = self._resets + 1, 0
        self._length = 2 + (self._resets + self._seed) % 3
        return self._see(), {"length": self._length}

    def step(self, action):
        self._t += 1
        is_over, by_itself = self._t >= self._length, self._resets % 2 == 0
        info = {"success": bool(action)} if is_over else {}
        return self._see(), float(action), is_over and by_itself, is_over and not by_itself, info


class Reusing(Counter):
    """Says its numbers in one buffer."""

    def __init__(self):
        super().__init__()
        self._buffer = np.zeros(2, np.float32)

    def _numbers(self):
        self._buffer[:] = self._resets, self._t
        return self._buffer


class Broken(Counter):
    """Raises at its second step when it is told to."""

    def step(self, action):
        if action == 1 and self._t == 1:
            raise RuntimeError("the world broke")
        return super().step(action)


def plain(seen):
    """Return an observation without the types that batching changes."""
    if isinstance(seen, dict):
        return {key: plain(value) for key, value in seen.items()}
    if isinstance(seen, tuple):
        return tuple(map(plain, seen))
    return seen.tolist() if hasattr(seen, "tolist") else seen


def expected(make, seed, actions, mode):
    """Return what the episodes of one environment are, played alone as a vector of that mode plays it."""
    env, episodes = make(), []

    def begin(seed=None):
        seen, info = env.reset(seed=seed)
        episodes.append([[plain(seen)], [], [], [], "incomplete", None, info["length"], seed])

    begin(seed)
    for action in actions:
        episode = episodes[-1]
        if episode[4] != "incomplete":  # NEXT_STEP: this call only resets
            begin()
            continue
        seen, reward, terminated, truncated, info = env.step(action)
        for row, value in zip(episode, (plain(seen), int(action), reward, info), strict=False):
            row.append(value)
        if terminated or truncated:
            episode[4] = "terminated" if terminated else "truncated"
            episode[5] = float(info["success"])
            if mode is not AutoresetMode.NEXT_STEP:
                begin()
    return [tuple(episode) for episode in episodes]


def facts(store):
    """Return what every episode in a store is, apart from ids and times, in one order."""
    rows = []
    for t in store.trajectories():
        observations, infos = [plain(o.native) for o in t.observations], [dict(step.info) for step in t.steps]
        actions, rewards = [int(step.action.native) for step in t.steps], [step.reward for step in t.steps]
        length = t.meta["info"]["length"]
        rows.append((observations, actions, rewards, infos, t.ending and t.ending.status, t.outcome, length, t.seed))
    return sorted(rows, key=str)


def drive(env, mode, steps, n, seed=5):
    """Play a vector at random; return the actions taken and what each step said. The caller closes it."""
    rng, actions, said = np.random.default_rng(0), [], []
    env.reset(seed=seed)
    for _ in range(steps):
        actions.append(rng.integers(2, size=n))
        outcome = env.step(actions[-1])
        said.append((np.copy(outcome[1]), *outcome[2:]))
        over = outcome[2] | outcome[3]
        if mode is AutoresetMode.DISABLED and over.any():
            env.reset(options={"reset_mask": over})
    return np.array(actions), said
