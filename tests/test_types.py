"""The nouns: what they refuse, what they share, what each sight holds."""

import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from uuid import UUID

import numpy as np
import pytest

from agentprm.errors import InvalidScores, InvalidSpec, InvalidTrajectory
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

DOORS = (Observation("a door"), Observation("a hall"), Observation("a garden"))


def search(query, output="found", status="ok"):
    return ToolCall("search", {"query": query}, f"call-{query}", output, status, 2)


def walk(**changes):
    """Two steps, the first of two parallel tool calls, an ending with an outcome."""
    first = Step(DOORS[0], Action("look", "where to?", (search("a"), search("b", None, "error"))), 0.5, {"n": 1})
    second = Step(DOORS[1], Action("go", "on", (search("c"),), native=7), 1.0, {"n": 2, "success": True})
    made = {
        "id": new_id(),
        "task": Task("leave"),
        "steps": (first, second),
        "last": DOORS[2],
        "ending": Ending("terminated", terminated=True, outcome=1.0),
        "meta": {"info": {"n": 0}},
    }
    return Trajectory(**made | changes)


# shape


def test_n_steps_have_n_plus_one_observations():
    assert walk().observations == DOORS
    empty = Trajectory(new_id(), Task("leave"), (), DOORS[0])
    assert len(empty) == 0
    assert empty.observations == (DOORS[0],)


def test_append_shares_the_earlier_steps_and_leaves_the_original_alone():
    before = walk(ending=None)
    after = before.append(Step(before.last, Action("rest")), Observation("night"))
    assert [new is old for new, old in zip(after.steps, before.steps, strict=False)] == [True, True]
    assert (len(before), len(after)) == (2, 3)
    assert after.observations == (*DOORS, Observation("night"))
    assert (after.id, after.task, after.meta) == (before.id, before.task, before.meta)


def test_nothing_follows_an_ending():
    with pytest.raises(InvalidTrajectory, match=r"ended \(terminated\)"):
        walk().append(Step(DOORS[2], Action("rest")), Observation("night"))
    with pytest.raises(InvalidTrajectory, match="ended already"):
        walk().end(Ending("failed"))


def test_an_ended_trajectory_is_the_same_with_an_ending():
    ending = Ending("failed")
    assert walk(ending=None).end(ending).ending is ending
    running = walk(ending=None)
    assert running.end(ending) == running._with(ending=ending) != running


def test_outcome_is_that_of_the_ending():
    assert walk().outcome == 1.0
    assert walk(ending=None).outcome is None
    assert walk(ending=Ending("completed")).outcome is None


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Action("go", tool_calls=(search("a"),)), "tool"),
        (Action("go", native="go"), "env"),
        (Action(native=0), "env"),
        (Action("hello", "think"), "message"),
        (Action(plan="think"), "plan"),
        (Action(), "message"),
    ],
)
def test_kind_of_an_action_is_derived(action, kind):
    assert action.kind == kind


@pytest.mark.parametrize(
    "noun",
    [
        walk(), *walk().observations, Action(), *walk().steps, Ending("failed"), Spec("x"), search("a"), Task("t"),
        Fork(new_id(), 0), Image("image/png", b""), Scores(new_id(), Spec("x"), "value", ()), Began(walk(ending=None)),
        Stepped(new_id(), 0, walk().steps[0], DOORS[1]), Ended(new_id(), Ending("failed")),
    ],
    ids=lambda noun: type(noun).__name__,
)  # fmt: skip
def test_everything_is_frozen(noun):
    with pytest.raises((FrozenInstanceError, AttributeError)):
        setattr(noun, fields(noun)[0].name, None)
    assert not hasattr(noun, "__dict__")


def test_lists_become_tuples():
    image = Image("image/png", b"x")
    assert Observation(images=[image]).images == (image,)
    assert Action(tool_calls=[search("a")]).tool_calls == (search("a"),)
    assert walk(steps=list(walk().steps)).steps == walk().steps
    scores = Scores(new_id(), Spec("x"), "value", iter([1.0]), parts={"spread": [0.5]}, notes=["good"])
    assert (scores.values, scores.parts, scores.notes) == ((1.0,), {"spread": (0.5,)}, ("good",))
    assert (scores.start, scores.sees, len(scores)) == (0, "episode", 1)


# refusals


