"""Labelled data sets: what their rows mean, by hand."""

import io
import json
from pathlib import Path

import pytest
from records import AGENT_BENCH, LOG, PLAIN, PROCESS, SHEPHERD, SOLUTION, STEPWISE, copy

from agentprm import formats
from agentprm.errors import InvalidFormat, InvalidScores, InvalidSpec
from agentprm.testing.trajectories import episode
from agentprm.types import Action, Observation, Scores, Spec, Step, ToolCall

REAL = Path(__file__).parents[3] / "shared" / "data"


def reading(record, form=None):
    return list(formats.read(io.BytesIO(json.dumps(record).encode()), form))


def changed(record, **changes):
    return copy(record) | changes


def test_agentprocessbench_rates_steps_by_the_index_of_their_message():
    trajectory, labels = reading(AGENT_BENCH)
    assert (trajectory.outcome, trajectory.group, trajectory.external_id) == (1.0, "hotpot/1", "hotpot/3")
    assert trajectory.meta["tools"] == PLAIN["tools"]
    assert (labels.values, labels.unit, labels.source.name) == ((0.5, 1.0), "correctness", "agentprocessbench")
    assert labels.parts == {"rating": (0.0, 1.0)}
    assert labels.source.params == {"by": "human", "neutral": "ternary"}


@pytest.mark.parametrize(("neutral", "value"), [("positive", 1.0), ("negative", 0.0), ("ternary", 0.5), ("drop", None)])
def test_what_neutral_counts_as_is_a_choice_and_another_source(neutral, value):
    _, labels = reading(AGENT_BENCH, f"agentprocessbench:neutral={neutral}")
    assert labels.values == (value, 1.0)
    assert labels.source.params["neutral"] == neutral
    assert labels.parts == {"rating": (0.0, 1.0)}


def test_an_unknown_choice_is_refused():
    with pytest.raises(InvalidFormat, match="neutral is one of positive, negative, ternary, drop, not 'maybe'"):
        reading(AGENT_BENCH, "agentprocessbench:neutral=maybe")
    with pytest.raises(InvalidSpec, match="has no option 'neural' to read with; there are neutral"):
        reading(AGENT_BENCH, "agentprocessbench:neural=drop")


@pytest.mark.parametrize("labels", [{"1": 1}, {"99": 1}, {"two": 1}, {"2": 2}, {"2": "1"}], ids=str)
def test_a_label_of_no_decision_is_refused(labels):
    with pytest.raises(InvalidFormat, match="step_labels"):
        reading(changed(AGENT_BENCH, step_labels=labels))


def test_who_and_when_marks_the_decisive_step_and_no_other():
    trajectory, labels = reading(LOG)
    assert [(s.info["agent"], s.observation.text) for s in trajectory.steps] == [
        ("Planner", ""), ("Coder", ""), ("Checker", "exitcode: 0\n4"),
    ]  # fmt: skip
    assert (trajectory.last.text, trajectory.outcome, trajectory.external_id) == ("bye", 0.0, "q1")
    assert (labels.start, labels.values, labels.notes) == (1, (0.0,), ("no filter",))


def test_a_mistake_in_what_a_terminal_printed_is_that_of_the_step_before():
    assert reading(changed(LOG, mistake_step="2"))[1].start == 1
    assert reading(changed(LOG, mistake_step=3))[1].start == 2
    with pytest.raises(InvalidFormat, match="mistake_step: expected the index of one of 5 messages, not '5'"):
        reading(changed(LOG, mistake_step="5"))


def test_prm800k_labels_each_completion_once():
    whole, path, *others = reading(SOLUTION)
    assert [s.action.text for s in whole.steps] == ["2 * 3 = 6", "I like six", "2 + 6 = 8"]
    assert path.values == (1.0, 1.0, None), "neutral is positive, and a human's own step unrated"
    assert whole.ending.status == "completed"
    forks = others[::2]
    assert [[s.action.text for s in t.steps] for t in forks] == [
        ["2 * 3 = 6", "6 + 3 = 9"], ["2 * 3 = 6", "I like six", "9"],
    ]  # fmt: skip
    assert [(t.parent.trajectory_id, t.parent.index) for t in forks] == [(whole.id, 1), (whole.id, 2)]
    assert [(s.start, s.values) for s in others[1::2]] == [(1, (0.0,)), (2, (0.0,))]


def test_prm800k_without_alternatives_and_with_neutral_steps_as_trl_has_them():
    _, path = reading(SOLUTION, "prm800k:alternatives=false,neutral=negative")
    assert path.values == (1.0, 0.0, None)


