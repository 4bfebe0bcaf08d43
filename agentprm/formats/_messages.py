"""Steps as OpenAI chat messages: one assistant message per step, one tool message per call that came back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from agentprm import values
from agentprm.formats._exact import same_json
from agentprm.text.describe import action_text, describe, observation_text
from agentprm.types import Action, Observation, Step, ToolCall, Trajectory, Value

__all__ = [
    "LEFT_OVER", "arguments_text", "call_id", "decision", "left_over", "messages", "opening", "restored", "result",
    "said", "shown",
]  # fmt: skip

LEFT_OVER = "openai"
"""Where a trajectory keeps what messages held and its own fields do not: in `meta`, and in the `info` of a step."""


def messages(trajectory: Trajectory) -> list[dict[str, Any]]:
    """Return a trajectory as a conversation: system, then turn by turn what was seen, decided and returned.

    The task stands before the first observation, unless that says it already.
    """
    kept = trajectory.meta.get(LEFT_OVER)
    made = [*_system(trajectory, kept)]
    for t, step in enumerate(trajectory.steps):
        made += said(opening(trajectory) if t == 0 else step.observation)
        made += _turn(step, t)
    return made + said(trajectory.last if trajectory.steps else opening(trajectory))


def _system(trajectory: Trajectory, kept: Any) -> list[Any]:
    if isinstance(kept, Mapping) and isinstance(kept.get("system"), list):
        return list(kept["system"])
    system = trajectory.meta.get("system")
    return [] if system is None else [{"role": "system", "content": describe(system)}]


def opening(trajectory: Trajectory) -> Observation:
    """Return the first observation, with the task before it unless it says that already."""
    first, task = trajectory.observations[0], trajectory.task.text
    if _is_messages(first.native) or " ".join(task.split()) in " ".join(shown(first).split()):
        return first
    return Observation("\n\n".join(filter(None, (task, shown(first)))), None, first.images)


def _turn(step: Step, t: int) -> Iterator[dict[str, Any]]:
    left = step.info.get(LEFT_OVER)
    left = left if isinstance(left, Mapping) else {}
    yield restored(decision(step.action, t), left.get("message"))
    extras = left.get("results")
    for i, call in enumerate(step.action.tool_calls):
        if call.status != "pending":
            yield restored(result(call, t, i), extras[i] if isinstance(extras, list) and i < len(extras) else None)


def restored(message: dict[str, Any], left: Any) -> dict[str, Any]:
    """Return a message, or a line, with what was left over of the one it was read from."""
    if not isinstance(left, Mapping):
        return message
    has, lacks = left.get("has"), left.get("lacks")
    kept = {k: v for k, v in message.items() if not isinstance(lacks, list) or k not in lacks}
    return kept | (dict(has) if isinstance(has, Mapping) else {})


def left_over(raw: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one ``has`` beyond what is made of our fields, and what of that it ``lacks``; {} for nothing."""
    has = {k: v for k, v in raw.items() if k not in made or not same_json(v, made[k])}
    lacks = [k for k in made if k not in raw]
    return ({"has": has} if has else {}) | ({"lacks": lacks} if lacks else {})


def decision(action: Action, t: int) -> dict[str, Any]:
    """Return step `t` as an assistant message."""
    if not action.tool_calls:
        message = {"role": "assistant", "content": action_text(action)}
        return message | ({"reasoning_content": action.plan} if action.plan else {})
    words = "\n".join(filter(None, (action.plan, action.text))) or None
    return {
        "role": "assistant",
        "content": words,
        "tool_calls": [_called(call, t, i) for i, call in enumerate(action.tool_calls)],
    }


def _called(call: ToolCall, t: int, i: int) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments_text(call.arguments)}
    return {"id": call_id(call, t, i), "type": "function", "function": function}


def call_id(call: ToolCall, t: int, i: int) -> str:
    """Return the id of a call; one made of its place where it has none."""
    return f"call_{t}_{i}" if call.id is None else call.id


def arguments_text(arguments: Value) -> str:
    """Return arguments as a string of JSON; a text, which was no JSON, as it is."""
    return arguments if isinstance(arguments, str) else _json(arguments)


def _json(value: Value) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return values.encode(value)[0]


def result(call: ToolCall, t: int, i: int) -> dict[str, Any]:
    """Return what a call gave back as a tool message."""
    return {"role": "tool", "tool_call_id": call_id(call, t, i), "content": _answer(call.output)}


def _answer(output: Value) -> Any:
    if output is None or isinstance(output, str):
        return output or ""
    if isinstance(output, list) and output and all(isinstance(part, dict) and "type" in part for part in output):
        return output if values.encode(output)[1] == 0 else _json(output)
    return _json(output)


def said(observation: Observation) -> list[dict[str, Any]]:
    """Return an observation as messages: those it was read from, else one of the user; none where nothing was seen."""
    if _is_messages(observation.native):
        return list(observation.native)  # type: ignore[arg-type]
    words = shown(observation)
    if not observation.images:
        return [{"role": "user", "content": words}] if words else []
    text = [{"type": "text", "text": words}] if words else []
    return [{"role": "user", "content": text + [_picture(i.media_type, i.data) for i in observation.images]}]


def _picture(media_type: str, data: bytes) -> dict[str, Any]:
    url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def shown(observation: Observation) -> str:
    """Return the words of an observation."""
    return observation_text(observation)


def _is_messages(native: Value) -> bool:
    if not isinstance(native, list) or not native:
        return False
    return all(isinstance(m, dict) and isinstance(m.get("role"), str) and "content" in m for m in native)
