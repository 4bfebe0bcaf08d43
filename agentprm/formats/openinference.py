"""Traces for OpenTelemetry's collectors: OTLP in JSON, one trace per line, with OpenInference's and GenAI's attributes.

An AGENT span per trajectory, in it an LLM span per step and a TOOL span per call; an agent inside of a tool is in the
trace of the agent that called it. A score is an annotation of its step's LLM span, and an event
``gen_ai.evaluation.result``; the outcome is one of the AGENT span. Steps have no clocks of their own: their spans share
out the time between beginning and end. An LLM span shows as input what is new since the one before. Write only: a trace
does not hold what a trajectory does; use `jsonl` or `openai_messages` to get things back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agentprm import values
from agentprm.formats._messages import arguments_text, call_id, decision, opening, said
from agentprm.formats._source import Item
from agentprm.formats._target import Target, paired, writing
from agentprm.text.describe import action_text, describe, observation_text
from agentprm.types import Scores, ToolCall, Trajectory

__all__ = ["write"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2
_FAILED = ("failed", "aborted")
_LARGEST_INT = 2**63


def write(target: Target, items: Iterable[Item]) -> int:
    """Write each trajectory as a trace, its scores as annotations and events; return how many.

    >>> import io, json
    >>> from agentprm.testing.trajectories import episode
    >>> file = io.BytesIO()
    >>> write(file, [episode(("a door", "open it"))])
    1
    >>> scope = json.loads(file.getvalue())["resourceSpans"][0]["scopeSpans"][0]
    >>> [span["name"] for span in scope["spans"]]
    ['invoke_agent', 'chat']
    """
    n, traces = 0, dict[UUID, UUID]()
    with writing(target) as put:
        for trajectory, scores in paired(items):
            parent = trajectory.parent
            trace = trajectory.id if parent is None else traces.get(parent.trajectory_id, parent.trajectory_id)
            if parent is not None:
                traces[trajectory.id] = trace
            put(_request(list(_spans(trajectory, scores, trace.hex))))
            n += 1
    return n


def _request(spans: list[Any]) -> dict[str, Any]:
    resource = {"attributes": _attributes({"service.name": "agentprm"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "agentprm"}, "spans": spans}]}]}


def _spans(trajectory: Trajectory, scores: list[Scores], trace: str) -> Iterator[dict[str, Any]]:
    parent, root = trajectory.parent, _span_id(trajectory.id)
    inside = _span_id(parent.trajectory_id, parent.index, parent.call or "") if parent and parent.call else None
    above = inside or (_span_id(parent.trajectory_id) if parent else None)
    start, end = _times(trajectory)
    slot = (end - start) // (2 * max(1, len(trajectory)))
    name = f"invoke_agent {trajectory.policy}" if trajectory.policy else "invoke_agent"
    has_failed = trajectory.ending is not None and trajectory.ending.status in _FAILED
    outcome = [] if trajectory.outcome is None else [_judgement("outcome", trajectory.outcome, "CODE")]
    yield _span(trace, root, above, name, start, end, _agent(trajectory), outcome, has_failed=has_failed)
    for t, step in enumerate(trajectory.steps):
        at = start + 2 * t * slot
        told = [judgement for s in scores for judgement in _judgements(s, t)]
        yield _span(
            trace, _span_id(trajectory.id, t), root, "chat", at, at + slot, _model(trajectory, t), told, _CLIENT
        )
        for i, call in enumerate(step.action.tool_calls):
            if call.attempts or call.output is not None:
                key = _span_id(trajectory.id, t, call.id if call.id is not None else str(i))
                yield _span(trace, key, root, f"execute_tool {call.name}", at + slot, at + 2 * slot,
                            _tool(call, t, i), [], has_failed=call.status == "error")  # fmt: skip


def _span_id(*parts: Any) -> str:
    return hashlib.blake2b("/".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _times(trajectory: Trajectory) -> tuple[int, int]:
    """Return beginning and end in nanoseconds, with at least 2 µs for each step between them."""
    start = _nanoseconds(trajectory.started_at)
    end = _nanoseconds(trajectory.ending.ended_at) if trajectory.ending else start
    return start, max(end, start + 2000 * max(1, len(trajectory)))


def _nanoseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return max(0, (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000)


def _span(
    trace: str, key: str, above: str | None, name: str, start: int, end: int, about: Mapping[str, Any],
    judgements: list[dict[str, Any]], kind: int = _INTERNAL, *, has_failed: bool = False,
) -> dict[str, Any]:  # fmt: skip
    noted = {f"annotations.{i}.annotation.{k}": v for i, j in enumerate(judgements) for k, v in j.items()}
    span: dict[str, Any] = {"traceId": trace, "spanId": key, **({"parentSpanId": above} if above else {})}
    span |= {"name": values.clean_text(name), "kind": kind}
    span |= {"startTimeUnixNano": str(start), "endTimeUnixNano": str(end)}
    span |= {"attributes": _attributes({**about, **noted})}
    if judgements:
        span["events"] = [_event(judgement, end) for judgement in judgements]
    return span | {"status": {"code": _ERROR if has_failed else _OK}}


def _event(judgement: Mapping[str, Any], at: int) -> dict[str, Any]:
    told = {"gen_ai.evaluation.name": judgement["name"], "gen_ai.evaluation.score.value": judgement["score"],
            "gen_ai.evaluation.explanation": judgement.get("explanation")}  # fmt: skip
    return {"timeUnixNano": str(at), "name": "gen_ai.evaluation.result", "attributes": _attributes(told)}


def _judgements(scores: Scores, t: int) -> Iterator[dict[str, Any]]:
    i = t - scores.start
    if 0 <= i < len(scores) and scores.values[i] is not None:
        about = {"unit": scores.unit, "sees": scores.sees, "source": scores.source.plain()}
        parts = {name: part[i] for name, part in scores.parts.items() if part[i] is not None}
        whose = "HUMAN" if "human" in (scores.source.name, scores.source.params.get("by")) else "CODE"
        note = scores.notes[i] if scores.notes else None
        made = _judgement(scores.source.name, scores.values[i], whose, note)
        kept = about | ({"parts": parts} if parts else {})
        yield made | {"identifier": scores.source.digest, "metadata": _json(kept)}


def _judgement(name: str, score: float | None, whose: str, note: str | None = None) -> dict[str, Any]:
    return {"name": name, "score": score, "annotator_kind": whose, "explanation": note}


def _agent(trajectory: Trajectory) -> dict[str, Any]:
    steps, thread = trajectory.steps, trajectory.meta.get("thread_id")
    about = {"id": str(trajectory.id), "env": trajectory.env, "group": trajectory.group, "task": trajectory.task.key}
    return {
        "openinference.span.kind": "AGENT",
        "agent.name": trajectory.policy,
        "input.value": trajectory.task.text or observation_text(trajectory.observations[0]),
        "output.value": action_text(steps[-1].action) if steps else None,
        "session.id": thread,
        "metadata": _json({key: value for key, value in about.items() if value is not None}),
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": trajectory.policy,
        "gen_ai.conversation.id": thread,
    }


def _model(trajectory: Trajectory, t: int) -> dict[str, Any]:
    step, system, tools = trajectory.steps[t], trajectory.meta.get("system"), trajectory.meta.get("tools")
    seen = said(opening(trajectory) if t == 0 else step.observation)
    given = [{"role": "system", "content": describe(system)}] if t == 0 and system is not None else []
    about: dict[str, Any] = {"openinference.span.kind": "LLM", "gen_ai.operation.name": "chat"}
    for i, message in enumerate(given + seen):
        about |= {f"llm.input_messages.{i}.{key}": value for key, value in _message(message).items()}
    about |= {f"llm.output_messages.0.{k}": v for k, v in _message(decision(step.action, t)).items()}
    for i, tool in enumerate(tools if t == 0 and isinstance(tools, (list, tuple)) else ()):
        about[f"llm.tools.{i}.tool.json_schema"] = _json(tool)
    return about | _usage(step.info)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message of one role, with its tool calls, under OpenInference's names."""
    content = message.get("content")
    words = content if isinstance(content, str) else _json(content)
    flat = {"message.role": message["role"], "message.content": words}
    for i, call in enumerate(message.get("tool_calls") or ()):
        place = f"message.tool_calls.{i}.tool_call"
        flat |= {f"{place}.id": call["id"], f"{place}.function.name": call["function"]["name"],
                 f"{place}.function.arguments": call["function"]["arguments"]}  # fmt: skip
    return flat if content is not None else {k: v for k, v in flat.items() if k != "message.content"}


