"""The order in which turns go out, which call a tool run carries out, and what a judge is shown of open turns."""

from agentprm.record._langchain_episode import Episode
from agentprm.record._langchain_messages import Said
from agentprm.types import Ending, Observation, Stepped, Task, ToolCall, Trajectory, new_id


def episode(*turns, keep=True):
    """An episode with these turns taken, each a list of (id, arguments) of calls."""
    events = []
    began = Trajectory(new_id(), Task("t"), (), Observation("first"))
    opened = Episode(began, events.append, keep=keep, agent=None)
    for calls in turns:
        opened.take(Said(object(), calls=tuple(ToolCall("f", a, id, None, "pending", 0) for id, a in calls)), {})
    return opened, events


def finish(call):
    call.update("ok", 1, attempts=1)
    call.is_done = True


def indices(events):
    return [e.index for e in events if isinstance(e, Stepped)]


def test_a_turn_waits_for_the_turns_before_it():
    opened, events = episode([("a", 1)], [("b", 2)])
    finish(opened.find("f", 2, "b", None))
    opened.send()
    assert indices(events) == []
    finish(opened.find("f", 1, "a", None))
    opened.send()
    assert indices(events) == [0, 1]


def test_a_judge_is_shown_the_open_turns_before_and_none_after():
    opened, _ = episode([("a", 1)], [("b", 2)])
    assert [(turn.index, len(seen)) for turn, seen in opened.due("action")] == [(0, 1), (1, 2)]
    assert opened.due("action") == []


def test_a_turn_waits_for_its_judge():
    opened, events = episode([])
    ((turn, _),) = opened.due("result")
    opened.end(Ending("completed"))
    opened.send()
    assert indices(events) == []
    turn.is_waiting = False
    opened.send()
    opened.send()
    assert [type(e).__name__ for e in events] == ["Began", "Stepped", "Ended"]


def test_a_run_is_the_call_with_its_id_and_arguments():
    opened, _ = episode([("a", 1), ("a", 2), ("b", 1)])
    assert opened.find("f", 2, "a", None).asked.arguments == 2
    assert opened.find("f", 9, "b", None).asked.id == "b"
    assert opened.find("f", 1, "nobody", None) is None


def test_a_run_without_an_id_is_the_call_with_its_name_and_arguments():
    opened, _ = episode([("a", 1), ("b", 2)])
    assert opened.find("f", 2, None, None).asked.id == "b"
    assert opened.find("f", 3, None, None).asked.id == "a"
    assert opened.find("g", 1, None, None) is None


def test_a_second_run_in_the_same_node_is_another_attempt_and_elsewhere_another_call():
    opened, _ = episode([("a", 1), ("a", 1)])
    here, there = object(), object()
    first = opened.find("f", 1, "a", here)
    first.node = here
    first.update("error", "no", attempts=1)
    assert opened.find("f", 1, "a", here) is first
    assert opened.find("f", 1, "a", there) is not first


def test_a_second_run_of_the_only_call_is_another_attempt_wherever_it_runs():
    opened, _ = episode([("a", 1)])
    call = opened.find("f", 1, "a", object())
    call.update("error", "no", attempts=1)
    assert opened.find("f", 1, "a", object()) is call


def test_steps_are_not_kept_without_a_judge():
    opened, _ = episode([], keep=False)
    opened.send()
    assert opened._history is None
