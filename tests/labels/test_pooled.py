import json

import numpy as np
import pytest

from agentprm import Store
from agentprm.errors import InvalidSpec, StoreError
from agentprm.labels.outcome import Outcome
from agentprm.labels.pooled import Pooled
from agentprm.record.policies import RandomPolicy
from agentprm.record.rollout import rollout
from agentprm.spec import make
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode, hostile
from agentprm.types import Action, Ending, Image, Observation, Step, Task, ToolCall, Trajectory, new_id


def values(episodes, trajectory=None, **kwargs):
    return Pooled(episodes, **kwargs)([trajectory or episodes[0]])[0].values


def one_step(action, outcome, seen=None):
    ending = Ending("terminated", terminated=True, outcome=outcome)
    return Trajectory(new_id(), Task("leave"), (Step(seen or Observation("a hall"), action),), Observation(), ending)


class TestContract(ScorerContract):
    can_be_remade = False

    def make_scorer(self):
        return Pooled(corridors(40, seed=3))


class TestContractOfAStore(ScorerContract):
    @pytest.fixture(autouse=True)
    def _recorded(self, tmp_path):
        self.url = tmp_path / "runs.db"
        with Store(self.url) as store:
            store.add(corridors(40, seed=3))

    def make_scorer(self):
        return Pooled(self.url, gamma=0.9, state="observation")


def test_a_label_is_the_mean_outcome_of_those_who_did_the_same():
    # Four took "go", of whom one won: ¼. Two of them then took "left": one won, ½. "right" lost twice.
    went = [(("a", "go"), ("b", "left"), 1.0), (("a", "go"), ("b", "left"), 0.0)]
    went += [
        (("a", "go"), ("b", "right"), 0.0),
        (("a", "go"), ("b", "right"), 0.0),
        (("a", "stay"), ("a", "left"), 1.0),
    ]
    played = [episode(first, second, outcome=outcome) for first, second, outcome in went]
    scores = Pooled(played)(played)
    assert [s.values for s in scores] == [(0.25, 0.5), (0.25, 0.5), (0.25, 0.0), (0.25, 0.0), (1.0, 1.0)]
    assert scores[0].parts == {"visits": (4, 2)}


def test_the_same_sight_after_another_past_is_another_state_unless_only_what_is_seen_counts():
    played = [episode(("a", "go"), ("b", "left"), outcome=1.0), episode(("c", "go"), ("b", "left"), outcome=0.0)]
    assert values(played) == (1.0, 1.0)
    assert values(played, state="observation") == (1.0, 0.5)


def test_a_step_taken_twice_in_one_episode_counts_twice_where_only_what_is_seen_counts():
    played = [episode(("a", "go"), ("a", "go"), outcome=1.0), episode(("a", "go"), outcome=0.25)]
    assert values(played, state="observation") == (0.75, 0.75)


def test_other_tasks_and_other_environments_are_other_states():
    played = [episode(("a", "go"), outcome=1.0), episode(("a", "go"), task="stay", outcome=0.0)]
    assert values(played) == (1.0,)


def test_discounted_returns_draw_to_the_half():
    # γ = ½: one step before the end of a success ½ (1 + ½) = 0.75, of a failure 0.25; two steps before 0.625.
    won, lost = (episode(("a", "x"), ("b", "y"), ("c", "z"), outcome=outcome) for outcome in (1.0, 0.0))
    assert values([won], gamma=0.5) == (0.625, 0.75, 1.0)
    assert values([lost], gamma=0.5) == (0.375, 0.25, 0.0)
    assert values([won, lost], gamma=0.5) == (0.5, 0.5, 0.5)


def test_episodes_that_share_nothing_keep_their_outcomes():
    played = [episode((word, word), ("b", "c"), outcome=outcome) for word, outcome in (("x", 0.5), ("y", 1.0))]
    assert [s.values for s in Pooled(played)(played)] == [s.values for s in Outcome()(played)]


def test_unfinished_episodes_are_labelled_by_those_that_finished():
    running = episode(("a", "go"), ("b", "stop"), status=None)
    finished = [episode(("a", "go"), ("b", "left"), outcome=1.0), episode(("a", "go"), outcome=None), running]
    scores = Pooled(finished)([running])[0]
    assert scores.values == (1.0, None)
    assert scores.parts == {"visits": (1, 0)}


