"""What a model reads while an episode goes on is what it read in training: checked, not assumed."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from agentprm.errors import SightError, TokenMismatch
from agentprm.scorers._reader import Reader
from agentprm.text.render import LiveSight, samples
from agentprm.text.windows import Window
from agentprm.types import Trajectory

__all__ = ["assert_probe", "assert_train_serve_identity", "probe"]


_ROUNDING = 1e-4
"""Of the largest number; the passes compared have the same shape, so that most backbones differ by nothing."""


class Reads(Protocol):
    """A model that reads trajectories in windows."""

    @property
    def sees(self) -> LiveSight: ...
    @property
    def template(self) -> Any: ...
    @property
    def reader(self) -> Reader: ...
    def read(self, trajectory: Trajectory) -> tuple[list[Window], list[str | None]]: ...


def assert_train_serve_identity(model: Reads) -> None:
    """Check that a model reads the same of a step whether it sees it live or in the finished episode.

    On sample trajectories with tool calls, odd characters and texts that spell markers: the ids up to each step must be
    equal, and what the backbone makes of them must not depend on what follows. Raises TokenMismatch or SightError.
    """
    trained: list[Window] = []
    for trajectory in samples(model.template):
        whole = _upto_each_step(model.read(trajectory)[0])
        for t, window in whole.items():
            live = _upto_each_step(model.read(trajectory.seen(t, model.sees))[0]).get(t)
            if live != window:
                raise TokenMismatch(f"step {t} of sample {trajectory.id} has other tokens live than in training")
        trained += model.read(trajectory)[0]
    _require_causal(model.reader, trained)


def _upto_each_step(windows: Sequence[Window]) -> dict[int, Window]:
    """Return, for each step, its window cut off where it ends."""
    return {
        t: Window(window.ids[: end + 1], (end,), t, window.dropped)
        for window in windows
        for t, end in zip(window.steps, window.ends, strict=True)
    }


def _require_causal(reader: Reader, windows: Sequence[Window]) -> None:
    """Raise SightError if what comes after a step changes what the backbone makes of it."""
    first = [Window(window.ids, window.ends[:1], window.first) for window in windows]
    other = [Window(_with_other_end(w.ids, w.ends[0]), w.ends, w.first) for w in first]
    with torch.no_grad():
        one, two = reader.states(first), reader.states(other)
    if not one.numel():
        return
    if (apart := float((one - two).abs().max())) > _ROUNDING * float(one.abs().max()):
        raise SightError(
            f"this backbone looks ahead: what it makes of a step differs by {apart:.2g} once other steps follow; a "
            "step-reward model needs a causal one"
        )


def _with_other_end(ids: array[int], end: int) -> array[int]:
    return ids[: end + 1] + ids[:1] * (len(ids) - end - 1)


def probe(model: Reads) -> dict[str, Any]:
    """Return what a model reads in the samples, as a digest of ids, and what it says of them."""
    windows = [window for trajectory in samples(model.template) for window in model.read(trajectory)[0]]
    ids = hashlib.blake2b(json.dumps([window.ids.tolist() for window in windows]).encode(), digest_size=16).hexdigest()
    with torch.no_grad():
        values = [round(value, 6) for value in model.reader(windows).flatten().tolist()]
    return {"ids": ids, "values": values}


def assert_probe(model: Reads, recorded: Mapping[str, Any]) -> None:
    """Check that a loaded model reads and says what it did when it was saved.

    Raises TokenMismatch otherwise: the tokenizers or transformers installed now work differently from those then.
    """
    now = probe(model)
    if now["ids"] != recorded["ids"]:
        raise TokenMismatch("the sample trajectories have other tokens than when this model was saved")
    half = next(model.reader.backbone.parameters()).dtype != torch.float32
    apart = max((abs(a - b) for a, b in zip(now["values"], recorded["values"], strict=True)), default=0.0)
    if apart > (0.05 if half else 1e-3):
        raise TokenMismatch(f"this model now scores samples {apart:.2g} away from when it was saved")
