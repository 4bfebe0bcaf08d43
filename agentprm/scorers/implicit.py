"""What a step adds, read off a language model that was taught nothing but outcomes."""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from agentprm.errors import InvalidSpec, TrainingError
from agentprm.ops.losses import soft_cross_entropy
from agentprm.scorers._identity import assert_train_serve_identity
from agentprm.scorers._labels import value_labels
from agentprm.scorers._language import LanguageScorer
from agentprm.scorers._outputs import as_embedded, pretrained_with_output
from agentprm.scorers._reader import Reader
from agentprm.scorers._tokenizers import tokenizer_of
from agentprm.spec import register
from agentprm.text.windows import Window, remarks
from agentprm.types import Scores, Trajectory

# After our own modules, which name the missing extra.
import torch  # isort: skip
from torch import Tensor, nn  # isort: skip

__all__ = ["Implicit"]

_MOST_STATES = 2_048
"""Whose chances of every token are held at once."""


@register("implicit")
@dataclass(frozen=True, eq=False)
class Implicit(LanguageScorer):
    """β times the log-ratio of a model to its reference, over what the agent itself wrote (Yuan et al. 2024; PRIME).

    r_t = β Σ log π(token) / π_ref(token) over the tokens of decision t: plan, action, calls, and the marker that ends
    the step. What the task, observations and tools say is read, and never counted. The sum up to step t is a part of
    the scores, ``value``: a log-odds of success, σ of which is the chance. It learns by cross entropy of σ(Σ r) with
    the outcome, the label of each last labelled step, and needs no labels of steps. `token_rewards` gives r per token.

    The reference is a copy of the model as it was given, and does not learn. It doubles memory and time, and there is
    no prefix cache: a live turn reads its episode anew. Everything else is as in `PromiseProgress`. Raises InvalidSpec
    for a β that is not above 0 or a sight other than *action*.

    >>> from agentprm.testing.trajectories import episode
    >>> from agentprm.text.tokens import train_tokenizer
    >>> model = Implicit.tiny(train_tokenizer(["open the door"], vocab_size=280))
    >>> model([episode(("a door", "open it"), ("a wall", ""))])[0].values
    (0.0, None)
    """

    beta: float = 0.05
    """The scale of rewards: Yuan et al. train with 0.05."""
    name: ClassVar[str] = "implicit"
    unit: ClassVar[Literal["reward"]] = "reward"

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.sees != "action":
            raise InvalidSpec(f"beta={self.beta} is above 0, and sees={self.sees!r} is 'action': it reads decisions")
        super().__post_init__()

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, tokenizer: Any = None, *, dtype: str = "float32", **options: Any
    ) -> Self:
        """Return a model around a pretrained language model, which is its own reference at first."""
        where = str(path_or_name)
        backbone, rows = pretrained_with_output(where, dtype)
        model = cls(backbone, tokenizer_of(where, tokenizer), **options)
        with torch.no_grad():
            for output in (model._ratio.output, model._ratio.reference.head):
                output.weight[: len(rows)] = rows
        assert_train_serve_identity(model)
        return model

    def make_head(self) -> nn.Module:
        """Return an output layer, and a copy of backbone and output layer that does not learn."""
        return _Ratio(as_embedded(self.backbone), copy.deepcopy(self.backbone))

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return the reward of each step; None, with a note, where it cannot be read."""
        spec, scores = self.spec, []
        for trajectory in trajectories:
            pieces, notes = self.read(trajectory)
            rewards = self._rewards(pieces, notes)
            # A step that was not read adds nothing, and what stood before it stands after it.
            promise = accumulate(0.0 if r is None else r for r in rewards)
            values = tuple(None if r is None else v for r, v in zip(rewards, promise, strict=True))
            said_of = remarks(pieces, notes)
            scores.append(
                Scores(trajectory.id, spec, self.unit, tuple(rewards), 0, {"value": values}, said_of, self.sees)
            )
        return scores

    def token_rewards(self, trajectory: Trajectory) -> list[list[float] | None]:
        """Return r of each token of each decision; None for a step that cannot be read."""
        pieces, notes = self.read(trajectory)
        found: list[list[float] | None] = [None] * len(trajectory)
        with torch.no_grad():
            for window, ratios in zip(pieces, self._log_ratios(pieces), strict=True):
                for t, part in zip(window.steps, ratios, strict=True):
                    found[t] = (self.beta * part).tolist() if notes[t] is None else None
        return found

    def loss(self, batch: Sequence[tuple[Trajectory, Scores]], /) -> Tensor:
        """Return the mean cross entropy of σ(Σ r) with the outcomes; a trajectory without a label teaches nothing.

        Raises TrainingError where a trajectory with a label has nothing to read, or none has a label.
        """
        logits, outcomes = [], []
        for trajectory, scores in batch:
            labels = [v for v in value_labels(trajectory, scores, self.name) if v is not None]
            if labels:
                logits.append(self._total(trajectory))
                outcomes.append(labels[-1])
        if not logits:
            raise TrainingError("no trajectory of this batch has an outcome: leave such trajectories out")
        said = torch.stack(logits)
        return soft_cross_entropy(said, said.new_tensor(outcomes))

    def _total(self, trajectory: Trajectory) -> Tensor:
        pieces, notes = self.read(trajectory)
        parts = [
            part
            for window, ratios in zip(pieces, self._log_ratios(pieces), strict=True)
            for t, part in zip(window.steps, ratios, strict=True)
            if notes[t] is None
        ]
        if not parts:
            raise TrainingError(f"trajectory {trajectory.id} has an outcome, and no step that can be read")
        return self.beta * torch.cat(parts).sum()

    def _rewards(self, pieces: Sequence[Window], notes: Sequence[str | None]) -> list[float | None]:
        found: list[float | None] = [None] * len(notes)
        with torch.no_grad():
            for window, ratios in zip(pieces, self._log_ratios(pieces), strict=True):
                for t, part in zip(window.steps, ratios, strict=True):
                    found[t] = float(self.beta * part.sum()) if notes[t] is None else None
        return found

    def _log_ratios(self, pieces: Sequence[Window]) -> Iterator[list[Tensor]]:
        """Yield, for each window, log π/π_ref of the tokens of each decision."""
        before = [_before(window) for window in pieces]
        policy = self.reader.states(before).float()
        with torch.no_grad():
            reference = self._ratio.reference.states(before).float()
        ids = [window.ids[i + 1] for window, b in zip(pieces, before, strict=True) for i in b.ends]
        ratios = self._ratio(policy, reference, torch.tensor(ids, device=policy.device))
        start = 0
        for window in pieces:
            lengths = [end - begin for begin, end in zip(window.begins, window.ends, strict=True)]
            yield list(torch.split(ratios[start : start + sum(lengths)], lengths))
            start += sum(lengths)

    @property
    def _ratio(self) -> Any:
        return self.reader.head


def _before(window: Window) -> Window:
    """Return the window read just before each token of its decisions, the marker that opens one left out."""
    places = [i for begin, end in zip(window.begins, window.ends, strict=True) for i in range(begin, end)]
    return Window(array("i", window.ids), tuple(places), window.first)


class _Ratio(nn.Module):
    """An output layer, and a frozen reader beside it, whose head is the output layer as it was."""

    def __init__(self, output: nn.Linear, backbone: Any) -> None:
        super().__init__()
        self.output = output
        self.reference = Reader(backbone, copy.deepcopy(output))
        self.reference.requires_grad_(False)

    def forward(self, policy: Tensor, reference: Tensor | None = None, ids: Tensor | None = None) -> Tensor:
        """Return log π/π_ref of `ids`; of states alone, the log of the sum over all tokens: a probe of the weights."""
        if reference is None or ids is None:
            return self.output(policy).logsumexp(-1, keepdim=True)  # type: ignore[no-any-return]
        old = self.reference.head
        return _log_chances(self.output, policy, ids) - _log_chances(old, reference, ids)


def _log_chances(output: nn.Module, states: Tensor, ids: Tensor) -> Tensor:
    """Return log softmax of the logits at `ids`: shape (tokens,)."""
    pieces = [torch.empty(0, device=states.device)]
    for start in range(0, len(ids), _MOST_STATES):
        logits, wanted = output(states[start : start + _MOST_STATES]), ids[start : start + _MOST_STATES]
        pieces.append(logits.gather(-1, wanted[:, None])[:, 0] - logits.logsumexp(-1))
    return torch.cat(pieces)