class Nowhere(tzinfo):
    def utcoffset(self, moment):
        return None


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=Nowhere())])
def test_times_without_a_zone_are_refused(moment):
    with pytest.raises(InvalidTrajectory, match="started_at has no time zone"):
        walk(started_at=moment)
    with pytest.raises(InvalidTrajectory, match="ended_at has no time zone"):
        Ending("failed", ended_at=moment)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"id": "abc"}, "id is a UUID"),
        ({"task": "leave"}, r"say Task\('leave'\)"),
        ({"steps": ("go",)}, "steps are Step objects, not str"),
        ({"steps": (Step("a door", Action("go")),)}, "is an Observation, not str"),
        ({"steps": (Step(DOORS[0], "go"),)}, "is an Action, not str"),
        ({"steps": (Step(DOORS[0], Action("go"), "1"),)}, "a reward is a float, not str"),
        ({"steps": (Step(DOORS[0], Action("go"), True),)}, "a reward is a float, not bool"),
        ({"last": "a garden"}, "is an Observation, not str"),
    ],
)
def test_what_is_no_trajectory_is_refused_with_the_way_out(changes, match):
    with pytest.raises(InvalidTrajectory, match=match):
        walk(**changes)


def test_append_checks_the_new_step():
    with pytest.raises(InvalidTrajectory, match="Action, not str"):
        walk(ending=None).append(Step(DOORS[2], "go"), Observation())
    with pytest.raises(InvalidTrajectory, match="Observation, not str"):
        walk(ending=None).append(Step(DOORS[2], Action("go")), "night")


@pytest.mark.parametrize("outcome", [-0.1, 1.1, float("nan"), float("inf")])
def test_an_outcome_lies_between_0_and_1(outcome):
    with pytest.raises(InvalidTrajectory, match=r"\[0, 1\]"):
        Ending("terminated", outcome=outcome)


def test_unknown_statuses_are_refused():
    with pytest.raises(InvalidTrajectory, match="'done'"):
        Ending("done")
    with pytest.raises(InvalidTrajectory, match="'fine'"):
        ToolCall("search", status="fine")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_scores_that_are_no_finite_numbers_are_refused(number):
    with pytest.raises(InvalidScores, match=r"values\[1\] of model is .*: no opinion is None"):
        Scores(new_id(), Spec("model"), "value", (0.5, number))
    with pytest.raises(InvalidScores, match=r"spread\[0\]"):
        Scores(new_id(), Spec("model"), "value", (0.5,), parts={"spread": (number,)})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"unit": "probability"}, "a unit is one of"),
        ({"sees": "future"}, "a sight is one of"),
        ({"start": -1}, "start at step 0"),
        ({"notes": ("one",)}, "1 notes for 2 values"),
        ({"parts": {"spread": (0.1,)}}, "part 'spread' has 1 numbers, values has 2"),
        ({"parts": {"score": (0.1, 0.2)}}, "choose another name"),
        ({"source": "model"}, "say Spec"),
    ],
)
def test_what_are_no_scores_is_refused(changes, match):
    made = {"trajectory_id": new_id(), "source": Spec("model"), "unit": "value", "values": (0.5, None)}
    with pytest.raises(InvalidScores, match=match):
        Scores(**made | changes)


def test_scores_are_plain_floats_and_ints_whatever_they_were_made_of():
    scores = Scores(new_id(), Spec("model"), "value", np.array([1, 0], dtype=np.float32), start=np.int64(3))
    assert [type(v) for v in scores.values] == [float, float]
    assert type(scores.start) is int


# sight


def test_sight_of_the_action_ends_with_the_calls_as_they_were_asked():
    whole = walk()
    seen = whole.seen(1, "action")
    assert seen.steps[0] is whole.steps[0], "earlier steps are known in full"
    asked = ToolCall("search", {"query": "c"}, "call-c", None, "pending", 1)
    assert seen.steps[1] == Step(DOORS[1], Action("go", "on", (asked,), native=7))
    assert seen.last == Observation()
    assert seen.ending is None


def test_sight_of_the_result_adds_what_the_step_led_to_and_nothing_said_beside_it():
    whole = walk()
    seen = whole.seen(0, "result")
    assert seen.steps == (Step(DOORS[0], whole.steps[0].action, 0.5),)
    assert seen.last == DOORS[1]
    assert seen.ending is None
    assert len(seen) == 1


def test_sight_of_the_episode_is_the_episode():
    whole = walk()
    assert whole.seen(0, "episode") is whole


@pytest.mark.parametrize("sight", ["action", "result"])
@pytest.mark.parametrize("t", [0, 1])
def test_live_sights_never_hold_the_outcome_nor_the_info_of_the_step(t, sight):
    seen = walk().seen(t, sight)
    assert seen.outcome is None
    assert seen.steps[t].info == {}
    assert len(seen) == t + 1


