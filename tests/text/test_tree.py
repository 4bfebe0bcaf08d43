import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentprm.text.tree import Branch, common, forest, in_order, plant

lines_of_tokens = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)


def arrays(lines):
    return [np.array(line, dtype=np.int32) for line in lines]


def planted(lines, **options):
    given_lines = arrays(lines)
    order, shared = in_order(given_lines)
    return order, plant([given_lines[i] for i in order], shared, **options)


def seen_by(tree):
    """The tokens that each line's tokens see, in order: nothing but that line."""
    mask = tree.mask()
    return [[tree.ids[np.flatnonzero(mask[place])].tolist() for place in places] for places in tree.places]


@given(lines_of_tokens)
@settings(max_examples=200, deadline=None)
def test_every_line_stands_in_its_tree_and_sees_itself_only(lines):
    order, tree = planted(lines, least=1)
    for i, places in zip(order, tree.places, strict=True):
        assert tree.ids[places].tolist() == lines[i]
        assert tree.depths[places].tolist() == list(range(len(lines[i])))
    for i, seen in zip(order, seen_by(tree), strict=True):
        assert seen == [lines[i][: n + 1] for n in range(len(lines[i]))]


@given(lines_of_tokens)
@settings(max_examples=200, deadline=None)
def test_nothing_that_is_shared_stands_in_it_twice(lines):
    _, tree = planted(lines, least=1)
    assert len(tree) == len({tuple(line[: n + 1]) for line in lines for n in range(len(line))})


def test_a_tree_by_hand():
    order, tree = planted([[1, 2, 3, 4], [1, 2, 9], [7]], least=2)
    assert [[1, 2, 3, 4], [1, 2, 9], [7]][order[0]] == tree.ids[: len(tree.places[0])].tolist()
    assert len(tree) == 6
    assert [branch.path for branch in tree.branches] == [(), ((0, 2),), ()]


def test_a_short_beginning_is_not_shared():
    assert len(planted([[1, 2, 3], [1, 2, 4]], least=3)[1]) == 6
    assert len(planted([[1, 2, 3], [1, 2, 4]], least=2)[1]) == 4


def test_what_all_have_may_be_left_out():
    tree = plant(arrays([[1, 2, 3, 4], [1, 2, 3, 5]]), [0, 3], skip=2, least=1)
    assert (tree.ids.tolist(), tree.depths.tolist()) == ([3, 4, 5], [2, 3, 3])
    assert tree.branches[1] == Branch(2, 3, ((0, 1),))


def test_equal_lines_are_one():
    tree = plant(arrays([[1, 2], [1, 2]]), [0, 2], least=1)
    assert (len(tree), len(tree.branches)) == (2, 1)
    assert tree.places[0].tolist() == tree.places[1].tolist() == [0, 1]


@given(lines_of_tokens, st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_a_forest_holds_every_line_once_in_trees_of_the_size_asked_for(lines, most):
    trees = list(forest(arrays(lines), most))
    assert sorted(i for members, _ in trees for i in members) == list(range(len(lines)))
    for members, tree in trees:
        assert len(tree) <= most or len(members) == 1
        assert [tree.ids[places].tolist() for places in tree.places] == [lines[i] for i in members]


@pytest.mark.parametrize(
    ("one", "other", "n"), [([1, 2], [1, 2, 3], 2), ([], [1], 0), ([4], [5], 0), ([1, 2], [1, 2], 2)]
)
def test_how_far_two_lines_agree(one, other, n):
    assert common(*arrays([one, other])) == n


def test_no_lines_make_no_forest():
    assert list(forest([], 10)) == []
    assert len(plant([], [])) == 0
