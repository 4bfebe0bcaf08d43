"""Episodes turn by turn, as plain data: what was seen, planned, called and paid, and everybody's opinion of it."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from agentprm.credit.asking import rows_of
from agentprm.credit.report.plain import Cut, cut, number, written
from agentprm.store import tables as t
from agentprm.store.filters import chunks
from agentprm.store.store import Store
from agentprm.text.describe import describe, observation_text
from agentprm.types import Action, Image, Observation, Scores, Step, ToolCall, Trajectory

__all__ = ["Pictures", "plain_episodes"]

_CHUNK = 64
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"})
"""Pictures that a page shows: pixels alone, nothing that a browser would run or fetch."""


@dataclass
class Pictures:
    """Pictures as data URLs, until `room` bytes are used up; then only their kind and size. Counts those left out."""

    room: int
    left_out: int = 0

    def __call__(self, image: Image) -> dict[str, Any]:
        """Return a picture for a page."""
        told = {"type": image.media_type[:80], "bytes": len(image.data)}
        if image.media_type not in _SHOWN or len(image.data) > self.room:
            self.left_out += 1
            return told
        self.room -= len(image.data)
        return {**told, "data": f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"}


def plain_episodes(
    store: Store, ids: Sequence[UUID], *, longest: int = 20_000, pictures: Pictures | None = None
) -> Iterator[dict[str, Any]]:
    """Yield episodes as plain data, those of a few dozen ids at a time; every text at most `longest` characters."""
    show = pictures or Pictures(1 << 26)
    for chunk in chunks(ids, _CHUNK):
        opinions: dict[UUID, list[Scores]] = defaultdict(list)
        for scores in store.scores(chunk):
            opinions[scores.trajectory_id].append(scores)
        paid, labels = _paid(store, chunk), _labels(store, chunk, longest)
        for trajectory in store.trajectories(id=chunk):
            key = trajectory.id
            turns = [_turn(step, paid.get((key, i)), longest, show) for i, step in enumerate(trajectory.steps)]
            said = [_opinion(scores, len(turns), longest) for scores in opinions[key]]
            last = _seen(trajectory.last, longest, show)
            yield {**_head(trajectory, longest), "turns": turns, "last": last, "opinions": said, "labels": labels[key]}


def _head(trajectory: Trajectory, longest: int) -> dict[str, Any]:
    ending, parent = trajectory.ending, trajectory.parent
    began, ended = trajectory.started_at, ending.ended_at if ending else None
    return {
        "id": str(trajectory.id),
        "task": cut(trajectory.task.text, longest),
        "policy": trajectory.policy,
        "env": trajectory.env,
        "seed": None if trajectory.seed is None else str(trajectory.seed),
        "group": trajectory.group,
        "external": trajectory.external_id,
        "status": ending.status if ending else None,
        "outcome": number(trajectory.outcome),
        "began": began.isoformat(timespec="seconds"),
        "ended": ended and ended.isoformat(timespec="seconds"),
        "parent": parent and {"id": str(parent.trajectory_id), "step": parent.index, "call": parent.call},
        "meta": _noted(trajectory.meta, longest),
    }


def _turn(step: Step, paid: float | None, longest: int, show: Pictures) -> dict[str, Any]:
    action, reward = step.action, number(float(step.reward))
    return {
        **_seen(step.observation, longest, show),
        "plan": cut(action.plan, longest),
        "did": cut(_did(action), longest),
        "calls": [_call(call, longest) for call in action.tool_calls],
        "reward": reward,
        "paid": reward if paid is None else number(paid),
        "info": _noted(step.info, longest),
    }


def _seen(observation: Observation, longest: int, show: Pictures) -> dict[str, Any]:
    return {"saw": cut(observation_text(observation), longest), "images": [show(i) for i in observation.images]}


def _did(action: Action) -> str:
    if action.text or action.native is None:
        return action.text
    return describe(action.native)


def _call(call: ToolCall, longest: int) -> dict[str, Any]:
    return {
        "name": cut(call.name, 200),
        "asked": cut(describe(call.arguments), longest),
        "said": None if call.output is None else cut(describe(call.output), longest),
        "status": call.status,
        "attempts": call.attempts,
    }


def _noted(values: Mapping[str, Any], longest: int) -> Cut:
    return cut(written(dict(values)), longest) if values else ""


def _opinion(scores: Scores, steps: int, longest: int) -> dict[str, Any]:
    values: list[Any] = [None] * steps
    values[scores.start : scores.start + len(scores.values)] = [number(value, 4) for value in scores.values]
    notes = {scores.start + i: cut(note, longest) for i, note in enumerate(scores.notes) if note}
    by_people = scores.source.name == "human" or scores.source.params.get("by") == "human"
    label = f"{scores.source.name}@{scores.source.digest[:8]}"
    told = {"label": label, "unit": scores.unit, "sees": scores.sees, "people": by_people}
    return {**told, "values": values[:steps], "notes": notes}


def _paid(store: Store, ids: Sequence[UUID]) -> dict[tuple[UUID, int], float]:
    """Return what the learner was paid where that is not the world's own reward."""
    s = t.step.c
    query = sa.select(s.trajectory_id, s.idx, s.given_reward).where(s.trajectory_id.in_(ids))
    return {(row[0], row[1]): row[2] for row in rows_of(store, query.where(s.given_reward.is_not(None)))}


def _labels(store: Store, ids: Sequence[UUID], longest: int) -> dict[UUID, list[dict[str, Any]]]:
    """Return people's labels that no later one replaced; those without a step are about the whole episode."""
    label, later = t.label, t.label.alias("later")
    stands = ~sa.exists().where(later.c.supersedes == label.c.id)
    query = sa.select(label).where(label.c.trajectory_id.in_(ids), stands).order_by(label.c.idx, label.c.id)
    found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(store, query):
        found[row.trajectory_id].append(_label(row, longest))
    return found


def _label(row: Any, longest: int) -> dict[str, Any]:
    who, code = cut(row.annotator, 200), cut(row.code, 200)
    return {
        "step": row.idx,
        "who": who,
        "code": code,
        "value": number(row.value),
        "comment": cut(row.comment or "", longest),
    }
