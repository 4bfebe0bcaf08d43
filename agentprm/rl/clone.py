"""Behaviour cloning: a softmax policy over the listed actions, from the episodes of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentprm.errors import InvalidTrajectory, MissingExtra, TrainingError
from agentprm.scorers._features import Context, History
from agentprm.scorers._network import Network, Size
from agentprm.text.describe import describe
from agentprm.types import Action, Trajectory, Value

__all__ = ["ClonedPolicy", "clone"]

_Choice = tuple[list[Context], int]
"""The context of each listed action, and which was taken."""


class ClonedPolicy:
    """Draws from ``info["actions"]`` by the softmax of a network over hashed words; `clone` makes one.

    NumPy only. `temperature` flattens the choice: 1 is what was learnt, 0 always the likeliest.
    """

    def __init__(self, network: Network, temperature: float = 1.0, seed: int = 0) -> None:
        if not temperature >= 0:
            raise InvalidTrajectory(f"a temperature is 0 or more, not {temperature}")
        self.network, self.temperature, self.seed = network, temperature, seed
        self._chance = np.random.default_rng(seed)

    def at(self, temperature: float) -> ClonedPolicy:
        """Return the same policy at another temperature."""
        return ClonedPolicy(self.network, temperature, self.seed)

    def seeded(self, seed: int) -> ClonedPolicy:
        """Return the same policy with fresh chance."""
        return ClonedPolicy(self.network, self.temperature, seed)

    def __call__(self, trajectory: Trajectory, info: Mapping[str, Value], /) -> Value:
        """Return the next action; raises InvalidTrajectory where none are listed."""
        listed = _listed(info)
        return listed[int(self._chance.choice(len(listed), p=self._chances(trajectory, listed)))]

    def propose(self, trajectory: Trajectory, info: Mapping[str, Value], n: int, /) -> Sequence[Action]:
        """Return `n` actions drawn with replacement."""
        listed = _listed(info)
        drawn = self._chance.choice(len(listed), size=n, p=self._chances(trajectory, listed))
        return [_action(listed[i]) for i in drawn]

    def probabilities(self, trajectory: Trajectory, info: Mapping[str, Value], /) -> dict[str, float]:
        """Return the chance of each listed action, by its words."""
        listed = _listed(info)
        return dict(zip(map(describe, listed), self._chances(trajectory, listed).tolist(), strict=True))

    def _chances(self, trajectory: Trajectory, listed: Sequence[Value]) -> NDArray[np.float64]:
        history = History.of(trajectory)
        logits = self.network.run([history.look(trajectory.last, _action(native)) for native in listed])
        above = logits - logits.max()
        weights = (above == 0).astype(float) if self.temperature == 0 else np.exp(above / self.temperature)
        chances: NDArray[np.float64] = weights / weights.sum()
        return chances


def clone(
    trajectories: Sequence[Trajectory],
    *,
    seed: int = 0,
    steps: int = 100,
    batch_size: int = 64,
    size: Size | None = None,
) -> ClonedPolicy:
    """Return a policy trained to choose, of the actions listed at each step, the one that was taken.

    `steps` are optimiser steps. What was listed is read from ``step.info["actions"]`` of the step before, at the first
    step from ``meta["info"]`` (the reset info, where recorders keep it); steps without are left out. Raises
    TrainingError when there are none with, MissingExtra without torch.

    >>> from agentprm.testing.trajectories import corridors
    >>> won = [trajectory for trajectory in corridors(60) if trajectory.outcome == 1.0]
    >>> policy = clone(won, steps=30).at(temperature=0.0)
    >>> start = Trajectory(won[0].id, won[0].task, (), won[0].observations[0])
    >>> policy(start, {"actions": ["wait", "go left", "go right"]}) in won[0].task.text.replace("leave by the", "go")
    True
    """
    torch, network = _torch(), Network.fresh(size or Size(), seed)
    choices = [choice for trajectory in trajectories for choice in _choices(trajectory)]
    if not choices:
        raise TrainingError(
            f'no step of {len(trajectories)} trajectories lists "actions" in its info: nothing to clone'
        )
    chance = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(network.parameters().values(), lr=1e-2, weight_decay=1e-2)
    with torch.enable_grad():
        for _ in range(steps):
            batch = [choices[i] for i in chance.integers(len(choices), size=min(batch_size, len(choices)))]
            logits = network.forward(context for contexts, _ in batch for context in contexts)
            chosen = zip(logits.split_with_sizes([len(contexts) for contexts, _ in batch]), batch, strict=True)
            loss = -torch.stack([row.log_softmax(0)[taken] for row, (_, taken) in chosen]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return ClonedPolicy(network, seed=seed)


def _choices(trajectory: Trajectory) -> Iterator[_Choice]:
    history = History(trajectory.task.text)
    infos: list[Mapping[str, Any]] = [trajectory.meta.get("info") or {}, *(step.info for step in trajectory.steps)]
    for step, info in zip(trajectory.steps, infos, strict=False):
        listed = [describe(native) for native in info.get("actions") or ()]
        taken = describe(step.action.native) if step.action.native is not None else step.action.text
        if taken in listed:
            yield [history.look(step.observation, Action(text)) for text in listed], listed.index(taken)
        history.take(step)


def _listed(info: Mapping[str, Value]) -> Sequence[Value]:
    listed: Sequence[Value] = info.get("actions") or ()
    if not len(listed):
        raise InvalidTrajectory('info lists no "actions": a cloned policy chooses among those that are listed')
    return listed


def _action(native: Value) -> Action:
    return Action(native if type(native) is str else "", native=native)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("models", "torch") from error
    return torch
