"""BabyAI as a text game: missions in rooms with doors, keys, balls and boxes, in the words of AgentGym."""

import copy
import string
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import gymnasium
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Text

from agentprm_envs import babyai_world
from agentprm_envs.babyai_levels import find_level
from agentprm_envs.babyai_menu import CHECK, NOTHING_CHANGES, Menu, canonical, menu, refusal
from agentprm_envs.babyai_view import describe, look

__all__ = ["BabyAIText", "Reward", "Snapshot"]

Reward = Literal["success", "minigrid"]
_CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation + " \n")


@dataclass(slots=True)
class _Episode:
    """All that the text side of an episode remembers; its menu is replaced, never changed."""

    task: str
    task_id: str
    limit: int
    menu: Menu = field(default_factory=dict)
    text: str = ""
    rounds: int = 0
    valid: bool = True
    success: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The exact state of a :class:`BabyAIText` within an episode: opaque, unchanging, picklable."""

    level: str
    _world: bytes
    _episode: _Episode
    _rng: dict[str, Any]
    _seed: int


class BabyAIText(gymnasium.Env[str, str]):
    """A BabyAI level that speaks and is spoken to.

    Observations and actions are strings. Each round is one high-level action (``go to red ball 1``), carried out as the
    shortest path over what the agent sees. Every info has the same keys: ``task``, ``task_id``, ``actions`` (those
    available now; ``check available actions``, which changes nothing, is understood but not among them), ``valid``
    (whether the last action was understood) and ``success``.

    Args:
        level: a name of ``agentprm_envs.LEVELS`` or any ``BabyAI-*`` id of minigrid.
        max_rounds: rounds after which the episode is truncated.
        reward: of success, ``"success"`` pays 1.0, ``"minigrid"`` pays 1 − 0.9·min(t, T)/T for t low-level actions and
            minigrid's limit T; all else pays 0.0.
        list_actions: whether observations end with the available actions.
        render_mode: ``"ansi"``, where ``render`` returns the last observation, or None.

    Raises:
        MissingExtra: minigrid is not installed.
        gymnasium.error.Error: minigrid has no such level.
        ValueError: another argument is not one of those above.

    >>> env = BabyAIText("GoToLocal", list_actions=False)
    >>> text, info = env.reset(seed=3)
    >>> info["task_id"], info["task"]
    ('BabyAI-GoToLocal/3', 'go to the red key')
    >>> text, reward, terminated, truncated, info = env.step(info["actions"][-1])
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  (as Gymnasium declares it)

    def __init__(
        self,
        level: str = "UnlockPickup",
        *,
        max_rounds: int = 20,
        reward: Reward = "success",
        list_actions: bool = True,
        render_mode: str | None = None,
    ) -> None:
        if max_rounds < 1:
            raise ValueError(f"max_rounds is {max_rounds}: an episode has at least one round")
        if reward not in get_args(Reward):
            raise ValueError(f"reward is {reward!r}: expected one of {get_args(Reward)}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}: expected None or 'ansi'")
        self.level, minigrid_id = find_level(level)
        self.max_rounds, self.reward, self.list_actions = max_rounds, reward, list_actions
        self.render_mode = render_mode
        self.observation_space = Text(16_384, min_length=1, charset=_CHARACTERS)
        self.action_space = Text(256, min_length=0, charset=_CHARACTERS)
        self._world = babyai_world.make_world(minigrid_id)
        self._episode: _Episode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode: the board that minigrid makes of the seed, or of a number drawn from ``np_random``."""
        super().reset(seed=seed)
        board = int(self.np_random.integers(2**31)) if seed is None else seed
        limit = babyai_world.start(self._world, board)
        task = self._world.mission.replace("then", "and").replace("after you", "and")
        self._episode = episode = _Episode(task, f"BabyAI-{self.level}/{board}", limit)
        self._say(episode, f"Your goal: {task}\n{self._look(episode)}")
        return episode.text, self._info(episode)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one round; an action that is not available also takes one.

        Raises:
            gymnasium.error.ResetNeeded: no episode is running.
            gymnasium.error.InvalidAction: the action is no string.
        """
        episode = self._running()
        if not isinstance(action, str):
            raise InvalidAction(f"actions are strings, got {type(action).__name__}")
        episode.rounds += 1
        outcome = self._act(episode, canonical(action))
        terminated = outcome is not None
        truncated = not terminated and episode.rounds >= self.max_rounds
        episode.success, episode.over = outcome is True, terminated or truncated
        return episode.text, self._pay(episode), terminated, truncated, self._info(episode)

    def render(self) -> str | None:
        """Return the last observation, in the mode ``"ansi"``."""
        return self._episode.text if self._episode and self.render_mode == "ansi" else None

    def snapshot(self) -> Snapshot:
        """Return the exact state, to be restored any number of times, here or in another process.

        Raises:
            gymnasium.error.ResetNeeded: no episode has begun.
        """
        if self._episode is None:
            raise ResetNeeded("call reset() before snapshot(): there is no episode yet")
        rng: Any = self.np_random.bit_generator.state
        world = babyai_world.save(self._world)
        return Snapshot(self.level, world, copy.copy(self._episode), rng, self.np_random_seed)

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Go back to a snapshot and return the observation and info of that moment.

        Raises:
            ValueError: the snapshot is of another level.
        """
        if snapshot.level != self.level:
            raise ValueError(f"the snapshot is of level {snapshot.level!r}, this environment of {self.level!r}")
        babyai_world.load(self._world, snapshot._world)
        self.np_random.bit_generator.state = snapshot._rng
        self._np_random_seed = snapshot._seed
        self._episode = episode = copy.copy(snapshot._episode)
        return episode.text, self._info(episode)

    def _running(self) -> _Episode:
        if self._episode is None or self._episode.over:
            raise ResetNeeded("call reset() before step(): no episode is running")
        return self._episode

    def _act(self, episode: _Episode, action: str) -> bool | None:
        """Carry out an action and say what is seen then; True: success, False: failure, None: the episode goes on."""
        path, outcome = episode.menu.get(action), None
        episode.valid = path is not None or "check" in action
        if "check" in action:
            text = "You can take the following actions: " + ", ".join(episode.menu)
        elif path is None:
            text = refusal(action, look(self._world), self._world.carrying)
        elif not path:
            text = NOTHING_CHANGES
        else:
            outcome = babyai_world.play(self._world, path)
            text = self._look(episode) + _ENDINGS[outcome]
        self._say(episode, text)
        return outcome

    def _look(self, episode: _Episode) -> str:
        view = look(self._world)
        episode.menu = menu(view, self._world.carrying)
        return describe(view, self._world.carrying)

    def _say(self, episode: _Episode, text: str) -> None:
        listed = '\nAvailable actions: ["' + '", "'.join(episode.menu) + '"]' if self.list_actions else ""
        episode.text = text + listed

    def _pay(self, episode: _Episode) -> float:
        if not episode.success or self.reward == "success":
            return float(episode.success)
        taken = min(int(self._world.step_count), episode.limit)
        return 1.0 - 0.9 * taken / episode.limit

    def _info(self, episode: _Episode) -> dict[str, Any]:
        return {
            "task": episode.task,
            "task_id": episode.task_id,
            "actions": [action for action in episode.menu if action != CHECK],
            "valid": episode.valid,
            "success": episode.success,
        }


_ENDINGS = {
    None: "",
    True: "\n The task is completed.",
    False: "\n The task can no longer be completed.",
}
