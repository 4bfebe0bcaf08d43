"""LangSmith's traces: runs with ``run_type`` llm, chain or tool; one per line, in one list, or as trees.

The runs of a trace are played back to `LangChainRecorder`, so what is imported is what it would have recorded: turns,
parallel calls, retries, agents inside of tools. Ids are made of the run's, times are those of the runs. Feedback (a
list under ``feedback`` in its run, or records of its own with ``run_id`` and ``key``) becomes scores of the step that
the run belongs to; what was said of the whole trace is the outcome, and stands in ``meta["feedback"]``. Read only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from agentprm.errors import InvalidFormat
from agentprm.formats._langsmith_runs import Run, roots_of, run_of
from agentprm.formats._node import Node, derived_id
from agentprm.formats._source import Item, OnBad, Source, parsed, records
from agentprm.spec import resolve
from agentprm.types import Began, Ended, Event, Fork, Scores, Spec, Stepped, Trajectory, Unit

__all__ = ["SIGNATURES", "read"]

SIGNATURES = ({"run_type", "id", "inputs"}, {"run_type", "id", "start_time"})
_RECORDER = "agentprm.record.langchain:LangChainRecorder"


def read(
    source: Source, *, outcome: str | None = None, unit: Unit = "reward", on_bad: OnBad | None = None
) -> Iterator[Item]:
    """Yield the agents of each trace, the outer one first, then what people and evaluators said of their steps.

    `outcome` is the key of the feedback on a whole trace that is its outcome, in [0, 1]; by default the only numeric
    one in that range. `unit` is what feedback on steps means. All runs are held until the end of the file, for any may
    come last. Raises InvalidFormat.
    """
    runs: dict[UUID, Run] = {}
    told: list[Node] = []
    for record in records(source):
        try:
            tree, feedback = _taken(record)
        except InvalidFormat as error:
            _tell(on_bad, error)
            continue
        told += feedback
        runs |= {run.id: run for run in tree}
    said: dict[UUID, list[Node]] = {}
    for node in told:
        said.setdefault(node["run_id"].as_uuid(), []).append(node)
    for root in roots_of(runs.values()):
        try:
            made = parsed(root.node, partial(_items, root=root, said=said, outcome=outcome, unit=unit))
        except InvalidFormat as error:
            _tell(on_bad, error)
            continue
        yield from made


def _tell(on_bad: OnBad | None, error: InvalidFormat) -> None:
    if on_bad is None:
        raise error
    on_bad(error)


def _taken(record: Node | InvalidFormat) -> tuple[list[Run], list[Node]]:
    """Return the runs of a record, and the feedback."""
    if isinstance(record, InvalidFormat):
        raise record
    if "run_type" not in record.as_object() and "key" in record.value:
        record["run_id"].as_uuid()
        return [], [record]
    runs: list[Run] = []
    feedback: list[Node] = []
    waiting = [record]
    while waiting:
        node = waiting.pop()
        run = run_of(node)
        runs.append(run)
        feedback += [_about(run, f) for f in _listed(node, "feedback")]
        waiting += [_child(run, child) for child in _listed(node, "child_runs")]
    return runs, feedback


def _listed(node: Node, key: str) -> Sequence[Node]:
    found = node.get(key)
    return found.as_list() if found else ()


def _about(run: Run, feedback: Node) -> Node:
    return replace(feedback, value={**feedback.as_object(), "run_id": str(run.id)})


def _child(run: Run, child: Node) -> Node:
    return replace(child, value={**child.as_object(), "parent_run_id": str(run.id)})


def _items(
    _record: Node, *, root: Run, said: Mapping[UUID, list[Node]], outcome: str | None, unit: Unit
) -> Iterator[Item]:
    runs = {run.id: run for run in root.tree()}
    for trajectory in _trajectories(root):
        run = runs[UUID(trajectory.external_id)]
        places = _places(run, trajectory)
        yield _judged(_dated(trajectory, run), said.get(run.id, ()), outcome)
        keys = dict.fromkeys(node["key"].as_text() for i in places for node in said.get(i, ()))
        for key in keys:
            yield _scores(trajectory, key, unit, [(t, n) for i, t in places.items() for n in said.get(i, ())])


def _trajectories(root: Run) -> list[Trajectory]:
    """Return what the recorder made of a trace, under ids that are the same every time."""
    from agentprm.formats._langsmith_play import play  # LangChain, which no other format needs, nor a guess

    events: list[Event] = []
    recorder = resolve(_RECORDER)(events.append)
    play(root, recorder)
    if recorder.dropped:
        raise root.node.refused(f"a trace that can be followed (lost in this one: {dict(recorder.failures)})")
    made: dict[UUID, Trajectory] = {}
    for event in events:
        if isinstance(event, Began):
            made[event.trajectory.id] = event.trajectory
        elif isinstance(event, Stepped):
            made[event.trajectory_id] = made[event.trajectory_id].append(event.step, event.result)
        elif isinstance(event, Ended):
            made[event.trajectory_id] = made[event.trajectory_id].end(event.ending)
    ids = {old: derived_id("langsmith", t.external_id) for old, t in made.items()}
    return [replace(t, id=ids[old], parent=_forked(t.parent, ids)) for old, t in made.items()]


def _forked(parent: Fork | None, ids: Mapping[UUID, UUID]) -> Fork | None:
    return parent and replace(parent, trajectory_id=ids[parent.trajectory_id])


def _dated(trajectory: Trajectory, run: Run) -> Trajectory:
    """Return it with the times of its run; how long the playback took is nobody's latency."""
    steps = tuple(
        replace(step, info={k: v for k, v in step.info.items() if k != "latency"}) for step in trajectory.steps
    )
    ending = trajectory.ending and run.ended and replace(trajectory.ending, ended_at=run.ended)
    return replace(trajectory, steps=steps, started_at=run.began, ending=ending or None)


