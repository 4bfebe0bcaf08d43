from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from agentprm.errors import InvalidTrajectory, SightError
from agentprm.labels.outcome import Outcome
from agentprm.ops import aggregate
from agentprm.record.rollout import rollout
from agentprm.scorers.constant import Constant
from agentprm.search.best_of_n import Reranked, best_action, best_of_n
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import episode
from agentprm.types import Action, Scores, Spec, ToolCall

START = episode(("a", "b"), last="c", status=None)


@dataclass
class Table:
    """A score for each action's text; remembers what it was asked."""

    scores: dict
    asked: list = field(default_factory=list)
    unit: str = "value"
    sees: ClassVar[str] = "action"
    spec: ClassVar[Spec] = Spec("table")

    def __call__(self, trajectories, /):
        self.asked.append(list(trajectories))
        return [
            Scores(t.id, self.spec, self.unit, tuple(self.scores.get(s.action.text) for s in t.steps))
            for t in trajectories
        ]


def offers(*texts):
    return lambda trajectory, info, n: [Action(text) for text in texts][:n]


def test_the_best_scored_candidate_is_chosen():
    assert best_action(offers("x", "y", "z"), Table({"x": 0.1, "y": 0.9, "z": 0.5}), START, {}, 3).text == "y"


def test_only_n_are_proposed():
    assert best_action(offers("x", "y"), Table({"x": 0.1, "y": 0.9}), START, {}, 1).text == "x"


def test_equal_candidates_are_scored_once_and_all_in_one_call():
    judge = Table({"x": 0.1, "y": 0.9})
    best_action(offers("x", "y", "x", "y", "x"), judge, START, {}, 5)
    assert [[t.steps[-1].action.text for t in call] for call in judge.asked] == [["x", "y"]]


def test_a_single_kind_of_candidate_is_not_scored_at_all():
    judge = Table({})
    assert best_action(offers("x", "x"), judge, START, {}, 2).text == "x"
    assert judge.asked == []


def test_a_scorer_is_shown_what_one_sees_before_the_action_is_taken():
    judge = Table({})
    best_action(
        lambda t, i, n: [Action(tool_calls=(ToolCall("f", i, "1", "out"),)) for i in range(n)], judge, START, {}, 2
    )
    for shown in judge.asked[0]:
        assert len(shown) == 2
        assert shown.steps[0] == START.steps[0]
        assert shown.steps[1].observation == START.last
        assert shown.steps[1].action.tool_calls[0].status == "pending"
        assert (shown.ending, shown.last.text) == (None, "")


def test_among_equals_the_more_frequent_wins_then_the_first():
    assert best_action(offers("x", "y", "z", "y"), Constant(0.5), START, {}, 4).text == "y"
    assert best_action(offers("x", "y", "z"), Constant(0.5), START, {}, 3).text == "x"


def test_a_candidate_without_a_score_comes_last():
    assert best_action(offers("x", "x", "y"), Table({"y": -5.0}), START, {}, 3).text == "y"
    assert best_action(offers("x", "y", "y"), Table({}), START, {}, 3).text == "y"


def test_nothing_proposed_is_nothing_to_choose_from():
    with pytest.raises(InvalidTrajectory, match="no candidate"):
        best_action(offers(), Constant(), START, {}, 3)


@pytest.mark.parametrize("make", [lambda s: best_action(offers("x"), s, START, {}, 1), lambda s: Reranked(None, s, 2)])
def test_a_scorer_that_sees_too_much_is_refused(make):
    with pytest.raises(SightError):
        make(Outcome())


def test_no_candidates_at_all_is_refused_at_once():
    with pytest.raises(InvalidTrajectory):
        Reranked(None, Constant(), 0)


def test_a_reranked_policy_plays_better_than_the_policy():
    class Clever(Table):
        def __call__(self, trajectories, /):
            self.scores = {"go left": float("left" in trajectories[0].task.text), "go right": 0.5, "wait": 0.0}
            return super().__call__(trajectories)

    from agentprm.record.policies import RandomPolicy

    plain, chosen = (
        rollout(policy, Corridor(), episodes=40)
        for policy in (RandomPolicy(0), Reranked(RandomPolicy(0), Clever({}), n=16))
    )
    assert sum(t.outcome for t in chosen) > 36 > 25 > sum(t.outcome for t in plain)


def test_a_plain_policy_is_asked_n_times():
    said = iter(["x", "y", "z"])
    policy = Reranked(lambda trajectory, info: next(said), Table({"x": 0.1, "y": 0.9, "z": 0.5}), n=3)
    assert policy(START, {}) == "y"


def test_the_native_action_is_what_is_returned():
    policy = Reranked(lambda trajectory, info: 7, Constant(), n=2)
    assert policy(START, {}) == 7


def test_of_whole_episodes_the_one_with_the_best_last_value_is_chosen():
    a, b, c = (episode(*[(".", text) for text in texts]) for texts in ("ab", "ba", "cb"))
    table = Table({"a": 0.9, "b": 0.2, "c": 0.4})
    assert best_of_n([a, b, c], table) is b
    assert best_of_n([a, b, c], table, aggregate.minimum) is a
    assert best_of_n([c, a, b], table, aggregate.mean) is a


def test_the_unit_names_the_aggregate():
    a, b = (episode(*[(".", text) for text in texts]) for texts in ("aab", "ba"))
    assert best_of_n([b, a], Table({"a": 0.5, "b": 0.4}, unit="reward")) is a
    assert best_of_n([a, b], Table({"a": 0.5, "b": 0.4}, unit="correctness")) is b


def test_episodes_without_a_score_come_last():
    a, b = episode((".", "silent")), episode((".", "bad"))
    assert best_of_n([a, b], Table({"bad": -1.0})) is b
    assert best_of_n([a, b], Table({})) is a


def test_the_best_of_no_episodes_is_refused():
    with pytest.raises(InvalidTrajectory):
        best_of_n([], Constant())
