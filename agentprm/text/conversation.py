"""A trajectory as a conversation in messages, the form that chat templates word.

What is said before a decision, the decision, and what came back of it are blocks, in turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from agentprm.text.describe import action_text, readable_text
from agentprm.text.render import LiveSight, output_text
from agentprm.types import Observation, Step, ToolCall, Trajectory
from agentprm.values import clean_text

__all__ = ["Message", "conversation", "plain"]

Message: TypeAlias = dict[str, Any]


def conversation(trajectory: Trajectory, sees: LiveSight = "action") -> list[list[Message]]:
    r"""Return a trajectory in blocks of messages: what opens it, then by turns a decision and what came back.

    The task and the first observation are one message of the user, each later observation one more; plan and text of a
    decision are the words of the assistant. The block behind the last decision stands there for *result* only.

    >>> from agentprm.testing.trajectories import episode
    >>> blocks = conversation(episode(("a door", "open it"), last="a garden"), "result")
    >>> [[(m["role"], m["content"]) for m in block] for block in blocks]
    [[('user', 'leave the house\n\na door')], [('assistant', 'open it')], [('user', 'a garden')]]
    """
    blocks = [list(_opening(trajectory))]
    for t, (step, following) in enumerate(zip(trajectory.steps, trajectory.observations[1:], strict=True)):
        blocks.append([_decision(step)])
        if sees == "result" or t + 1 < len(trajectory):
            blocks.append(list(_results(step, following)))
    return blocks


def _opening(trajectory: Trajectory) -> Iterator[Message]:
    system = trajectory.meta.get("system")
    if system:
        yield {"role": "system", "content": clean_text(str(system))}
    seen = readable_text(trajectory.observations[0])
    yield {"role": "user", "content": clean_text("\n\n".join(filter(None, (trajectory.task.text, seen))))}


def _decision(step: Step) -> Message:
    action = step.action
    said = action.text if action.tool_calls else action_text(action)
    message: Message = {"role": "assistant", "content": clean_text("\n".join(filter(None, (action.plan, said))))}
    if action.tool_calls:
        message["tool_calls"] = [_asked(call) for call in action.tool_calls]
    return message


def _asked(call: ToolCall) -> Message:
    function = {"name": clean_text(call.name), "arguments": plain(call.arguments)}
    return {"type": "function", "id": call.id or "", "function": function}


def _results(step: Step, following: Observation) -> Iterator[Message]:
    answered = [call for call in step.action.tool_calls if call.status != "pending"]
    for call in answered:
        said = clean_text(output_text(call))
        yield {"role": "tool", "name": clean_text(call.name), "tool_call_id": call.id or "", "content": said}
    seen = clean_text(readable_text(following))
    if seen or not answered:
        yield {"role": "user", "content": seen}


def plain(value: Any) -> Any:
    """Return a value as JSON knows it; what it does not know becomes text."""
    try:
        return json.loads(clean_text(json.dumps(value, ensure_ascii=False, default=str)))
    except (TypeError, ValueError):
        return clean_text(str(value))
