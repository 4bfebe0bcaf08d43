"""Events that no agent sends in this order, and what is remembered of them."""

from uuid import uuid4

import pytest

pytest.importorskip("langchain")


from langchain_puppets import (
    ask,
    only,
    rebuilt,
    told,
)
from langgraph.errors import GraphInterrupt

from agentprm.record import _langchain_opening, _langchain_registry
from agentprm.types import Ended


def begin(recorder, run_id, parent=None, **more):
    recorder.on_chain_start({}, ask(), run_id=run_id, parent_run_id=parent, **more)


def test_a_root_that_was_cancelled_while_its_start_was_told_leaves_nothing(recorder, events):
    begin(recorder, uuid4())
    assert (recorder.inflight, events) == (0, [])


def test_roots_that_stay_silent_are_given_up_in_the_end(recorder, monkeypatch):
    monkeypatch.setattr(_langchain_registry, "_MOST_ANNOUNCED", 10)
    for _ in range(50):
        begin(recorder, uuid4())
    assert len(recorder._watch._runs._announced) == 50
    monkeypatch.setattr(_langchain_registry, "_LONGEST_SILENCE", 0.0)
    begin(recorder, last := uuid4())
    assert len(recorder._watch._runs._announced) == 10
    assert last in recorder._watch._runs._announced


def test_what_is_remembered_of_ended_runs_is_bounded(recorder, monkeypatch):
    monkeypatch.setattr(_langchain_registry, "_MOST_CUT_OFF", 10)
    for _ in range(50):
        begin(recorder, root := uuid4())
        begin(recorder, uuid4(), root)
        recorder.on_chain_error(GeneratorExit(), run_id=root)
        begin(recorder, uuid4(), root)
    assert len(recorder._watch._runs._cut_off) == 10
    assert not recorder._watch._runs._announced


def test_threads_that_wait_are_remembered_up_to_a_number(recorder, monkeypatch):
    monkeypatch.setattr(_langchain_opening, "_MOST_WAITING", 10)
    for n in range(50):
        begin(recorder, root := uuid4(), metadata={"thread_id": n})
        begin(recorder, node := uuid4(), root, metadata={"langgraph_checkpoint_ns": "a"})
        recorder.on_chain_error(GraphInterrupt(), run_id=node)
        recorder.on_chain_end({}, run_id=root)
    assert len(recorder._watch._openings._waiting) == 10


def test_what_cannot_be_understood_is_counted_and_closes_its_run(recorder, events):
    class Hostile:
        @property
        def messages(self):
            raise RuntimeError

    begin(recorder, root := uuid4())
    begin(recorder, node := uuid4(), root, metadata={"langgraph_checkpoint_ns": "a"}, name="n")
    recorder.on_chain_end(Hostile(), run_id=node)
    recorder.on_chain_end({}, run_id=root)
    recorder.on_chain_end({}, run_id=uuid4())
    assert only(events).ending.status == "completed"
    assert recorder.failures == {"event": 1}
    recorder._failures._counts.clear()


def test_a_result_that_cannot_be_understood_does_not_keep_a_run_open(recorder, events):
    class Hostile:
        @property
        def messages(self):
            raise RuntimeError

    recorder.on_tool_start({"name": "t"}, "x", run_id=(root := uuid4()))
    recorder.on_tool_end(Hostile(), run_id=root)
    assert only(events).ending.status == "completed"
    assert told(only(events)) == [(None, "pending", 1, None)]
    recorder._failures._counts.clear()


def test_a_start_that_is_told_twice_changes_nothing(recorder, events):
    begin(recorder, root := uuid4())
    begin(recorder, root)
    begin(recorder, node := uuid4(), root)
    begin(recorder, root)
    begin(recorder, node, root)
    recorder.on_chain_end({}, run_id=node)
    recorder.on_chain_end({}, run_id=root)
    recorder.on_chain_end({}, run_id=root)
    assert [type(e).__name__ for e in events] == ["Began", "Ended"]


def test_an_inner_agent_that_never_ends_is_aborted_with_its_root(recorder, events):
    begin(recorder, root := uuid4())
    recorder.on_tool_start({"name": "t"}, "x", run_id=(held := uuid4()), parent_run_id=root)
    begin(recorder, inner := uuid4(), held)
    begin(recorder, uuid4(), inner, metadata={"langgraph_checkpoint_ns": "a"})
    assert recorder.inflight == 4
    recorder.on_chain_error(ValueError(), run_id=root)
    assert [t.ending.status for t in rebuilt(events)] == ["failed", "aborted"]
    assert [e.ending.status for e in events if isinstance(e, Ended)] == ["aborted", "failed"]


def test_a_run_whose_parent_ended_a_moment_ago_is_a_root(recorder, events, monkeypatch):
    begin(recorder, root := uuid4())
    begin(recorder, parent := uuid4(), root)
    ended = recorder._watch._runs.find(parent)
    recorder.on_chain_end({}, run_id=parent)
    with monkeypatch.context() as patched:
        patched.setattr(recorder._watch._runs, "find", lambda run_id: ended)
        begin(recorder, late := uuid4(), parent)
    recorder.on_chain_end({}, run_id=root)
    recorder.on_chain_end({}, run_id=late)
    assert [t.external_id for t in rebuilt(events)] == [str(root), str(late)]
