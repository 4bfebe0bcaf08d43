"""What a middleware tells the model and the user of a turn that it did not let through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage

from agentprm.record._langchain_choice import Choice

__all__ = ["Answer", "farewell", "question", "read_answer", "refusals", "why"]

Answer: TypeAlias = tuple[str, str]
"""``approve``, ``reject`` or ``stop``, and the words that came with it."""


def why(score: float | None, threshold: float | None) -> str:
    """Return the reason, in words.

    >>> why(0.125, 0.3)
    'this turn was scored 0.125, below 0.3'
    """
    return f"this turn was scored {score:.4g}, below {threshold:.4g}" if None not in (score, threshold) else "refused"


def refusals(calls: Iterable[ToolCall], choice: Choice, reason: str) -> list[BaseMessage]:
    """Return an answer to every call: providers reject a history in which one is missing."""
    words = f"Not executed: {reason}."
    return [
        choice.on(ToolMessage(words, tool_call_id=call["id"] or "", name=call["name"], status="error"))
        for call in calls
    ]


def farewell(reason: str) -> AIMessage:
    """Return the last message of a run that ends here."""
    return AIMessage(f"I stopped here: {reason}.", id=f"prm-{uuid4()}")


def question(calls: Iterable[ToolCall], noted: Mapping[str, Any], threshold: float | None) -> dict[str, Any]:
    """Return what a person is asked, as JSON values."""
    return {
        "type": "prm_low_score",
        "score": noted["score"],
        "threshold": threshold,
        "tool_calls": [{"name": c["name"], "args": c["args"], "id": c["id"]} for c in calls],
        "decisions": ["approve", "reject", "stop"],
    }


def read_answer(resumed: Any) -> Answer:
    """Return what a person decided; what is neither an approval nor a stop refuses, and its words go to the model.

    >>> read_answer(True), read_answer({"type": "reject", "message": "too dear"}), read_answer("take the bus")
    (('approve', ''), ('reject', 'too dear'), ('reject', 'take the bus'))
    """
    said, words = resumed, ""
    if isinstance(resumed, Mapping):
        said, words = resumed.get("type"), str(resumed.get("message") or "")
    if said is True or said == "approve":
        return "approve", words
    if said == "stop":
        return "stop", words
    is_bare = said in (False, None, "reject")
    return "reject", words or ("a person refused" if is_bare else str(said))
