"""A wide and deep network over hashed features (Cheng et al. 2016): torch trains it, NumPy runs it, one memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.scorers._features import Context, extract

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = ["Floats", "Network", "Row", "Size"]

Floats = NDArray[np.float32]
_MOST_FEATURES = 2**26
"""Features that are remembered: 256 MB, or 100,000 steps of a short text."""
_CHUNK = 4096


class Size(NamedTuple):
    """How large a network is."""

    buckets: int = 2**14
    """Rows of the embedding that words and pairs are hashed into."""
    crosses: int = 2**17
    """Weights that crossed features are hashed into."""
    dim: int = 32
    hidden: int = 32


class Row(NamedTuple):
    """The features of one step, as rows of the two tables."""

    deep: NDArray[np.int32]
    wide: NDArray[np.int32]


class Network:
    """One number, a logit, for each context: hidden layers over the deep features, plus a weight for each wide one.

    The arrays and the torch parameters share memory: NumPy always runs what torch has learnt so far.
    """

    def __init__(self, size: Size, arrays: dict[str, Floats]) -> None:
        self.size, self.arrays = size, arrays
        self._parameters: dict[str, Parameter] = {}
        self._rows: dict[Context, Row] = {}
        self._n_features = 0

    @classmethod
    def fresh(cls, size: Size, seed: int) -> Network:
        """Return an untrained network: always the same for the same seed."""
        rng = np.random.default_rng(seed)

        def normal(scale: float, *shape: int) -> Floats:
            return (scale * rng.standard_normal(shape)).astype(np.float32)

        arrays = {name: np.zeros(shape, np.float32) for name, shape in _shapes(size).items()}
        arrays["embedding"] = normal(0.3, size.buckets, size.dim)
        arrays["hidden"] = normal((2 / size.dim) ** 0.5, size.dim, size.hidden)
        arrays["out"] = normal(0.1 / size.hidden**0.5, size.hidden)
        return cls(size, arrays)

    @property
    def version(self) -> tuple[int, bytes]:
        """What changes whenever torch changes the arrays, without reading all of them."""
        # Fused optimisers write past the version counters; none leaves the last layer as it was.
        changes = sum(int(p._version) for p in self._parameters.values())
        return changes, self.arrays["out"].tobytes() + self.arrays["out_bias"].tobytes()

    def digest(self) -> str:
        """Return 128 bits, in hex, that name these weights."""
        state = blake2b(digest_size=16)
        for name in sorted(self.arrays):
            state.update(self.arrays[name].tobytes())
        return state.hexdigest()

    def rows(self, contexts: Iterable[Context]) -> list[Row]:
        """Return the features of each context; each is extracted once and then remembered."""
        return [self._rows.get(context) or self._extracted(context) for context in contexts]

    def _extracted(self, context: Context) -> Row:
        deep, wide = extract(context)
        row = Row(_modulo(deep, self.size.buckets), _modulo(wide, self.size.crosses))
        self._n_features += len(deep) + len(wide)
        if self._n_features > _MOST_FEATURES:
            self._rows.clear()
            self._n_features = len(deep) + len(wide)
        self._rows[context] = row
        return row

    def run(self, contexts: Sequence[Context]) -> NDArray[np.float64]:
        """Return the logit of each context, by NumPy; the same one in whatever company it comes."""
        chunks = [self._run(self.rows(contexts[i : i + _CHUNK])) for i in range(0, len(contexts), _CHUNK)]
        return np.concatenate(chunks) if chunks else np.zeros(0)

    def _run(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        a = self.arrays
        deep = np.maximum(_sums(a["embedding"], [row.deep for row in rows]) + a["embedding_bias"], 0)
        # einsum, because the rounding of a BLAS product depends on how many rows are multiplied at once.
        hidden = np.maximum(np.einsum("nd,dh->nh", deep, a["hidden"].astype(np.float64)) + a["hidden_bias"], 0)
        wide = _sums(a["wide"], [row.wide for row in rows])
        logits: NDArray[np.float64] = np.einsum("nh,h->n", hidden, a["out"].astype(np.float64)) + wide + a["out_bias"]
        return logits

    def parameters(self) -> dict[str, Parameter]:
        """Return the arrays as what an optimiser moves; raises MissingExtra without torch."""
        if not self._parameters:
            torch = _torch()
            self._parameters = {k: torch.nn.Parameter(torch.from_numpy(v)) for k, v in self.arrays.items()}
        return self._parameters

    def forward(self, contexts: Iterable[Context]) -> Tensor:
        """Return the logit of each context, by torch, to learn from."""
        rows, p = self.rows(contexts), self.parameters()
        deep = (_bags(p["embedding"], [row.deep for row in rows]) + p["embedding_bias"]).relu()
        hidden = (deep @ p["hidden"] + p["hidden_bias"]).relu()
        wide = _bags(p["wide"].unsqueeze(1), [row.wide for row in rows]).squeeze(1)
        return hidden @ p["out"] + p["out_bias"] + wide

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors."""
        _safetensors().save_file(self.arrays, path)

    @classmethod
    def load(cls, size: Size, path: Path) -> Network:
        """Return the network of that size that `save` wrote; raises InvalidSpec for anything else."""
        try:
            arrays = _safetensors().load_file(path)
        except MissingExtra:
            raise
        except Exception as error:
            raise InvalidSpec(f"{path} holds no readable weights: {error}") from error
        found = {name: array.shape for name, array in arrays.items()}
        if found != _shapes(size):
            raise InvalidSpec(f"{path} holds {found}, and this model is {_shapes(size)}")
        return cls(size, {name: np.array(array, np.float32) for name, array in arrays.items()})

    def __getstate__(self) -> tuple[Size, dict[str, Floats]]:
        return self.size, self.arrays

    def __setstate__(self, state: tuple[Size, dict[str, Floats]]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def _shapes(size: Size) -> dict[str, tuple[int, ...]]:
    return {
        "embedding": (size.buckets, size.dim),
        "embedding_bias": (size.dim,),
        "hidden": (size.dim, size.hidden),
        "hidden_bias": (size.hidden,),
        "out": (size.hidden,),
        "out_bias": (1,),
        "wide": (size.crosses,),
    }


def _modulo(hashes: NDArray[np.uint64], buckets: int) -> NDArray[np.int32]:
    return (hashes % np.uint64(buckets)).astype(np.int32)


def _sums(table: Floats, bags: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
    """Sum the rows of the table that each bag names, over the root of how many they are."""
    sums = np.empty((len(bags), *table.shape[1:]))
    for i, bag in enumerate(bags):
        sums[i] = np.add.reduce(table.take(bag, axis=0), axis=0) / max(len(bag), 1) ** 0.5
    return sums


def _bags(table: Tensor, bags: Sequence[NDArray[np.int32]]) -> Tensor:
    torch = _torch()
    counts = torch.tensor([len(bag) for bag in bags], dtype=torch.int32)
    offsets = counts.cumsum(0, dtype=torch.int32) - counts
    sums = torch.nn.functional.embedding_bag(torch.from_numpy(np.concatenate(bags)), table, offsets, mode="sum")
    scaled: Tensor = sums / counts.clamp(min=1).sqrt().unsqueeze(1)
    return scaled


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
