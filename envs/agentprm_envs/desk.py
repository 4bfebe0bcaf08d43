"""A desk that answers questions with tools, as a text environment: actions are tool calls in JSON, or the answer."""

from __future__ import annotations

import copy
import re
import string
from dataclasses import dataclass
from inspect import signature
from typing import Any

import gymnasium
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Text

from agentprm_envs.desk_tasks import Task, is_right, make_tasks
from agentprm_envs.desk_tools import ToolError, Tools
from agentprm_envs.desk_turns import ANSWER, Answer, Call, parse
from agentprm_envs.desk_words import WORDS, Split
from agentprm_envs.desk_world import folder_of

__all__ = ["TOOLS", "Desk", "Snapshot", "carry_out"]

TOOLS = ("search_files", "read_file", "lookup", "calculate")
_CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation + " \n")
_HOWTO = (
    'Say {"name": <tool>, "arguments": {...}} to call a tool, or "answer: <number>". Tools: '
    "search_files(query), read_file(path), lookup(table, column, value), calculate(expression)."
)
_MOST_LISTED = 16


@dataclass(slots=True)
class _Episode:
    """All that an episode remembers; the world never changes."""

    number: int
    text: str
    rounds: int = 0
    valid: bool = True
    success: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The exact state of a :class:`Desk` within an episode: opaque, unchanging, picklable."""

    split: Split
    world: int
    _episode: _Episode
    _rng: dict[str, Any]
    _seed: int


class Desk(gymnasium.Env[str, str]):
    """Questions about a shop's customers, answered by searching, reading, looking up and calculating.

    Observations and actions are strings: an action is ``{"name": ..., "arguments": {...}}`` or ``answer: ...``, an
    observation what the tool said. Every info has the same keys: ``task``, ``task_id``, ``actions`` (some calls that
    can be made of what is in sight), ``valid`` (whether the last action was a call or an answer) and ``success``.
    The answer ends the episode: 1.0 for the right number, 0.0 for any other.

    Args:
        split: ``"train"`` or ``"test"``; their worlds have no customer, town, product or defect in common.
        world: the seed of the world.
        max_rounds: rounds after which the episode is truncated.
        render_mode: ``"ansi"``, where ``render`` returns the last observation, or None.

    Raises:
        ValueError: an argument is not one of those above.

    >>> env = Desk()
    >>> text, info = env.reset(seed=1)
    >>> env.step('{"name": "calculate", "arguments": {"expression": "2 * 3.5"}}')[0]
    '7'
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  (as Gymnasium declares it)

    def __init__(
        self, split: Split = "train", *, world: int = 0, max_rounds: int = 12, render_mode: str | None = None
    ) -> None:
        if split not in WORDS:
            raise ValueError(f"split is {split!r}: expected one of {tuple(WORDS)}")
        if max_rounds < 1:
            raise ValueError(f"max_rounds is {max_rounds}: an episode has at least one round")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}: expected None or 'ansi'")
        self.split, self.world, self.max_rounds, self.render_mode = split, world, max_rounds, render_mode
        self.observation_space = Text(16_384, min_length=1, charset=_CHARACTERS)
        self.action_space = Text(4_096, min_length=0, charset=_CHARACTERS)
        self._episode: _Episode | None = None

    @property
    def task(self) -> Task:
        """What is asked in this episode."""
        return self._tasks[self._begun().number]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Ask the question of that number (modulo how many there are), or of one drawn from ``np_random``."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(len(self._tasks)))
        number = drawn if seed is None else seed % len(self._tasks)
        self._episode = episode = _Episode(number, f"{self._tasks[number].question}\n{_HOWTO}")
        return episode.text, self._info(episode)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one decision; what is no decision also takes a round.

        Raises:
            gymnasium.error.ResetNeeded: no episode is running.
            gymnasium.error.InvalidAction: the action is no string.
        """
        episode = self._begun()
        if episode.over:
            raise ResetNeeded("call reset() before step(): no episode is running")
        if not isinstance(action, str):
            raise InvalidAction(f"actions are strings, got {type(action).__name__}")
        episode.rounds += 1
        decision = parse(action)
        episode.valid, terminated = decision is not None, isinstance(decision, Answer)
        episode.success = isinstance(decision, Answer) and is_right(self.task, decision.said)
        truncated = not terminated and episode.rounds >= self.max_rounds
        episode.over = terminated or truncated
        episode.text = self._reply(decision)
        return episode.text, float(episode.success), terminated, truncated, self._info(episode)

    def render(self) -> str | None:
        """Return the last observation, in the mode ``"ansi"``."""
        return self._episode.text if self._episode and self.render_mode == "ansi" else None

    def snapshot(self) -> Snapshot:
        """Return the exact state, to be restored any number of times, here or in another process."""
        rng: Any = self.np_random.bit_generator.state
        return Snapshot(self.split, self.world, copy.copy(self._begun()), rng, self.np_random_seed)

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Go back to a snapshot and return the observation and info of that moment.

        Raises:
            ValueError: the snapshot is of another world.
        """
        if (snapshot.split, snapshot.world) != (self.split, self.world):
            theirs, ours = f"{snapshot.split}/{snapshot.world}", f"{self.split}/{self.world}"
            raise ValueError(f"the snapshot is of world {theirs}, this environment of {ours}")
        self.np_random.bit_generator.state = snapshot._rng
        self._np_random_seed = snapshot._seed
        self._episode = episode = copy.copy(snapshot._episode)
        return episode.text, self._info(episode)

    @property
    def _tasks(self) -> tuple[Task, ...]:
        return make_tasks(self.split, self.world)

    def _begun(self) -> _Episode:
        if self._episode is None:
            raise ResetNeeded("call reset() first: there is no episode yet")
        return self._episode

    def _reply(self, decision: Call | Answer | None) -> str:
        if decision is None:
            return f"error: neither a call nor an answer. {_HOWTO}"
        if isinstance(decision, Answer):
            return "The answer is noted."
        said = carry_out(Tools(folder_of(self.split, self.world)), decision)
        return "".join(character if character in _CHARACTERS else "?" for character in said)

    def _info(self, episode: _Episode) -> dict[str, Any]:
        task = self._tasks[episode.number]
        actions = _listed(task.question, episode.text)
        return {
            "task": task.question,
            "task_id": task.key,
            "actions": actions,
            "valid": episode.valid,
            "success": episode.success,
        }


