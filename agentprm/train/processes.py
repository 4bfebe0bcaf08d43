"""Processes that train one model together, one on each device: started by ``accelerate launch`` or ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentprm.errors import MissingExtra, TrainingError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = ["Processes"]


@dataclass(frozen=True)
class Processes:
    """How many there are, which of them this one is, and what they say to each other.

    >>> Processes.here()
    Processes(n=1, index=0)
    """

    n: int = 1
    index: int = 0
    device: Any = field(default=None, repr=False)

    @classmethod
    def here(cls) -> Processes:
        """Return those that this process was started among; it alone where nobody started several.

        Raises MissingExtra where there are several, and no accelerate.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        try:
            import torch
            from accelerate import PartialState
        except ImportError as error:
            raise MissingExtra("models", "accelerate") from error
        asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        state = PartialState(cpu=asked or not torch.cuda.is_available())
        return cls(state.num_processes, state.process_index, state.device)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that saves, prints and draws bars."""
        return self.index == 0

    def require_same(self, what: str) -> None:
        """Return if all were given the same; raises TrainingError, in all of them, otherwise."""
        if self.n == 1:
            return
        import torch.distributed as dist

        said: list[Any] = [None] * self.n
        dist.all_gather_object(said, what)
        if len(set(said)) > 1:
            raise TrainingError(
                f"{self.n} processes train together, and were given different trajectories or labels: read them in the "
                "same order, and draw by the same seed"
            )

    def copy_first(self, parameters: Sequence[Parameter]) -> None:
        """Give all the weights of the first."""
        if self.n == 1:
            return
        import torch
        import torch.distributed as dist

        with torch.no_grad():
            for parameter in parameters:
                # A model that stays on the CPU goes by way of the device that this process speaks through.
                sent = parameter.detach().to(self.device)
                dist.broadcast(sent, src=0)
                parameter.copy_(sent)

    @contextmanager
    def reading(self, parameters: Sequence[Parameter] = ()) -> Iterator[None]:
        """Let a model read by shares meanwhile; the gradients of `parameters` are then those of the whole batch."""
        if self.n == 1:
            yield
            return
        from agentprm.scorers._share import Share, sharing

        share = Share(self.index, self.n, self._gather)
        with sharing(share):
            yield
        if share.was_used and parameters:
            self._add_gradients(parameters)

    def _add_gradients(self, parameters: Sequence[Parameter]) -> None:
        import torch
        import torch.distributed as dist

        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def _gather(self, own: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Return the rows of every process; each sends as many as the longest has."""
        import torch.distributed as dist

        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        said = [padded.new_empty(padded.shape) for _ in sizes]
        dist.all_gather(said, padded)
        return [rows[:size] for rows, size in zip(said, sizes, strict=True)]