def test_thoughts_and_call_ids_do_not_part_equal_actions():
    calls = [(ToolCall("search", {"q": "x"}, id, output),) for id, output in (("1", "found"), ("2", "nothing"))]
    thought = [Action("", plan, calls) for plan, calls in zip(("one thought", "another"), calls, strict=True)]
    assert values([one_step(thought[0], 1.0), one_step(thought[1], 0.0)]) == (0.5,)
    assert values([one_step(thought[0], 1.0), one_step(Action(tool_calls=(ToolCall("search"),)), 0.0)]) == (1.0,)


def test_native_actions_without_words_are_told_apart():
    assert values([one_step(Action(native=np.int64(i)), r) for i, r in ((3, 1.0), (3, 0.0), (4, 0.0))]) == (0.5,)


def test_arrays_and_pictures_tell_states_apart():
    arrays = [Observation(native=np.full((9, 9), i, np.uint8)) for i in (0, 0, 1)]
    wait = Action(native=np.int64(3))
    assert values([one_step(wait, r, seen) for r, seen in zip((1.0, 0.0, 0.0), arrays, strict=True)]) == (0.5,)
    pictures = [Observation(images=(Image("image/png", bytes([i])),)) for i in (0, 1)]
    assert values([one_step(wait, r, seen) for r, seen in zip((1.0, 0.0), pictures, strict=True)]) == (1.0,)


def test_a_text_observation_is_the_same_with_and_without_its_native_form():
    played = [one_step(Action("go"), 1.0, Observation("a", "a")), one_step(Action("go"), 0.0, Observation("a"))]
    assert values(played) == (0.5,)


def test_what_comes_back_from_a_store_pools_with_what_went_in(tmp_path):
    played = [*corridors(30, seed=1), *hostile()]
    with Store(tmp_path / "runs.db") as store:
        store.add(played)
        again = list(store.trajectories())
    live, stored = Pooled(played), Pooled(tmp_path / "runs.db")
    assert [s.values for s in stored(again)] == [s.values for s in live(played)]
    assert [s.parts for s in live(again)] == [s.parts for s in live(played)]


def test_its_means_are_true_values():
    # A fair walk of −1, 0 or +1 from the middle of five places: a first step toward the asked door is worth ¾.
    played = rollout(RandomPolicy(0), Corridor(500), episodes=300, seeds=[0] * 300, progress=False)
    asked = "go left" if "left" in played[0].task.text else "go right"
    worth = {t.steps[0].action.text: scores.values[0] for t, scores in zip(played, Pooled(played)(played), strict=True)}
    assert worth.pop(asked) == pytest.approx(0.75, abs=0.12)
    assert worth.pop("wait") == pytest.approx(0.5, abs=0.12)
    assert worth.popitem()[1] == pytest.approx(0.25, abs=0.12)


def test_other_episodes_are_another_recipe():
    few, more = corridors(5, seed=1), corridors(6, seed=1)
    assert Pooled(few).spec == Pooled(few[::-1]).spec
    assert Pooled(few).spec != Pooled(more).spec
    with pytest.raises(InvalidSpec, match="5 episodes"):
        make(Pooled(few).spec.plain())


def test_a_password_is_no_part_of_the_recipe():
    spec = Pooled("postgresql://me:secret@host/runs").spec
    assert "secret" not in json.dumps(spec.plain())


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(StoreError):
        Pooled(tmp_path / "none.db")([episode(("a", "b"), outcome=1.0)])
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("bad", [{"gamma": 0.0}, {"gamma": 1.1}, {"gamma": float("nan")}, {"state": "hash"}])
def test_a_bad_configuration_is_refused(bad):
    with pytest.raises(InvalidSpec):
        Pooled([], **bad)


@pytest.mark.parametrize("episodes", [3, [1, 2], {}, None])
def test_episodes_that_are_none_are_refused(episodes):
    with pytest.raises(InvalidSpec, match="episodes are trajectories"):
        Pooled(episodes)
