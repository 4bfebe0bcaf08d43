"""The messages of an agent's state as the trajectory that a recorder makes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentprm.record._langchain_choice import choices_of
from agentprm.record._langchain_messages import Said, answer, facts, observation, said, task_text
from agentprm.types import Action, CallStatus, Observation, Step, Task, ToolCall, Trajectory, Value, new_id

__all__ = ["action_of", "history"]


def history(
    messages: Sequence[BaseMessage], *, tools: Collection[str], in_thread: bool, meta: Mapping[str, Value]
) -> Trajectory:
    """Return the run that answers the last human message: what was given, and each turn since.

    `tools` are the names there are: a call of another one never ran. `in_thread` says that earlier questions come from
    the agent's memory, not with this one.

    >>> asked = [HumanMessage("hi"), AIMessage("let me see", tool_calls=[{"name": "f", "args": {}, "id": "1"}])]
    >>> run = history([*asked, ToolMessage("3", tool_call_id="1")], tools=["f"], in_thread=False, meta={})
    >>> run.task.text, run.steps[0].action.plan, run.steps[0].action.tool_calls[0].output
    ('hi', 'let me see', '3')
    """
    begin = _begin(messages)
    given = list(messages[_given_from(messages, begin) if in_thread else 0 : begin])
    run = Trajectory(new_id(), Task(task_text(given)), (), observation(given), meta=meta)
    answers = {m.tool_call_id: m for m in messages[begin:] if isinstance(m, ToolMessage)}
    for message in messages[begin:]:
        if isinstance(message, AIMessage):
            decision = said(message)
            calls = tuple(_answered(call, answers.get(call.id or ""), tools) for call in decision.calls)
            action = Action(decision.text, decision.plan, calls)
            run = run.append(Step(run.last, action, info=facts(decision)), Observation())
    return run


def action_of(decision: Said) -> Action:
    """Return a decision as an action of which nothing has run."""
    return Action(decision.text, decision.plan, tuple(call.asked() for call in decision.calls))


def _begin(messages: Sequence[BaseMessage]) -> int:
    """Return where the turns begin: behind the last human message, else at the first answer."""
    for i in range(len(messages) - 1, -1, -1):
        if isinstance(messages[i], HumanMessage):
            return i + 1
    return next((i for i, message in enumerate(messages) if isinstance(message, AIMessage)), len(messages))


def _given_from(messages: Sequence[BaseMessage], begin: int) -> int:
    """Return where the last question begins: behind what was said before it."""
    for i in range(begin - 1, -1, -1):
        if isinstance(messages[i], (AIMessage, ToolMessage)):
            return i + 1
    return 0


def _answered(call: ToolCall, message: ToolMessage | None, tools: Collection[str]) -> ToolCall:
    if message is None or call.status == "rejected":
        return call
    status: CallStatus = "error" if message.status == "error" else "ok"
    if choices_of(message) or (status == "error" and call.name not in tools):
        status = "rejected"
    return ToolCall(call.name, call.arguments, call.id, answer(message), status, int(status != "rejected"))
