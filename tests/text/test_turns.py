from array import array

import torch

from agentprm.testing.trajectories import corridors, episode
from agentprm.text.render import render
from agentprm.text.stairs import stairs
from agentprm.text.tokens import Encoder, texts, train_tokenizer
from agentprm.text.turns import Beginnings, Turn, joined
from agentprm.types import Action, Observation, Step

PLAYED = corridors(4)
ENCODER = Encoder.of(train_tokenizer(texts(PLAYED), vocab_size=320))


def turn(*ids):
    return Turn(array("i", ids), (len(ids) - 1,), (0,), ())


def test_positions_count_from_the_first_turn():
    assert joined([turn(5, 6), turn(7), turn(8, 9)]) == Turn(array("i", [5, 6, 7, 8, 9]), (1, 2, 4), (0, 2, 3), ())


def test_joining_leaves_its_turns_as_they_were():
    first = turn(1, 2)
    joined([first, turn(3)])
    assert first == turn(1, 2)


class Turns:
    """The turns of some steps, and from where on they were asked for."""

    def __init__(self, n):
        self.n, self.asked = n, []

    def __call__(self, start):
        self.asked.append(start)
        return [turn(100)] * (start == 0) + [turn(i, i) for i in range(start, self.n)]


def test_an_episode_that_goes_on_asks_only_for_its_new_turn():
    steps = tuple(Step(Observation(str(i)), Action("go")) for i in range(6))
    beginnings, about = Beginnings(), (object(),)
    for n in range(1, 7):
        turns = Turns(n)
        assert beginnings.of(about, steps[:n], turns) == joined(Turns(n)(0))
        assert turns.asked == ([0] if n == 1 else [n - 1])
    again = Turns(6)
    beginnings.of(about, steps, again)
    assert again.asked == []
    assert len(beginnings) == 1


def test_equal_steps_of_another_episode_are_not_taken_for_its_own():
    one, other = (tuple(Step(Observation("a"), Action("go")) for _ in range(3)) for _ in range(2))
    beginnings, about = Beginnings(), (object(),)
    beginnings.of(about, one, Turns(3))
    for mixed, task in (((*other[:2], one[2]), about), (one, (object(),))):
        turns = Turns(3)
        beginnings.of(task, mixed, turns)
        assert turns.asked == [0]


def test_only_so_many_steps_are_remembered():
    beginnings = Beginnings()
    for _ in range(600):
        steps = tuple(Step(Observation("a"), Action("go")) for _ in range(50))
        beginnings.of((), steps, Turns(50))
    assert len(beginnings) <= 8192 // 50


def test_forks_of_an_episode_are_read_as_they_would_be_alone():
    trunk = episode(("a door", "open it"), ("a hall", "go on"), ("a fork", "left")).seen(2, "action")
    for word in ("left", "right", "back"):
        fork = trunk.append(Step(Observation("a wall"), Action(word)), Observation(word))
        for sees in ("action", "result"):
            for one in (fork, fork.append(Step(fork.last, Action(word)), Observation())):
                assert ENCODER.trajectory(one, sees) == ENCODER(render(one, sees))


def test_the_mask_is_a_staircase_behind_what_all_see():
    inf = float("inf")
    added = stairs(3, 2, torch.zeros(0))
    assert added.tolist() == [[0, 0, 0, -inf, -inf], [0, 0, 0, 0, -inf], [0, 0, 0, 0, 0]]
    for n, before in ((1, 0), (256, 5000), (300, 7), (2, 1500)):
        seen = torch.ones(n, before + n, dtype=torch.bool).tril(before)
        assert torch.equal(stairs(n, before, torch.zeros(0, dtype=torch.float64)) == 0, seen)
