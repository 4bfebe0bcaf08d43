from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from agentprm.errors import InvalidScores, TrainingError
from agentprm.labels.outcome import Outcome
from agentprm.testing.trajectories import corridors, episode
from agentprm.train.batches import Labelled, batches, is_labelled, split, taken, thinned
from agentprm.types import Fork, Scores, Spec, new_id


def tasks(*names):
    return [episode(("a", "b"), task=name) for name in names]


def pairs(*lengths):
    played = [episode(*[("a", "b")] * n, outcome=1.0) for n in lengths]
    return list(Labelled(played, Outcome()))


def test_labels_are_made_anew_at_every_pass():
    calls = []
    labelled = Labelled(corridors(3), lambda played: calls.append(len(played)) or Outcome()(played))
    assert [len(list(labelled)) for _ in range(2)] == [3, 3]
    assert calls == [3, 3]


def test_trajectories_that_can_be_read_only_once_are_kept():
    labelled = Labelled(iter(corridors(3)), Outcome())
    assert [len(list(labelled)), len(list(labelled)), len(labelled)] == [3, 3, 3]


def test_a_task_is_never_on_both_sides():
    played = tasks(*"abcabcddeeefgh")
    for seed in range(20):
        learn, held = split(played, 0.3, seed)
        assert sorted(learn + held) == list(range(len(played)))
        assert not {played[i].task.key for i in learn} & {played[i].task.key for i in held}
        assert learn
        assert held


def test_about_the_wanted_share_is_held_out():
    assert len(split(tasks(*map(str, range(100))), 0.15, seed=1)[1]) == 15


def test_the_split_follows_the_seed():
    played = tasks(*"abcdefghij")
    assert split(played, 0.3, 0) == split(played, 0.3, 0) != split(played, 0.3, 1)


def test_a_huge_task_does_not_leave_nothing_to_learn_from():
    for seed in range(10):
        learn, held = split(tasks(*"aaaaaaaaab"), 0.99, seed)
        assert learn
        assert held


def test_a_single_task_is_split_by_episode_with_a_warning():
    with pytest.warns(UserWarning, match="one task"):
        learn, held = split(tasks(*"aaaaaaaaaa"), 0.2, seed=0)
    assert (len(learn), len(held)) == (8, 2)


def test_nothing_is_held_out_of_one_trajectory_or_for_a_share_of_0():
    assert split(tasks("a"), 0.5, 0) == ([0], [])
    assert split(tasks("a", "b"), 0.0, 0) == ([0, 1], [])
    assert split([], 0.5, 0) == ([], [])


def test_batches_hold_whole_trajectories_each_once():
    items = pairs(3, 5, 2, 4, 1, 7)
    made = list(batches(items, 6, np.random.default_rng(0)))
    assert sorted(len(t) for batch in made for t, _ in batch) == [1, 2, 3, 4, 5, 7]
    assert all(sum(len(t) for t, _ in batch) >= 6 for batch in made[:-1])


def test_forks_of_one_trajectory_and_those_of_one_group_follow_on_one_another():
    parents = [new_id() for _ in range(5)]
    forks = [replace(t, parent=Fork(parents[i % 5], 0)) for i, (t, _) in enumerate(pairs(*[1] * 20))]
    grouped = [replace(t, group="abc"[i % 3]) for i, (t, _) in enumerate(pairs(*[1] * 9))]
    called = [replace(t, parent=Fork(parents[0], 0, call="1")) for t, _ in pairs(*[1] * 3)]
    given = [(t, Scores(t.id, Spec("given"), "value", (1.0,))) for t in (*forks, *grouped, *called)]
    orders = []
    for seed in range(5):
        made = [t for batch in batches(given, 4, np.random.default_rng(seed)) for t, _ in batch]
        families = [(t.parent and t.parent.call is None and t.parent.trajectory_id) or t.group or t.id for t in made]
        assert len([1 for a, b in pairwise(families) if a != b]) == len(set(families)) - 1 == 10
        orders.append([t.id for t in made])
        assert len(made) == len({t.id for t in made}) == 32
    assert len(set(map(tuple, orders))) == 5


def test_what_is_left_over_is_a_batch_too():
    assert [len(batch) for batch in batches(pairs(2, 2, 2), 4, np.random.default_rng(0))] == [2, 1]


@pytest.mark.parametrize("wrong", [episode(), "ab", (1, 2)])
def test_what_is_no_pair_is_refused(wrong):
    with pytest.raises(TrainingError, match="pair"):
        taken([wrong])


def test_labels_of_another_trajectory_are_refused():
    (one, _), (_, labels) = pairs(2, 2)
    with pytest.raises(InvalidScores, match="order"):
        taken([(one, labels)])


def test_the_same_steps_of_an_episode_and_its_forks_are_kept():
    whole = episode(*[("a", "b")] * 6, outcome=1.0)
    fork = replace(episode(*[("a", "b")] * 6), parent=Fork(whole.id, 5))
    other = episode(*[("a", "b")] * 3, outcome=0.0)
    labels = [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (None,) * 5 + (0.9,), (0.0, None, 1.0)]
    given = [(t, Scores(t.id, Spec("given"), "value", v)) for t, v in zip((whole, fork, other), labels, strict=True)]
    met = set()
    for seed in range(30):
        thin = {t.id: scores.values for t, scores in thinned(given, 2, np.random.default_rng(seed))}
        kept = [t for t, value in enumerate(thin[whole.id]) if value is not None]
        assert len(kept) == 2
        assert [thin[whole.id][t] for t in kept] == [labels[0][t] for t in kept]
        assert (fork.id in thin) == (5 in kept)
        assert thin[other.id] == labels[2]
        met.update(kept)
    assert met == set(range(6))
    assert all(map(is_labelled, thinned(given, 1, np.random.default_rng(0))))
