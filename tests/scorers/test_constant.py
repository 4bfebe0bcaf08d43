"""The same number for every step, and only such numbers as its unit allows."""

import math

import numpy as np
import pytest

from agentprm import make
from agentprm.errors import InvalidSpec
from agentprm.scorers.constant import Constant
from agentprm.testing.scorer import ScorerContract


class TestConstant(ScorerContract):
    def make_scorer(self):
        return Constant(0.5)


@pytest.mark.parametrize(
    ("short", "match"),
    [
        ("constant:value=abc", "value is a finite number, or None for no opinion, not 'abc'"),
        ("constant:value=NaN", "finite number, or None for no opinion, not nan"),
        ("constant:value=Infinity", "not inf"),
        ("constant:value=-Infinity,unit=reward", "not -inf"),
        ("constant:value=true", "not True"),
        ('constant:value="0.5"', "not '0.5'"),
        (f"constant:value=1{'0' * 400},unit=reward", "finite number"),
        ("constant:value=1.5", r"a value in \[0, 1\], not 1.5: scale it, or say unit=reward"),
        ("constant:value=-0.1,unit=correctness", r"a correctness in \[0, 1\], not -0.1"),
        ("constant:unit=colour", "unit is one of .*not 'colour'"),
        ({"name": "constant", "params": {"value": [0.5]}}, "not \\[0.5\\]"),
    ],
    ids=range(11),
)
def test_what_is_no_score_is_refused_when_it_is_made(short, match):
    with pytest.raises(InvalidSpec, match=match):
        make(short)


@pytest.mark.parametrize("value", [0, 1, np.float32(0.5), np.int64(1), 0.25])
def test_every_number_is_kept_as_a_float(value):
    assert type(Constant(value).value) is float
    assert Constant(value).spec == Constant(float(value)).spec
    assert make(Constant(value).spec) == Constant(value)


def test_none_is_no_opinion_and_a_reward_may_be_any_number():
    assert make("constant:value=null").value is None
    assert make("constant:value=-7,unit=reward") == Constant(-7.0, "reward")
    assert math.copysign(1, Constant(-0.0).value) == -1.0
