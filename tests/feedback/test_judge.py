"""One call for all that moved; what the scorer does wrong is counted, said once, and never reaches the agent."""

import logging

import pytest

from agentprm.errors import InvalidScores, MissingText
from agentprm.feedback.judge import Judge, last_score, stepped
from agentprm.testing.trajectories import episode
from agentprm.types import Action, Observation, Scores, Spec, Step

TWO, THREE = episode(("a", "b"), ("c", "d")), episode(("a", "b"), ("c", "d"), ("e", "f"))


class Scripted:
    """Says the value given for each trajectory, and remembers what it was asked."""

    def __init__(self, *says, unit="value", sees="action"):
        self.says, self.unit, self.sees, self.calls = says, unit, sees, []
        self.spec = Spec("scripted")

    def __call__(self, trajectories, /):
        self.calls.append(trajectories)
        return [
            Scores(t.id, self.spec, self.unit, (None,) * (len(t) - 1) + (said,), sees=self.sees)
            for t, said in zip(trajectories, self.says, strict=True)
        ]


def values(answers):
    return [scores and scores.values for scores in answers]


@pytest.mark.parametrize("sees", ["action", "result"])
def test_all_are_asked_about_in_one_call_with_what_may_be_seen(sees):
    scorer = Scripted(0.25, 0.75, sees=sees)
    answers = Judge(scorer)([TWO, THREE])
    assert values(answers) == [(0.25,), (0.75,)]
    assert [(s.trajectory_id, s.start) for s in answers] == [(TWO.id, 1), (THREE.id, 2)]
    assert scorer.calls == [[TWO.seen(1, sees), THREE.seen(2, sees)]]


def test_nobody_moved_and_nobody_is_asked():
    scorer = Scripted()
    assert Judge(scorer)([]) == []
    assert scorer.calls == []


@pytest.mark.parametrize("unit", ["value", "correctness"])
@pytest.mark.parametrize("wrong", [1.0000001, -1e-9, 7.0])
def test_a_value_outside_0_and_1_is_a_failure_of_that_episode_alone(unit, wrong, caplog):
    judge = Judge(Scripted(wrong, 0.5, unit=unit))
    assert values(judge([TWO, THREE])) == [None, (0.5,)]
    assert judge.failed == 1
    assert f"a {unit} lies in [0, 1], and scripted said {wrong} of step 1: scale it" in caplog.text


@pytest.mark.parametrize("number", [0.0, 1.0, None])
def test_the_bounds_themselves_and_no_opinion_are_answers(number):
    judge = Judge(Scripted(number))
    assert values(judge([TWO])) == [(number,)]
    assert judge.failed == 0


def test_a_reward_may_be_any_finite_number():
    judge = Judge(Scripted(-7.5, 1e300, unit="reward"))
    assert values(judge([TWO, THREE])) == [(-7.5,), (1e300,)]
    assert judge.failed == 0


@pytest.mark.parametrize("says", [(0.5,), (0.5, 0.5, 0.5)], ids=["too few", "too many"])
def test_an_answer_for_others_than_were_asked_about_fails_for_all(says):
    class Careless(Scripted):
        def __call__(self, trajectories, /):
            return [Scores(TWO.id, self.spec, "value", (0.5, 0.5)) for _ in self.says]

    judge = Judge(Careless(*says))
    assert judge([TWO, THREE]) == [None, None]
    assert judge.failed == 1


def test_failures_are_counted_and_said_once(caplog):
    judge = Judge(Scripted())
    for _ in range(3):
        assert judge([TWO]) == [None]
    assert judge.failed == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_an_environment_without_words_is_a_mistake_of_whoever_wired_it():
    class Reading(Scripted):
        def __call__(self, trajectories, /):
            raise MissingText("no words")

    judge = Judge(Reading())
    with pytest.raises(MissingText):
        judge([TWO])
    assert judge.failed == 0


def test_the_last_score_keeps_parts_notes_and_sight():
    given = Scores(TWO.id, Spec("x"), "value", (0.1, 0.2), 0, {"spread": (0.3, 0.4)}, ("a", "b"), "result")
    assert last_score(given, TWO) == Scores(TWO.id, Spec("x"), "value", (0.2,), 1, {"spread": (0.4,)}, ("b",), "result")
    with pytest.raises(InvalidScores, match=r"was asked for step 2 of .* and scored 2 steps from 0 on of"):
        last_score(given, THREE)


@pytest.mark.parametrize(
    ("flags", "status"), [((True, False), "terminated"), ((False, True), "truncated"), ((True, True), "terminated")]
)
def test_one_step_on_with_the_flags_of_the_world(flags, status):
    running = episode(("a", "b"), status=None)
    step, result = Step(Observation("c"), Action("d")), Observation("e")
    assert stepped(running, step, result, False, False) == running.append(step, result)
    ending = stepped(running, step, result, *flags).ending
    assert (ending.status, ending.terminated, ending.truncated, ending.outcome) == (status, *flags, None)