def carry_out(tools: Tools, call: Call) -> str:
    """Return what a tool says; where it refuses, does not exist or takes other arguments, ``error:`` and why."""
    if call.name not in TOOLS:
        return f"error: there is no tool {call.name[:80]!r}: there are {', '.join(TOOLS)}"
    tool = getattr(tools, call.name)
    if set(call.arguments) != set(signature(tool).parameters):
        return f"error: {call.name} takes {', '.join(signature(tool).parameters)}"
    try:
        return str(tool(**call.arguments))
    except ToolError as error:
        return f"error: {error}"


def _listed(question: str, seen: str) -> list[str]:
    """Return some calls that can be made of the words in sight; the right one need not be among them."""
    calls = [Call("search_files", {"query": defect}) for defect in re.findall(r"with the (\w+ \w+)", question)]
    calls += [Call("read_file", {"path": path}) for path in re.findall(r"letters/\d+\.txt", seen)]
    names = re.findall(r"From: ([\w ]+)", seen)
    calls += [Call("lookup", {"table": "customers", "column": "name", "value": name}) for name in names]
    for id in re.findall(r"(?<![\d.])\d{3,4}(?![\d.])", seen):
        column = "customer_id" if len(id) == 3 else "id"
        calls.append(Call("lookup", {"table": "orders", "column": column, "value": id}))
    answers = [f"{ANSWER} {figure}" for figure in re.findall(r"(?<![\w/.])\d+(?:\.\d+)?(?![\w/])", seen)]
    return list(dict.fromkeys([*(call.text for call in calls), *answers]))[:_MOST_LISTED]
