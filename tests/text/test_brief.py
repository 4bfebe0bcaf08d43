"""A wording in which each step stands by itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentprm.errors import InvalidSpec
from agentprm.scorers.discriminative import Discriminative
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.spec import load_scorer
from agentprm.testing.scorer import StepRewardModelContract
from agentprm.testing.trajectories import corridors, episode
from agentprm.text.brief import Brief, BriefEncoder, brief, matching
from agentprm.text.render import PLAIN, samples
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.types import Action, Observation, Step, ToolCall

PLAYED = corridors(8)
TOKENIZER = train_tokenizer(texts(PLAYED), vocab_size=360)
SEARCH = ToolCall("search", {"q": "lamp"}, output="a.txt: a lamp")


def told(trajectory, t, sees="action", **options):
    template = Brief(**options)
    return template.text(brief(trajectory, t, template, sees))


def test_a_step_is_told_by_the_task_what_was_done_the_latest_sight_and_the_decision():
    walked = episode(("a hall", "go on"), ("a room", "look"), ("a room", "go on"), ("a red door", "open the red door"))
    assert told(walked, 3) == (
        "<|task|>leave the house<|gap|>3<|action|>look<|action|>go on<|observation|>a red door"
        "<|action|>open the red door<|beside|>the<|beside|>a red door<|step|>"
    )


def test_one_who_sees_the_result_reads_what_came_of_it_and_nothing_else():
    walked = episode(("a hall", "go on"), ("a room", "look"), last="a garden")
    assert told(walked, 1, "result") == (
        "<|task|>leave the house<|gap|>2<|action|>go on<|action|>look<|observation|>a garden<|step|>"
    )


def test_it_is_told_what_was_seen_and_done_before_on_the_same_sight():
    walked = episode(("a hall", "knock"), ("a hall", "knock"), ("a hall", "wait"), last="a hall")
    knocked, waited, after = told(walked, 1), told(walked, 2), told(walked, 2, "result")
    assert "<|gap|>1 again 1<" in knocked
    assert "<|action|>knock<|beside|>again 1<|step|>" in knocked
    assert "again" not in waited.rpartition("<|action|>")[2]
    assert "<|gap|>3 again 3<" in after
    assert "again" not in told(walked, 1, again=False)


def test_more_turns_are_read_with_their_observations():
    walked = episode(("a hall", "go on"), ("a room", "look"), ("a cellar", "wait"))
    assert told(walked, 2, turns=2, matches=False) == (
        "<|task|>leave the house<|gap|>2<|action|>go on<|observation|>a room<|action|>look<|observation|>a cellar"
        "<|action|>wait<|step|>"
    )
    assert told(walked, 2, done=0, matches=False) == (
        "<|task|>leave the house<|gap|>2<|observation|>a cellar<|action|>wait<|step|>"
    )


def test_what_calls_returned_is_read_by_the_decision_after_them_only():
    steps = [Step(Observation("q"), Action(tool_calls=(SEARCH,))), Step(Observation(), Action("it is a lamp"))]
    asked = episode(("q", "x"), ("q", "y"))
    asked = asked._with(steps=tuple(steps))
    assert "<|result|>" not in told(asked, 0)
    assert "<|result|>a.txt: a lamp<|observation|><|action|>it is a lamp<|beside|>a.txt: a lamp" in told(asked, 1)


def test_what_is_to_be_skipped_is_not_read():
    seen = "a red door\nChoices: open the red door, wait"
    assert "Choices" not in told(episode((seen, "wait")), 0, skip=r"\nChoices.*")
    assert "Choices" in told(episode((seen, "wait")), 0)


@pytest.mark.parametrize("wrong", [{"turns": 0}, {"done": -1}, {"skip": "("}, {"beside": "<|gap|>"}])
def test_a_wording_that_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidSpec):
        Brief(**wrong)


def test_a_line_that_lists_the_action_is_not_what_matches_it():
    listed = "A red key lies here. A box lies there.\nYou can: take red key, wait"
    assert matching("take red key", "fetch the box", listed) == ("", "A red key lies here.")
    assert matching("wait", "fetch the box", "A box.") == ("", "")
    assert matching("take the box", "fetch the box", "a box. the box. a key") == ("the box", "the box.")


def test_of_two_lines_the_one_with_the_rarer_words_matches():
    seen = "a door is left. a door is right. a blue door is ahead."
    assert matching("open blue door", "leave", seen)[1] == "a blue door is ahead."


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=80))
@settings(max_examples=50, deadline=None)
def test_whatever_is_said_something_matches_or_nothing_does(action, task, sight):
    shared, line = matching(action, task, sight)
    assert line in sight
    assert set(shared.split()) <= set(action.lower().split()) | set(shared.split())


@pytest.mark.parametrize("sees", ["action", "result"])
@pytest.mark.parametrize("options", [{}, {"turns": 3, "done": 0}, {"matches": False, "again": False}])
def test_a_step_is_read_the_same_live_and_afterwards(sees, options):
    template = Brief(**options)
    encoder = BriefEncoder.of(TOKENIZER, template)
    for trajectory in (*PLAYED, *samples(template)):
        whole = encoder.readings(trajectory, sees)
        assert [one.first for one in whole] == list(range(len(trajectory)))
        for t, one in enumerate(whole):
            live = BriefEncoder.of(TOKENIZER, template).readings(trajectory.seen(t, sees), sees)[t]
            assert live == one
            assert one.ends == (len(one.ids) - 1,)
            assert 0 <= one.begins[0] <= one.ends[0]


def test_digests_tell_wordings_apart():
    digests = {Brief().digest, Brief(turns=2).digest, Brief(matches=False).digest, Brief(skip="x").digest, PLAIN.digest}
    assert len(digests) == 5


def test_a_model_that_reads_briefly_is_saved_and_loaded_and_reads_the_same(tmp_path):
    model = Discriminative.tiny(TOKENIZER, hidden=32, layers=1, unit="value", template=Brief(turns=2, skip="x+"))
    model.save(tmp_path / "model")
    loaded = load_scorer(tmp_path / "model")
    assert loaded.encoder.template == Brief(turns=2, skip="x+")
    assert loaded.spec.params["template"] == model.spec.params["template"]
    assert [s.values for s in loaded(PLAYED)] == [s.values for s in model(PLAYED)]


def test_alternatives_are_told_apart_and_compared_in_their_state():
    model = PromiseProgress.tiny(TOKENIZER, hidden=32, layers=1, template=Brief())
    one, other = episode(("a door", "knock"), ("a door", "open it")), episode(("a door", "knock"), ("a door", "wait"))
    before = [
        window.ids[: window.begins[0]] for (windows, _) in map(model.read, (one, other)) for window in windows[1:]
    ]
    assert before[0] == before[1]


class TestBriefModel(StepRewardModelContract):
    can_be_remade = False
    learning_rate = 1e-3

    def make_model(self):
        return Discriminative.tiny(TOKENIZER, hidden=64, unit="value", template=Brief())
