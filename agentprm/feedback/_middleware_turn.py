"""One turn under a middleware: which candidates to ask for, what becomes of the best. Nothing here calls a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, ToolCall, ToolMessage

from agentprm.text.describe import action_text
from agentprm.types import Action, Spec

__all__ = ["Candidate", "Decision", "OnLow", "Purse", "Rules", "Turn", "decide"]

OnLow: TypeAlias = Literal["retry", "veto", "stop", "interrupt", "escalate"]
Decision: TypeAlias = Literal["taken", "retried", "escalated", "asked", "vetoed", "stopped"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a middleware does with its candidates."""

    n: int
    threshold: float | None
    on_low: OnLow
    retries: int
    stronger: Any = None

    @property
    def is_plain(self) -> bool:
        """Whether the first answer of the model is the turn, whatever its score."""
        return self.n == 1 and self.threshold is None

    def is_low(self, score: float | None) -> bool:
        """Whether a score is too low; no opinion is not."""
        return None not in (score, self.threshold) and score < self.threshold  # type: ignore[operator]


@dataclass(slots=True)
class Purse:
    """The model calls of a run beyond the one of each turn: how many there may be, and how many were spent."""

    earlier: int
    """Spent by the turns before this one."""
    budget: int | None
    spent: int = 0

    def grant(self, n: int) -> int:
        """Spend up to `n` of them; return how many."""
        granted = n if self.budget is None else max(0, min(n, self.budget - self.earlier - self.spent))
        self.spent += granted
        return granted


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer of a model, and what the scorer says of it."""

    response: ModelResponse[Any]
    action: Action = field(default_factory=Action)
    score: float | None = None
    source: Spec | None = None
    """Whose score it is; None where the scorer failed."""

    @property
    def words(self) -> tuple[str, str]:
        """What it says and does, whatever ids the model gave its calls."""
        return self.action.plan, action_text(self.action)

    @property
    def message(self) -> AIMessage | None:
        """The decision in it."""
        return next((m for m in self.response.result if isinstance(m, AIMessage)), None)

    @property
    def pending(self) -> list[ToolCall]:
        """The calls that would be run; those for structured output are answered already."""
        answered = {m.tool_call_id for m in self.response.result if isinstance(m, ToolMessage)}
        return [c for c in self.message.tool_calls if c["id"] not in answered] if self.message else []


@dataclass(frozen=True, slots=True)
class Turn:
    """What was decided."""

    best: Candidate
    decision: Decision
    offered: tuple[Candidate, ...]


Round: TypeAlias = Generator[list[ModelRequest[Any]], list[Candidate], Turn]


def decide(rules: Rules, purse: Purse, request: ModelRequest[Any], *, n_vetoed: int) -> Round:
    """Yield requests to be answered and scored, take the candidates, and return the turn.

    `n_vetoed` counts the turns just before this one that were vetoed. Only ``escalate`` lets a turn below the threshold
    run its tools; a final answer has none to run, and is given as it is.
    """
    offered = yield [request] * (1 + purse.grant(rules.n - 1))
    best = _best(offered)
    decision: Decision = "taken"
    if rules.is_low(best.score) and rules.on_low in ("retry", "escalate"):
        decision = "retried" if rules.on_low == "retry" else "escalated"
        for another in _further(rules, purse, request, offered):
            offered += yield another
        best = _best(offered)
    if not rules.is_low(best.score) or rules.on_low == "escalate" or not best.pending:
        return Turn(best, decision, tuple(offered))
    return Turn(best, _refusal(rules, purse, n_vetoed), tuple(offered))


def _further(
    rules: Rules, purse: Purse, request: ModelRequest[Any], offered: Sequence[Candidate]
) -> Generator[list[ModelRequest[Any]], None, None]:
    """Yield further requests as long as the best of what was `offered` is low and there is something to spend."""
    rounds, size = (rules.retries, rules.n) if rules.on_low == "retry" else (1, 1)
    again = request if rules.on_low == "retry" else request.override(model=rules.stronger)
    for _ in range(rounds):
        granted = purse.grant(size) if rules.is_low(_best(offered).score) else 0
        if not granted:
            return
        yield [again] * granted


def _refusal(rules: Rules, purse: Purse, n_vetoed: int) -> Decision:
    if rules.on_low == "interrupt":
        return "asked"
    may_veto = rules.on_low == "veto" and n_vetoed < rules.retries
    return "vetoed" if may_veto and purse.grant(1) else "stopped"


def _best(offered: Sequence[Candidate]) -> Candidate:
    """Return the candidate that scores best; of equals the one given most often, then the one given first."""
    times = Counter(candidate.words for candidate in offered)
    return max(offered, key=lambda c: (-math.inf if c.score is None else c.score, times[c.words]))
