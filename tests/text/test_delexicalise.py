"""Where each argument comes from, hand-made."""

import pytest

from agentprm.testing.elsewhere import call_elsewhere
from agentprm.text.delexicalise import delexicalise
from agentprm.types import Action, Observation, Step, Task, ToolCall, Trajectory, new_id

TABLE = "id | town | price\n12 | Linz | 3.50\n34 | Bonn | 4.00"


def told(*decisions, task="what does Linz cost?"):
    """The last decision, in the words of the model; before it calls, each with its output."""
    actions = [
        Action(d) if isinstance(d, str) else Action(tool_calls=(ToolCall(d[0], d[1], output=d[2]),)) for d in decisions
    ]
    steps = [Step(Observation(), action) for action in actions]
    return delexicalise(Trajectory(new_id(), Task(task), tuple(steps), Observation())).steps[-1]


LOOKUP = ("lookup", {"table": "towns"}, TABLE)


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("12", "last_best"),
        ("34", "last_worse"),
        ("99", "nowhere"),
        ("Linz", "linz_last_best"),
        ("cost", "cost_task"),
        ("3.50 + 4.00", "last_best+last_worse + covers_all"),
        ("3.50 + 9.00", "last_best+nowhere + covers_some"),
        ("8 - 9", "nowhere - covers_none"),
        ("", "nowhere"),
        ("?!", "nowhere"),
    ],
)
def test_an_argument_is_said_by_its_origin(value, origin):
    assert told(LOOKUP, ("next", {"x": value}, None)).action.text == f"next x={origin}"


def test_earlier_results_are_named_by_their_tool():
    assert told(LOOKUP, ("wait", {}, "done"), ("next", {"x": "34"}, None)).action.text == "next x=lookup_worse"


def test_a_call_that_was_made_before_is_said_to_be():
    assert told(LOOKUP, LOOKUP).action.text == "lookup table=towns_nowhere again"


@pytest.mark.parametrize(
    ("answer", "words"),
    [("It is 7.5.", "it is calculate:last_whole"), ("It is 12.", "it is calculate:lookup_best"), ("No!", "no")],
)
def test_figures_of_an_answer_are_said_by_their_origin(answer, words):
    assert told(LOOKUP, ("calculate", {"expression": "3.50 + 4.00"}, "7.5"), answer).action.text == words


@pytest.mark.parametrize(
    ("output", "seen"),
    [
        (TABLE, "lookup ok lines_3"),
        ("no rows", "lookup ok lines_1 no rows"),
        ("", "lookup ok lines_0"),
        (None, "lookup ok lines_0"),
    ],
)
def test_results_are_said_by_their_size(output, seen):
    assert told(("lookup", {}, output), "well").observation.text == seen


def test_what_a_call_brought_says_nothing_of_the_call():
    one, two = (told(LOOKUP, ("next", {"x": "12"}, output)) for output in ("12", None))
    assert (one.action, one.observation) == (two.action, two.observation)


def test_actions_of_an_environment_after_a_call_keep_their_words():
    steps = (
        Step(Observation(), Action(tool_calls=(ToolCall(*LOOKUP[:2], output=TABLE),))),
        Step(Observation(), Action(native="go on")),
    )
    told = delexicalise(Trajectory(new_id(), Task("t"), steps, Observation()))
    assert told.steps[-1].action.text == "go on"


class Elsewhere:
    """Lines that are equally good but for the order of their words, for another process."""

    def told(self, n):
        one, two = ([f"{letter}{i}" for i in range(n)] for letter in "ab")
        lines = [f"{words[0]}id {' '.join(words[:k])}" for words in (one, two) for k in range(1, n + 1)]
        calls = [("next", {"x": words[-1]}, None) for words in (one, two)]
        task = " ".join(one + two)
        return [told(("search", {}, "\n".join(lines)), call, task=task).action.text for call in calls]


def test_lines_that_are_equally_good_are_so_in_every_process():
    assert {answer for seed in "123" for answer in call_elsewhere(Elsewhere, "told", 40, hash_seed=seed)} == {
        "next x=last_best"
    }


def test_without_tool_calls_nothing_changes():
    steps = (Step(Observation("a door"), Action("open door 1", native=3)), Step(Observation("7"), Action("go")))
    trajectory = Trajectory(new_id(), Task("leave"), steps, Observation("a garden"))
    assert delexicalise(trajectory) == trajectory


@pytest.mark.parametrize("arguments", [None, "no JSON", [1, 2], {"deep": {"x": [1]}}, {"": ""}, {1: 2}])
def test_arguments_of_any_form_are_said(arguments):
    assert told(LOOKUP, ("next", arguments, object())).action.text.startswith("next ")