@pytest.mark.parametrize("sight", ["action", "result"])
@pytest.mark.parametrize("t", [0, 1])
def test_what_comes_later_changes_nothing_in_a_live_sight(t, sight):
    whole = walk()
    other_info = Step(whole.steps[t].observation, whole.steps[t].action, whole.steps[t].reward, {"secret": 1})
    later = (Step(whole.observations[t + 1], Action("other"), -9.0),) * (t == 0)
    changed = whole._with(
        steps=(*whole.steps[:t], other_info, *later),
        ending=None if t == 0 else Ending("terminated", terminated=True, outcome=0.0),
    )
    assert changed.seen(t, sight) == whole.seen(t, sight)


def test_result_and_reward_of_the_step_change_nothing_in_the_sight_of_the_action():
    whole = walk()
    last = whole.steps[1]
    calls = (search("c", "other", "error"),)
    changed = whole._with(
        steps=(whole.steps[0], Step(last.observation, Action("go", "on", calls, 7), -3.0)),
        last=Observation("a cellar"),
        ending=Ending("truncated", truncated=True, outcome=0.0),
    )
    assert changed.seen(1, "action") == whole.seen(1, "action")
    assert changed.seen(1, "result") != whole.seen(1, "result")


@pytest.mark.parametrize(
    ("flags", "status"),
    [((True, False), "terminated"), ((False, True), "truncated"), ((True, True), "terminated")],
)
def test_flags_of_the_last_step_are_part_of_its_result_but_not_when_or_how_well_it_ended(flags, status):
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    id_ = new_id()
    now, later = (
        walk(id=id_, started_at=moments[0], ending=Ending(status, *flags, outcome, moment))
        for outcome, moment in zip((1.0, 0.0), moments, strict=True)
    )
    seen = now.seen(1, "result")
    assert (seen.ending.terminated, seen.ending.truncated, seen.ending.status) == (*flags, status)
    assert seen == later.seen(1, "result")


@pytest.mark.parametrize("status", ["completed", "failed", "interrupted", "aborted", "incomplete"])
def test_an_ending_without_flags_is_no_result_of_the_last_step(status):
    assert walk(ending=Ending(status, outcome=1.0)).seen(1, "result").ending is None


@pytest.mark.parametrize("t", [-1, 2])
def test_there_is_no_sight_of_a_step_that_is_not(t):
    for sight in ("action", "result", "episode"):
        with pytest.raises(IndexError, match=f"step {t} of a trajectory of 2 steps"):
            walk().seen(t, sight)


# equality


ARRAY = np.arange(6, dtype=np.int16).reshape(2, 3)


def with_arrays(array):
    seen = Observation(native={"image": array, "nan": float("nan"), "nested": [(array,)]})
    call = ToolCall("paint", {"pixels": array}, None, [array, float("nan")])
    step = Step(seen, Action(native=array, tool_calls=(call,)), float("nan"), {"mask": array})
    fork = Fork(UUID(int=1), 0, None, {"action": array})
    started = datetime(2026, 1, 1, tzinfo=UTC)
    return Trajectory(UUID(int=7), Task("paint"), (step,), seen, parent=fork, started_at=started, meta={"info": array})


def test_trajectories_that_hold_arrays_and_nan_are_compared_by_value():
    assert with_arrays(ARRAY) == with_arrays(ARRAY.copy())
    assert with_arrays(ARRAY) == with_arrays(np.asfortranarray(ARRAY))


@pytest.mark.parametrize(
    "other",
    [ARRAY + 1, ARRAY.astype(np.int32), ARRAY.reshape(3, 2), ARRAY.astype(">i2"), ARRAY.tolist(), None],
    ids=["value", "dtype", "shape", "byte order", "list", "none"],
)
def test_arrays_of_other_value_dtype_shape_or_type_are_not_equal(other):
    assert with_arrays(ARRAY) != with_arrays(other)
    assert with_arrays(ARRAY).steps[0].action.tool_calls[0] != with_arrays(other).steps[0].action.tool_calls[0]
    assert with_arrays(ARRAY).parent != with_arrays(other).parent


def test_arrays_of_objects_are_compared_by_their_elements():
    one, other = (Observation(native=np.array(["a", None, text], dtype=object)) for text in ("b" * 99, "b" * 99))
    assert one == other
    assert one != Observation(native=np.array(["a", None, "c"], dtype=object))


