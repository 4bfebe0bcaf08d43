"""The other handlers of a run, who are told of its scores as LangChain's custom events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.callbacks.manager import handle_event
from langchain_core.runnables.config import ensure_config

from agentprm.types import Scores

__all__ = ["EVENT", "Listeners", "as_event"]

EVENT = "prm_score"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who listens to a root run."""

    run_id: UUID
    handlers: tuple[BaseCallbackHandler, ...]

    @classmethod
    def of(cls, run_id: UUID) -> Listeners:
        """Return those of the run that this is called in; nobody where LangChain does not say."""
        return cls(run_id, tuple(getattr(ensure_config().get("callbacks"), "handlers", ())))

    def tell(self, scores: Scores) -> None:
        """Send a score to all who take custom events."""
        if self.handlers:
            data = {"run_id": str(self.run_id), **as_event(scores)}
            handle_event(list(self.handlers), "on_custom_event", "ignore_custom_event", EVENT, data, run_id=self.run_id)


def as_event(scores: Scores) -> dict[str, Any]:
    """Return the score of one step as JSON values.

    >>> from agentprm.types import Spec, new_id
    >>> as_event(Scores(new_id(), Spec("judge"), "value", (0.5,), 2, sees="action"))["score"]
    0.5
    """
    return {
        "trajectory_id": str(scores.trajectory_id),
        "step": scores.start,
        "score": scores.values[0],
        "unit": scores.unit,
        "scorer": scores.source.name,
        "sees": scores.sees,
        "parts": {name: values[0] for name, values in scores.parts.items()},
        "note": scores.notes[0] if scores.notes else None,
    }
