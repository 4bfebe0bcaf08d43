"""Trajectories with everything filled, as odd as the types allow, and the events of a recording."""

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from agentprm.types import (
    Action,
    Began,
    Ended,
    Ending,
    Fork,
    Image,
    Observation,
    Scores,
    Spec,
    Step,
    Stepped,
    Task,
    ToolCall,
    Trajectory,
    new_id,
)

ODD = "a\0b \ud800 c 😀"
PICTURE = Image("image/png", b"\x89PNG\0\xff")
MODEL = Spec("model", {"version": 1, "weights": "abc", "template": "t1", "tokenizer": "k1"})
LABELS = Spec("labels", {"n": 4, "of": Spec("inner", {"x": [1, None]})})
SOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def full(**changes):
    """Return an episode of three steps in which nothing is left at its default."""
    calls = (
        ToolCall("search", {"query": ODD, "n": (1, 2)}, "call-1", {"hits": [1.5, math.nan]}, "ok", 2),
        ToolCall(ODD, "no JSON", ODD, None, "rejected", 0),
        ToolCall("shout", {}, None, ODD, "error", 3),
        ToolCall("wait", [b"x"], "call-4", None, "pending", 1),
        ToolCall("say", {}, None, "plain words", "ok", 1),
    )
    first = Observation(ODD, {"image": np.arange(147, dtype=np.uint8).reshape(7, 7, 3), "mission": ODD}, (PICTURE,) * 2)
    second = Observation("", np.array([math.nan, -0.0]), ())
    third = Observation("the same", "the same", (Image("image/jpeg", b""), PICTURE))
    steps = (
        Step(first, Action(ODD, "first\nsecond", calls, None), -1.5, {"mask": np.array([True]), "$float": 1, 3: "x"}),
        Step(second, Action("", ODD, (), np.int64(3)), math.nan, {"nested": {"a": (1, {2})}}),
        Step(third, Action("left", "", (), "left"), math.inf, {}),
    )
    made = {
        "id": new_id(),
        "task": Task(ODD, "key\0"),
        "steps": steps,
        "last": Observation(ODD, ODD),
        "ending": Ending("truncated", True, True, 0.25, SOON + timedelta(days=1)),
        "external_id": ODD,
        "env": "Env\0-v0",
        "policy": "ppo@1\ud800",
        "seed": 2**70,
        "group": "g\0",
        "parent": Fork(new_id(), 7, "call\0", {"action": np.arange(3), "why": ODD}),
        "started_at": SOON.astimezone(timezone(timedelta(hours=-5))),
        "meta": {"info": {"x": math.inf}, "$exact": [1], "host": "h"},
    }
    return Trajectory(**made | changes)


def plain(n=3, *, id=None, task="leave", ending=None, start=0, **changes):
    """Return an episode of `n` steps that says who it is."""
    steps = tuple(
        Step(Observation(f"seen {t}"), Action(f"do {t}", native=t), float(t), {"t": t}) for t in range(start, start + n)
    )
    last = Observation(f"seen {start + n}")
    return Trajectory(id or new_id(), Task(task), steps, last, ending, **changes)


def done(outcome=1.0, status="terminated", **changes):
    return Ending(status, status == "terminated", status == "truncated", outcome, **changes)


def scored(trajectory, *values, source=MODEL, **changes):
    return Scores(trajectory.id, source, "value", values, sees="action", **changes)


def events(trajectory, **beside):
    """Yield the recording of an episode."""
    first, *results = trajectory.observations
    yield Began(trajectory._with(steps=(), last=first, ending=None))
    for t, (step, result) in enumerate(zip(trajectory.steps, results, strict=True)):
        yield Stepped(trajectory.id, t, step, result, **beside)
    if trajectory.ending is not None:
        yield Ended(trajectory.id, trajectory.ending)
