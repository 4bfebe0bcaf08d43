"""Episodes made by hand, and a small world at random with something for every question."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np

from agentprm import Action, Ending, Fork, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory
from agentprm.types import new_id

OLD, NEW, LABELS, HUMAN = Spec("model", {"version": 1}), Spec("model", {"version": 2}), Spec("temporal"), Spec("human")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def episode(actions, values=(), outcome=None, *, policy="p", task="t", scorer=NEW, seen=None, infos=None, **changes):
    """Return a trajectory, and the scores of one scorer if `values` are given; an action is an Action or its text."""
    done = [a if isinstance(a, Action) else Action(a, native=a) for a in actions]
    states = seen or [f"seen {i}" for i in range(len(done) + 1)]
    infos = infos or [{}] * len(done)
    steps = tuple(Step(Observation(states[i]), a, 0.0, infos[i]) for i, a in enumerate(done))
    ending = Ending("terminated", terminated=True, outcome=outcome)
    made = {"policy": policy, "env": "E-v0", "started_at": MONDAY, **changes}
    t = Trajectory(new_id(), Task(task), steps, Observation(states[len(done)]), ending, **made)
    return t, *((Scores(t.id, scorer, "value", tuple(values), sees="action"),) if values else ())


def fill(store, *episodes):
    """Store them; return the trajectories."""
    store.add([item for made in episodes for item in made])
    return [made[0] for made in episodes]


def fork(parent, index, intervention, outcome):
    """Return an episode that parted from another one."""
    return episode(
        ["go x"],
        outcome=outcome,
        task=parent.task.text,
        policy=parent.policy,
        parent=Fork(parent.id, index, None, intervention),
    )


def world(n=90, seed=0):
    """Return trajectories with their scores: scorers, labels, people's marks, errors, plans, agents, forks."""
    rng, made = random.Random(seed), []
    for i in range(n):
        parent = Fork(made[-1][0].id, 0, "call-1") if i % 10 == 9 else None
        t = _trajectory(rng, i, parent)
        made.append((t, _scores(rng, t)))
    for t, _ in made[:3]:
        for change in ({}, {"action": "go a"}, {"drop": True}, {"without_tool": "search"}):
            made += [(fork(t, 1, change, float(rng.random() < 0.5))[0], []) for _ in range(4)]
    return made


def _trajectory(rng, i, parent):
    steps = tuple(
        Step(Observation(rng.choice(["here", "there", "door"])), _action(rng, j), rng.random(), _info(rng))
        for j in range(rng.randint(2, 9))
    )
    outcome = None if rng.random() < 0.1 else float(rng.random() < 0.6)
    return Trajectory(
        new_id(),
        Task(f"task {i % 20}"),
        steps,
        Observation("end"),
        Ending("terminated", True, outcome=outcome),
        env="E-v0",
        policy=f"ppo@{i % 3}",
        group=f"g{i % 5}",
        parent=parent,
        started_at=MONDAY + timedelta(days=i * 0.4),
        meta={"host": f"h{i % 2}", "k": i % 3, "ok": i % 2 == 0},
    )


def _action(rng, j):
    search = ToolCall("search", {"q": j}, None, "found")
    failing = ToolCall("search", {"q": j}, None, "ValueError: no", "error")
    odd = ToolCall("calc", {"x": [1]}, None, {"message": "boom(1): x"}, "error")
    return rng.choice(
        [
            Action("", f"I will search\nnow {j}", (search,)),
            Action("", "", (failing,)),
            Action("", "", (search, odd)),
            Action("done it"),
            Action(plan="think\nhard"),
            Action(native=np.int64(rng.randint(0, 3))),
            Action(native=np.array([0.5, 1.0])),
            Action(f"go {rng.choice('abc')}", native="x"),
        ]
    )


def _info(rng):
    if rng.random() < 0.5:
        return {"latency": "none", "100%": "it's"}
    return {"latency": rng.random(), "tokens": {"input": 5, "output": rng.randint(1, 40), "total": 50}, "cost": 0.001}


def _scores(rng, t):
    value, values = 0.5, []
    for _ in t.steps:
        value = min(1.0, max(0.0, value + rng.gauss(0.05 if t.outcome else -0.05, 0.15)))
        values.append(None if rng.random() < 0.1 else round(value, 2))
    near = tuple(None if v is None else round(min(1.0, max(0.0, v + rng.gauss(0, 0.1))), 3) for v in values)
    marks = tuple(rng.choice([None, 0.0, 1.0, 1.0, 1.0]) for _ in values)
    return [
        Scores(t.id, OLD, "value", near, sees="action"),
        Scores(t.id, NEW, "value", tuple(values), sees="result"),
        Scores(t.id, LABELS, "value", (float(t.outcome or 0),) * len(t)),
        Scores(t.id, HUMAN, "correctness", marks),
    ]