def test_prm800k_stops_where_nothing_was_gone_on_with():
    record = copy(SOLUTION)
    record["label"]["steps"][1]["chosen_completion"] = None
    record["label"]["finish_reason"] = "found_error"
    whole, _, *others = reading(record)
    assert (len(whole), whole.ending.status) == (1, "incomplete")
    assert [t.steps[-1].action.text for t in others[::2]] == ["6 + 3 = 9", "I like six"]


def test_math_shepherd_finds_its_first_step_behind_the_question():
    trajectory, labels = reading(SHEPHERD)
    assert trajectory.task.text == "Ann has 2 eggs. How many?"
    assert [s.action.text for s in trajectory.steps] == ["Step 1: Count them.", "Step 2: The answer is: 3"]
    assert labels.values == (1.0, 0.0)


@pytest.mark.parametrize("column", ["input", "label"])
def test_a_row_of_math_shepherd_that_does_not_fit_together_is_refused(column):
    with pytest.raises(InvalidFormat, match=f"line 1, {column}"):
        reading(changed(SHEPHERD, **{column: SHEPHERD[column][5:].replace("Step 1:", "Step one:")}))


def test_processbench_judges_up_to_the_first_wrong_step():
    trajectory, labels = reading(PROCESS)
    assert (labels.values, trajectory.outcome, trajectory.policy) == ((1.0, 0.0), 0.0, "some-model")
    assert reading(changed(PROCESS, label=-1, final_answer_correct=True))[1].values == (1.0, 1.0, 1.0)
    with pytest.raises(InvalidFormat, match="label"):
        reading(changed(PROCESS, label=3))


def written(*items, **options):
    file, form = (
        io.BytesIO(),
        "trl" + (":" + ",".join(f"{k}={json.dumps(v)}" for k, v in options.items()) if options else ""),
    )
    formats.write(file, items, form)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def judged(trajectory, *values, name="judge", **more):
    return Scores(trajectory.id, Spec(name), "value", values, **more)


def test_trl_rows_come_back_as_they_were():
    items = reading(STEPWISE)
    assert items[1].values == (1.0, 0.0)
    assert written(*items) == [STEPWISE]


def test_trl_soft_labels_are_a_choice():
    t = episode(("a", "b"), ("c", "d"), task="")
    assert written(t, judged(t, 0.9, 0.4))[0]["labels"] == [True, False]
    assert written(t, judged(t, 0.9, 0.4), soft=True)[0]["labels"] == [0.9, 0.4]


def test_a_trl_completion_ends_with_its_action_and_what_was_seen_begins_the_next():
    call = ToolCall("look", {}, "1", "a key", "ok")
    steps = (
        Step(Observation("a room"), Action(plan="hm", tool_calls=(call,))),
        Step(Observation("dark"), Action("go")),
    )
    t = episode(("a", "b"), task="leave")._with(steps=steps)
    assert written(t, judged(t, 1, 0)) == [
        {"prompt": "leave\n\na room", "completions": ["hm\nlook({})", "a key\ndark\ngo"], "labels": [True, False]}
    ]


def test_an_unlabelled_step_joins_the_next_in_trl():
    t = episode(("a", "b"), ("c", "d"), ("e", "f"), task="")
    assert written(t, judged(t, None, 1.0, None)) == [{"prompt": "a", "completions": ["b\nc\nd"], "labels": [True]}]
    assert written(t) == []


def test_trl_takes_the_labels_of_one_source():
    t = episode(("a", "b"), task="")
    both = (t, judged(t, 1.0), judged(t, 0.0, name="other"))
    with pytest.raises(InvalidScores, match=r"judge .*, other .*: name one as source"):
        written(*both)
    assert written(*both, source="other")[0]["labels"] == [False]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data are not here")
class TestRealFiles:
    def test_agentprocessbench(self):
        items = list(formats.read(REAL / "agentprocessbench_hotpotqa.jsonl"))
        values = [v for scores in items[1::2] for v in scores.values]
        assert (len(items[::2]), len(values)) == (100, 283)
        assert [values.count(v) for v in (1.0, 0.5, 0.0)] == [187, 18, 78]

    def test_agentprocessbench_as_conversations_comes_back_word_for_word(self):
        path = REAL / "agentprocessbench_hotpotqa.jsonl"
        file = io.BytesIO()
        formats.write(file, formats.read(path, "openai_messages"), "openai_messages")
        lines = path.read_text(encoding="utf-8").splitlines()
        assert list(map(json.loads, file.getvalue().splitlines())) == list(map(json.loads, lines))

    def test_who_and_when(self):
        items = list(formats.read(REAL / "who_and_when_algorithm_generated.jsonl"))
        assert len({t.id for t in items[::2]}) == 126
        named = [
            t.steps[s.start].info["agent"] == t.meta["mistake_agent"] for t, s in zip(*[iter(items)] * 2, strict=True)
        ]
        assert named.count(True) == 125, "step and agent of the file contradict each other in one log"