def _usage(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return model and tokens, where a recorder noted them."""
    tokens = info.get("tokens")
    tokens = tokens if isinstance(tokens, Mapping) else {}
    return {
        "llm.model_name": info.get("model"),
        "gen_ai.request.model": info.get("model"),
        "llm.token_count.prompt": tokens.get("input"),
        "llm.token_count.completion": tokens.get("output"),
        "llm.token_count.total": tokens.get("total"),
        "gen_ai.usage.input_tokens": tokens.get("input"),
        "gen_ai.usage.output_tokens": tokens.get("output"),
    }


def _tool(call: ToolCall, t: int, i: int) -> dict[str, Any]:
    asked, told = arguments_text(call.arguments), None if call.output is None else describe(call.output)
    return {
        "openinference.span.kind": "TOOL",
        "tool.name": call.name,
        "tool.id": call_id(call, t, i),
        "tool_call.function.name": call.name,
        "tool_call.function.arguments": asked,
        "input.value": asked,
        "input.mime_type": "application/json",
        "output.value": told,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call_id(call, t, i),
        "gen_ai.tool.call.arguments": asked,
        "gen_ai.tool.call.result": told,
    }


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return values.encode(value)[0]


def _attributes(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in about.items() if value is not None]


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -_LARGEST_INT <= value < _LARGEST_INT:
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": values.clean_text(value if isinstance(value, str) else describe(value))}
