"""What a scorer says of the candidates of one turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentprm.errors import InvalidScores
from agentprm.feedback._middleware_calls import Response
from agentprm.feedback._middleware_turn import Candidate
from agentprm.feedback.judge import require_in_range
from agentprm.record._langchain_failures import Failures
from agentprm.record._langchain_history import action_of, history
from agentprm.record._langchain_messages import said
from agentprm.record._langchain_prompt import prompt
from agentprm.types import Action, ActionScorer, Scores, Spec, Step, Trajectory, Value

__all__ = ["Rating"]


class Rating:
    """A scorer that is asked once per round, about all different candidates at once; its errors are only counted."""

    def __init__(self, scorer: ActionScorer, failures: Failures) -> None:
        self.scorer, self._failures = scorer, failures

    def __call__(self, request: ModelRequest[Any], responses: Sequence[Response]) -> list[Candidate]:
        """Return the candidates with their scores; without any where the scorer failed."""
        bare = [Candidate(response) for response in responses]
        if not bare:
            return bare
        return self._failures.attempt("score", self._rated, request, bare) or bare

    def _rated(self, request: ModelRequest[Any], bare: Sequence[Candidate]) -> list[Candidate]:
        acting = [Candidate(c.response, action_of(said(c.message)) if c.message else Action()) for c in bare]
        kinds = {candidate.words: candidate.action for candidate in acting}
        scores = dict(zip(kinds, self._scores(_so_far(request), list(kinds.values())), strict=True))
        return [Candidate(c.response, c.action, *scores[c.words]) for c in acting]

    def _scores(self, so_far: Trajectory, actions: Sequence[Action]) -> list[tuple[float | None, Spec]]:
        index = len(so_far)
        taken = [so_far.append(Step(so_far.last, action), so_far.last) for action in actions]
        scored = self.scorer([one.seen(index, "action") for one in taken])
        if len(scored) != len(actions):
            raise InvalidScores(
                f"{self.scorer.spec.name} gave {len(scored)} scores for {len(actions)} trajectories: one each is needed"
            )
        return [_at(scores, index) for scores in scored]


def _at(scores: Scores, index: int) -> tuple[float | None, Spec]:
    if not scores.start <= index < scores.start + len(scores):
        raise InvalidScores(f"{scores.source.name} gave no score for step {index}: every step needs one, or None")
    value = scores.values[index - scores.start]
    require_in_range(value, scores, index)
    scores.source.to_json()  # it goes into the agent's state: refuse here what no checkpointer could keep
    return value, scores.source


def _so_far(request: ModelRequest[Any]) -> Trajectory:
    """Return the run up to this turn, as it is recorded."""
    schemas = [tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools]
    names = {str(_name(tool)) for tool in request.tools}
    first = [request.system_message] if request.system_message else []
    meta = prompt([*first, *request.messages], schemas)
    execution = getattr(request.runtime, "execution_info", None)
    in_thread = getattr(execution, "thread_id", None) is not None
    return history(request.state["messages"], tools=names, in_thread=in_thread, meta=meta)


def _name(tool: Any) -> Value:
    return tool.get("name") if isinstance(tool, Mapping) else tool.name
