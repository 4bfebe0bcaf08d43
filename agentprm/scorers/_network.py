"""A wide and deep network over hashed features (Cheng et al. 2016): trained by torch, run by NumPy, one memory."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentprm.errors import InvalidSpec, MissingExtra

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = ["Network", "Row"]

Floats = NDArray[np.float32]


class Row(NamedTuple):
    """The features of one step, as rows of the two tables."""

    deep: NDArray[np.int64]
    wide: NDArray[np.int64]


class Network:
    """One number, a logit, for each row: a hidden layer over the deep features, plus a weight for each wide one.

    The arrays and the torch parameters are the same memory: NumPy always runs what torch has learnt so far.
    """

    __slots__ = ("_parameters", "arrays")

    def __init__(self, arrays: dict[str, Floats]) -> None:
        self.arrays = arrays
        self._parameters: dict[str, Parameter] = {}

    @classmethod
    def fresh(cls, buckets: int, crosses: int, dim: int, hidden: int, seed: int) -> Network:
        """Return an untrained network: the same one for the same seed, whatever else draws numbers."""
        rng = np.random.default_rng(seed)

        def normal(scale: float, *shape: int) -> Floats:
            return (scale * rng.standard_normal(shape)).astype(np.float32)

        return cls(
            {
                "embedding": normal(0.3, buckets, dim),
                "embedding_bias": np.zeros(dim, np.float32),
                "hidden": normal(np.sqrt(2 / dim), dim, hidden),
                "hidden_bias": np.zeros(hidden, np.float32),
                "out": normal(np.sqrt(1 / hidden) / 10, hidden),
                "out_bias": np.zeros(1, np.float32),
                "wide": np.zeros(crosses, np.float32),
            }
        )

    @property
    def version(self) -> int:
        """How often torch changed the arrays since they were made."""
        return sum(int(p._version) for p in self._parameters.values())

    def digest(self) -> str:
        """Return 128 bits, in hex, that name these weights."""
        state = blake2b(digest_size=16)
        for name in sorted(self.arrays):
            state.update(np.ascontiguousarray(self.arrays[name]).tobytes())
        return state.hexdigest()

    def run(self, rows: Sequence[Row]) -> Floats:
        """Return the logit of each row, by NumPy."""
        a = self.arrays
        deep = _sums(a["embedding"], [row.deep for row in rows])
        hidden = np.maximum(deep + a["embedding_bias"], 0)
        hidden = np.maximum(hidden @ a["hidden"] + a["hidden_bias"], 0)
        wide = _sums(a["wide"][:, None], [row.wide for row in rows])[:, 0]
        logits: Floats = hidden @ a["out"] + a["out_bias"] + wide
        return logits

    def parameters(self) -> dict[str, Parameter]:
        """Return the arrays as what an optimiser moves; raises MissingExtra without torch."""
        if not self._parameters:
            torch = _torch()
            for name, array in self.arrays.items():
                self._parameters[name] = torch.nn.Parameter(torch.from_numpy(array))
        return self._parameters

    def forward(self, rows: Sequence[Row]) -> Tensor:
        """Return the logit of each row, by torch, to learn from."""
        p = self.parameters()
        deep = _bag(p["embedding"], [row.deep for row in rows])
        hidden = (deep + p["embedding_bias"]).relu()
        hidden = (hidden @ p["hidden"] + p["hidden_bias"]).relu()
        wide = _bag(p["wide"].unsqueeze(1), [row.wide for row in rows]).squeeze(1)
        return hidden @ p["out"] + p["out_bias"] + wide

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors."""
        _safetensors().save_file({k: np.ascontiguousarray(v) for k, v in self.arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> Network:
        """Read what `save` wrote; raises InvalidSpec for anything else."""
        names = set(cls.fresh(1, 1, 1, 1, 0).arrays)
        try:
            arrays = _safetensors().load_file(path)
        except Exception as error:
            raise InvalidSpec(f"{path} holds no readable weights: {error}") from error
        if set(arrays) != names:
            raise InvalidSpec(f"{path} holds {sorted(arrays)}, not the arrays of a hashed model: {sorted(names)}")
        return cls({k: np.array(v, np.float32) for k, v in arrays.items()})

    def __getstate__(self) -> dict[str, Floats]:
        return self.arrays

    def __setstate__(self, arrays: dict[str, Floats]) -> None:
        self.arrays, self._parameters = arrays, {}


def _sums(table: Floats, rows: Sequence[NDArray[np.int64]]) -> Floats:
    """Sum the table's rows that each item names, divided by the root of how many they are."""
    counts = np.array([len(row) for row in rows])
    sums = np.zeros((len(rows), table.shape[1]), np.float32)
    for i, row in enumerate(rows):
        sums[i] = table[row].sum(0)
    return sums / np.sqrt(np.maximum(counts, 1), dtype=np.float32)[:, None]


def _bag(table: Tensor, rows: Sequence[NDArray[np.int64]]) -> Tensor:
    torch = _torch()
    counts = torch.tensor([len(row) for row in rows])
    offsets = counts.cumsum(0) - counts
    bags = torch.nn.functional.embedding_bag(torch.from_numpy(np.concatenate(rows)), table, offsets, mode="sum")
    return bags / counts.clamp(min=1).sqrt().unsqueeze(1)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("models", "torch") from error
    return torch


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtra("models", "safetensors") from error
    return safetensors.numpy
