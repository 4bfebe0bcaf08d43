"""What a middleware notes on a message it lets through: how it was chosen, among which candidates and scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentprm.types import Scores, Spec, Unit

__all__ = ["Choice", "choices_of", "scores_of"]

KEY = "prm"
"""Of ``message.response_metadata``, which no provider is sent."""
M = TypeVar("M", AIMessage, ToolMessage)


@dataclass(frozen=True, slots=True)
class Choice:
    """One turn as a middleware saw it.

    >>> noted = Choice("guard", "taken", 1, 0.75, (0.25, 0.75), Spec("constant"), "value").on(AIMessage("Lima"))
    >>> choices_of(noted)["guard"]["candidates"]
    [0.25, 0.75]
    """

    by: str
    """The name of the middleware."""
    decision: str
    """``taken``, ``retried``, ``escalated``, ``asked``, ``vetoed`` or ``stopped``."""
    extra_calls: int = 0
    """Of models, beyond the one that the turn takes anyway."""
    score: float | None = None
    candidates: tuple[float | None, ...] = ()
    """The score of each, in the order in which they were given."""
    scorer: Spec | None = None
    """None where it had nothing to say."""
    unit: Unit | None = None

    def on(self, message: M) -> M:
        """Return a copy of the message that says so, beside what other middleware said."""
        noted = {**choices_of(message), self.by: self.plain()}
        return message.model_copy(update={"response_metadata": {**message.response_metadata, KEY: noted}})

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values, which any checkpointer takes; raises InvalidSpec for a recipe that is none."""
        said = {"decision": self.decision, "extra_calls": self.extra_calls, "score": self.score}
        said |= {"candidates": list(self.candidates), "unit": self.unit}
        return {**said, "scorer": json.loads(self.scorer.to_json()) if self.scorer else None}


def choices_of(message: BaseMessage) -> Mapping[str, Mapping[str, Any]]:
    """Return what was noted on a message, by the name of the middleware."""
    noted = message.response_metadata.get(KEY)
    return {by: said for by, said in noted.items() if isinstance(said, Mapping)} if isinstance(noted, Mapping) else {}


def scores_of(choices: Mapping[str, Mapping[str, Any]], trajectory_id: UUID, index: int) -> Iterator[Scores]:
    """Yield the scores that were noted, one per scorer, as scores of this step."""
    found: dict[Spec, Scores] = {}
    for said in choices.values():
        if (scorer := said.get("scorer")) is not None:
            spec, candidates = Spec(scorer["name"], scorer["params"]), said.get("candidates") or ()
            note = (_note(said["decision"], candidates),) if len(candidates) > 1 else ()
            found[spec] = Scores(trajectory_id, spec, said["unit"], (said["score"],), index, {}, note, "action")
    yield from found.values()


def _note(decision: str, candidates: Sequence[float | None]) -> str:
    told = ", ".join("none" if score is None else f"{score:.4g}" for score in candidates)
    return f"{decision}: best of {len(candidates)} ({told})"