def _places(own: Run, trajectory: Trajectory) -> dict[UUID, int]:
    """Return the step that each model and tool run below an agent belongs to: by its order, a tool's by its call."""
    places: dict[UUID, int] = {}
    of_call = {call.id: t for t, step in enumerate(trajectory.steps) for call in step.action.tool_calls if call.id}
    waiting, t = [*own.tree()][1:] or [own], 0
    inside: set[UUID | None] = set()
    for run in waiting:
        if run.parent_id in inside:
            inside.add(run.id)  # what happens inside of a tool is another agent's
        elif run.kind == "tool":
            inside.add(run.id)
            places[run.id] = of_call.get(str(run.extra.get("tool_call_id")), max(0, t - 1))
        elif run.kind == "llm":
            places[run.id] = min(t, max(0, len(trajectory) - 1))
            t += 1
    return places if len(trajectory) else {}


def _judged(trajectory: Trajectory, said: Sequence[Node], outcome: str | None) -> Trajectory:
    """Return it with what was said of the whole."""
    if not said:
        return trajectory
    numbers = {n["key"].as_text(): n["score"].as_number() for n in said if n.get("score") and _is_number(n["score"])}
    fitting = [v for key, v in numbers.items() if 0 <= v <= 1 and outcome in (None, key)]
    ending = trajectory.ending
    if ending is not None and len(fitting) == 1:
        ending = replace(ending, outcome=fitting[0])
    kept = [{k: v for k, v in node.value.items() if k in ("key", "score", "value", "comment")} for node in said]
    return replace(trajectory, ending=ending, meta={**trajectory.meta, "feedback": kept})


def _is_number(node: Node) -> bool:
    return isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _scores(trajectory: Trajectory, key: str, unit: Unit, said: Sequence[tuple[int, Node]]) -> Scores:
    """Return the feedback of one key, the last word on each step; one without a number is a note."""
    values: list[float | None] = [None] * len(trajectory)
    notes: list[str | None] = [None] * len(trajectory)
    for t, node in said:
        if node["key"].as_text() == key:
            values[t] = _number(node.get("score"))
            notes[t] = _words(node)
    source = Spec("langsmith", {"key": key, "unit": unit})
    return Scores(trajectory.id, source, unit, tuple(values), notes=tuple(notes) if any(notes) else ())


def _number(score: Node | None) -> float | None:
    if score is None:
        return None
    return float(score.value) if isinstance(score.value, bool) else score.as_number()


def _words(node: Node) -> str | None:
    given: Any = node.value.get("comment") or node.value.get("value")
    return None if given is None else str(given)
