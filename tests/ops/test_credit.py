"""Which step gained and which one lost, by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm.ops.credit import deltas, sinking_step

gapped = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=20)


@pytest.mark.parametrize(
    ("values", "start", "expected"),
    [
        ([], None, []),
        ([0.5], None, [None]),
        ([0.5], 0.25, [0.25]),
        ([0.5, 0.75, 0.25], None, [None, 0.25, -0.5]),
        ([0.5, None, None, 0.75], 0.5, [0.0, None, None, 0.25]),
        ([None, 0.5, 0.5], None, [None, None, 0.0]),
        ([None, 0.5], 1.0, [None, -0.5]),
        ([0.0, 0.5], 0.0, [0.0, 0.5]),
    ],
)
def test_deltas_by_hand(values, start, expected):
    assert deltas(values, start) == expected


@given(gapped, st.floats(0, 1))
def test_deltas_sum_to_the_last_value_less_the_start(values, start):
    known = [v for v in values if v is not None]
    gains = math.fsum(d for d in deltas(values, start) if d is not None)
    assert gains == pytest.approx((known[-1] if known else start) - start, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "start", "expected"),
    [
        ([], None, None),
        ([0.1], None, None),
        ([0.1], 0.9, 0),
        ([0.1, 0.2, 0.2], None, None),
        ([0.75, 0.5, 0.25], None, 1),
        ([0.75, None, 0.25, 0.125], None, 2),
        ([None, 0.9, 0.8, 0.1], None, 3),
    ],
)
def test_the_sinking_step_lost_most_and_is_the_earliest_of_equals(values, start, expected):
    assert sinking_step(values, start) == expected