def test_what_cannot_be_compared_is_not_equal():
    torch = pytest.importorskip("torch")
    one, other = (Observation(native=torch.ones(2)) for _ in range(2))
    assert one == one
    assert one != other, "a tensor's own == has no single answer, and nothing raises"


def test_numbers_of_rewards_are_what_counts():
    assert Step(DOORS[0], Action(), 1) == Step(DOORS[0], Action(), 1.0)
    assert Step(DOORS[0], Action(), 1.0) == Step(DOORS[0], Action(), np.float64(1.0))
    assert Step(DOORS[0], Action(), 1.0) != Step(DOORS[0], Action(), 1.5)


def test_nouns_of_other_types_are_not_equal():
    for noun in (DOORS[0], Action(), walk().steps[0], walk(), search("a"), Fork(new_id(), 0), Spec("x")):
        assert noun != "something else"


def test_scores_are_equal_when_everything_is():
    made = {
        "trajectory_id": new_id(),
        "source": Spec("x"),
        "unit": "value",
        "values": (0.5, None),
        "notes": ("a", None),
    }
    assert Scores(**made) == Scores(**made)
    for change in (
        {"values": (0.5, 0.5)}, {"start": 1}, {"unit": "reward"}, {"sees": "action"}, {"source": Spec("y")},
        {"notes": ()}, {"parts": {"spread": (0.1, 0.2)}}, {"trajectory_id": new_id()},
    ):  # fmt: skip
        assert Scores(**made | change) != Scores(**made)


def test_times_are_compared_as_moments():
    utc = datetime(2026, 1, 1, 12, tzinfo=UTC)
    id_, there = new_id(), utc.astimezone(timezone(timedelta(hours=2)))
    assert walk(id=id_, started_at=utc, ending=None) == walk(id=id_, started_at=there, ending=None)


# ids


def test_ids_are_uuid7_of_the_rfc():
    before = datetime.now(UTC)
    made = new_id()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    stamp = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    assert abs(stamp - before) < timedelta(seconds=10)


def test_ids_sort_by_creation_and_never_repeat():
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("clock", [lambda: 0, lambda: 1_700_000_000_000_000_000], ids=["backwards", "standing still"])
def test_ids_sort_by_creation_whatever_the_clock_does(monkeypatch, clock):
    first = new_id()
    monkeypatch.setattr("time.time_ns", clock)
    made = [first, *(new_id() for _ in range(5_000))]
    assert made == sorted(made)
    assert {(i.version, i.variant) for i in made} == {(7, "specified in RFC 4122")}


def test_ids_of_several_threads_never_repeat():
    made = []
    threads = [threading.Thread(target=lambda: made.extend(new_id() for _ in range(2_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


# specs and tasks


def test_spec_is_the_same_whatever_the_order_of_its_parameters():
    assert Spec("x", {"a": 1, "b": [1, 2]}) == Spec("x", {"b": (1, 2), "a": 1})
    assert hash(Spec("x", {"a": 1, "b": 2})) == hash(Spec("x", {"b": 2, "a": 1}))
    assert Spec("x", {"a": 1}) != Spec("x", {"a": 2})
    assert Spec("x") != Spec("y")


def test_digest_does_not_ask_where_weights_lie_at_any_depth():
    here, there = (
        Spec("ensemble", {"folder": f, "of": [Spec("a", {"folder": f, "weights": "w"}), {"folder": f}]}) for f in "xy"
    )
    assert here.digest == there.digest
    assert here.to_json() != there.to_json()
    assert here.digest != Spec("ensemble", {"of": [Spec("a", {"weights": "other"}), {}]}).digest


def test_digest_is_the_same_in_every_process():
    spec = Spec("x", {"a": {"b": [1, 0.5, None, "é"]}, "c": Spec("y")})
    code = "from agentprm.types import Spec; print(Spec('x', {'c': Spec('y'), 'a': {'b': [1, 0.5, None, 'é']}}).digest)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == spec.digest
    assert len(spec.digest) == 32


@pytest.mark.parametrize(
    "value", [float("nan"), {1, 2}, object(), np.float32(1)], ids=["nan", "set", "object", "scalar"]
)
def test_recipe_that_is_not_json_says_so(value):
    for ask in (Spec.to_json, lambda spec: spec.digest):
        with pytest.raises(InvalidSpec, match="the recipe of model is not JSON"):
            ask(Spec("model", {"x": value}))


def test_key_of_a_task_is_its_own_or_the_hash_of_its_text():
    assert Task("leave").key == Task("leave").key != Task("stay").key
    assert Task("leave", "house-1").key == "house-1"
    assert Task("\ud800").key, "a lone surrogate is a text as well"
