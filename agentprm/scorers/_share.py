"""Several processes read a batch together: each its share of the windows, and all of them what all have said.

Every process then computes the whole loss. Of that, its own share alone has a gradient, so that the gradients of all
processes add up to that of one process with the whole batch, whatever the loss is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from agentprm.errors import MissingExtra
from agentprm.text.windows import Window

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["Share", "shared", "sharing"]

_now: list[Share] = []


@dataclass
class Share:
    """The part of one process."""

    index: int
    n: int
    gather: Callable[[Tensor, Sequence[int]], list[Tensor]]
    """Returns what every process has said; takes what this one has, and how many rows each has."""
    was_used: bool = False
    """Whether anything was read by shares; a model that never does computes everything in every process."""

    def read(self, windows: Sequence[Window], run: Callable[[Sequence[Window]], Tensor]) -> Tensor:
        """Return what `run` makes of all windows, in order; with a gradient where this process has read them."""
        self.was_used = True
        parts = _split([len(window.ids) for window in windows], self.n)
        own = run([windows[i] for i in parts[self.index]])
        sizes = [sum(len(windows[i].ends) for i in part) for part in parts]
        said = self.gather(own.detach(), sizes)
        said[self.index] = own
        return torch.cat(said)


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Let windows be read by shares meanwhile; None reads them as always."""
    if share is None:
        yield
        return
    _now.append(share)
    try:
        yield
    finally:
        _now.pop()


def shared(windows: Sequence[Window], run: Callable[[Sequence[Window]], Tensor]) -> Tensor:
    """Return what `run` makes of windows, by shares if it is time for that."""
    return _now[-1].read(windows, run) if _now else run(windows)


def _split(lengths: Sequence[int], n: int) -> list[range]:
    """Return neighbouring positions for each of `n`: about as many tokens for each, and kin beside each other.

    >>> [list(part) for part in _split([3, 1, 1, 1, 4], 2)]
    [[0, 1, 2], [3, 4]]
    """
    reached = [0, *accumulate(lengths)]
    whole: Any = reached[-1] or 1
    # A window belongs where its middle lies.
    owners = [min(int((reached[i] + reached[i + 1]) / 2 * n / whole), n - 1) for i in range(len(lengths))]
    starts = [sum(owner < k for owner in owners) for k in range(n + 1)]
    return [range(starts[k], starts[k + 1]) for k in range(n)]
