from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentprm.errors import InvalidSpec
from agentprm.text.tokens import Encoded
from agentprm.text.windows import windows

turn_lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9)), max_size=14)


def encoded_of(lengths, sees="action", last=1):
    """A trajectory whose turns are what was seen, what was done, what came back; before them the task, 3 tokens."""
    ends, turns, n = [], [], 3
    for seen, done, returned in lengths:
        turns.append(n)
        ends.append(n + seen + done - 1)
        n += seen + done + returned
    if sees == "result":
        following = [seen for seen, _, _ in lengths[1:]]
        turns.append(n)
        n += last
        ends = [begin + seen - 1 for begin, seen in zip(turns[1:], [*following, last], strict=bool(lengths))]
    return Encoded(array("i", range(n)), tuple(ends[: len(lengths)]), tuple(turns), gap=array("i", [-1]))


@given(turn_lengths, st.integers(4, 60), st.sampled_from(["left", "middle"]), st.sampled_from(["action", "result"]))
@settings(max_examples=300, deadline=None)
def test_windows_hold_the_task_and_whole_turns_and_each_step_once(lengths, context, keep, sees):
    encoded = encoded_of(lengths, sees)
    found = list(windows(encoded, context, keep))
    steps = [t for window in found for t in window.steps]
    assert steps == sorted(set(steps))
    for t, end in enumerate(encoded.ends):
        alone = 3 + (t > 0) + end + 1 - encoded.turns[t]
        assert (t in steps) == (alone <= context or end < context)
    for window in found:
        assert len(window.ids) <= context
        ids = tuple(window.ids)
        assert ids[:3] == (0, 1, 2)
        assert [window.ids[i] for i in window.ends] == [encoded.ends[t] for t in window.steps]
        kept = ids[ids.index(-1) + 1 :] if -1 in ids else ids[3:]
        assert kept == tuple(range(kept[0], kept[-1] + 1))
        assert kept[0] in encoded.turns
        assert (-1 in window.ids) == (window.dropped > 0 or kept[0] != 3)


@given(turn_lengths, st.integers(4, 60), st.sampled_from(["left", "middle"]), st.sampled_from(["action", "result"]))
@settings(max_examples=300, deadline=None)
def test_what_is_read_for_a_step_depends_on_nothing_after_it(lengths, context, keep, sees):
    def upto_each_step(encoded):
        return {
            t: tuple(window.ids[: end + 1])
            for window in windows(encoded, context, keep)
            for t, end in zip(window.steps, window.ends, strict=True)
        }

    whole = upto_each_step(encoded_of(lengths, sees))
    for n in range(1, len(lengths) + 1):
        following = lengths[n][0] if n < len(lengths) else 1
        beginning = upto_each_step(encoded_of(lengths[:n], sees, following))
        assert beginning == {t: ids for t, ids in whole.items() if t < n}


def test_what_fits_is_read_at_once():
    encoded = encoded_of([(3, 3, 3)] * 4)
    (window,) = windows(encoded, context=36)
    assert (window.ids, window.ends, window.dropped) == (encoded.ids[:36], encoded.ends, 0)
    assert len(list(windows(encoded, context=35))) == 2


def test_the_latest_turns_are_kept_and_in_the_middle_form_the_first_too():
    encoded = encoded_of([(2, 2, 0)] * 20)
    left, middle = (list(windows(encoded, context=40, keep=keep))[1] for keep in ("left", "middle"))
    assert (left.first, left.dropped, tuple(left.ids[:5])) == (9, 6, (0, 1, 2, -1, encoded.turns[6]))
    assert (middle.first, middle.dropped, tuple(middle.ids[:9])) == (9, 6, (*range(7), -1, encoded.turns[7]))


def test_an_unknown_way_of_keeping_is_refused():
    with pytest.raises(InvalidSpec, match="keep"):
        list(windows(encoded_of([(1, 1, 1)]), 10, "right"))
