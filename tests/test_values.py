"""Any value, as strict JSON and back: exactly, or tagged and counted; never refused."""

import enum
import json
import math
import sys
from collections import OrderedDict, defaultdict, namedtuple
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from agentprm.values import clean_text, decode, encode, is_clean
from agentprm.values._plain import plain_json
from agentprm.values._tagged import Tagger, dump


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def strictly(text):
    """Parse as a database would: no NaN, no NUL, no lone surrogate."""
    assert "\0" not in text
    text.encode("utf-8")
    return json.loads(text, parse_constant=refuse)


def same(a, b):
    """Equality with types, bytes of arrays, signs of zero and NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if type(a) is float:
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if type(a) is dict:
        return same(list(a.items()), list(b.items()))
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) in (set, frozenset):
        rest = list(b)
        return len(a) == len(b) and all(any(same(x, y) for y in rest) for x in a)
    return a == b


def returns_exactly(value):
    text, lost = encode(value)
    strictly(text)
    assert lost == 0
    assert same(decode(text), value)


texts = st.text(st.characters(codec=None, categories=None), max_size=8)  # every code point, surrogates included
numbers = st.one_of(st.integers(), st.integers(2**50, 2**70), st.floats(), st.floats(width=32))
scalar_types = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(endianness="?"),
    npst.datetime64_dtypes(endianness="?"),
    npst.timedelta64_dtypes(endianness="?"),
    npst.byte_string_dtypes(),
    npst.unicode_string_dtypes(),
)
arrays = scalar_types.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=4)))
numpy_scalars = scalar_types.flatmap(npst.from_dtype).filter(lambda v: isinstance(v, np.generic))
keys = st.one_of(texts, st.sampled_from(["$float", "$", "$dict", "$repr", ""]), st.none(), st.booleans(), numbers)
hashables = st.one_of(keys, st.binary(max_size=4), st.tuples(texts, numbers), st.frozensets(texts, max_size=2))
leaves = st.one_of(st.none(), st.booleans(), numbers, texts, st.binary(max_size=40), arrays, numpy_scalars)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts, inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=3),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(anything)
def test_every_value_returns_exactly(value):
    returns_exactly(value)


@given(arrays)
def test_every_array_returns_exactly_and_can_be_written_to(array):
    returns_exactly(array)
    assert decode(encode(array)[0]).flags.writeable


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text("aé√", max_size=3),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner)))  # fmt: skip
def test_plain_json_stays_plain(value):
    assert strictly(encode(value)[0]) == value


@settings(max_examples=400)
@given(anything)
def test_the_short_way_gives_what_the_walk_gives(value):
    short = plain_json(value)
    if short is not None:
        tagger = Tagger()
        assert strictly(short) == strictly(dump(tagger.tag(value)))
        assert tagger.lost == 0


@pytest.mark.parametrize(
    "value",
    [{"a": ["b", 1, None, 0.5, {"c": True}]}, "text", np.int64(7), np.float32(0.5), np.arange(4.0), np.uint8(3)],
    ids=str,
)
def test_what_a_recorder_meets_at_every_step_goes_the_short_way(value):
    assert plain_json(value) is not None


ODD = [
    -0.0, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf, 0.1 + 0.2,
    2**53 - 1, 2**53, -(2**53), 2**63, 10**400, -(10**400),
    "", "\0", "\ud83d", "\ud83d\ude00", "😀", "\ufeffx", "a\0b\udfff", "$float",
    b"", b"\0\xff", (), ((),), set(), frozenset(), {1, "1", 1.5, None, (2,), b"3"}, {True, 0}, {0, 2.5},
    {"$float": "nan"}, {"$repr": "x"}, {"$": 1}, {"$dict": []}, {"$a": 1, "b": 2}, {1: 2, "1": 3}, {None: 0},
    {(1, "a"): {"b": (2,)}}, {math.inf: 1}, {"\0": 1}, {"a\ud800": 1}, {2**70: -0.0}, {np.int8(3): np.float16(0.5)},
    np.array(3), np.array(2.5, dtype=">f8"), np.array([], dtype=np.float16), np.zeros((0, 3), dtype=">i4"),
    np.zeros((2, 0), dtype="U3"), np.array([np.nan, np.inf, -0.0]), np.arange(33), np.arange(6).reshape(2, 3).T,
    np.array([2**53, -(2**63)]), np.array([2**64 - 1], dtype=np.uint64), np.array([1e308, 1e308, 1e308]),
    np.array(["a\0b", "\ud800"]), np.array([b"a\0b"]), np.array([True, False]), np.array([1 + 2j]),
    np.array(["NaT", "2026-01-01T00:00:00.123"], dtype="M8[ns]"), np.array([np.longdouble("0.1")]),
    np.array([b"ab"], dtype="V2"), np.empty((2, 2), dtype="V0"), np.asfortranarray(np.arange(4.0).reshape(2, 2)),
    np.str_(""), np.str_("a\0"), np.str_("\ud800"), np.bytes_(b""), np.bytes_(b"a\0"), np.void(b""), np.void(b"ab"),
    np.float64(0.1), np.float32(0.1), np.float16("nan"), np.longdouble("0.1"), np.complex64(1j), np.bool_(True),
    np.int8(-128), np.int64(-(2**63)), np.uint64(2**64 - 1), np.datetime64("NaT"), np.timedelta64(3, "h"),
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=[str(i) for i in range(len(ODD))])
def test_odd_values_return_exactly(value):
    returns_exactly(value)
    returns_exactly([{"x": value}])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"),
        ("é", '"é"'),
        ([1, None, True], "[1,null,true]"),
        ({"a": math.nan}, '{"a":{"$float":"nan"}}'),
        ((1,), '{"$tuple":[1]}'),
        (b"ab", '{"$bytes":"YWI="}'),
        (2**53, '{"$int":"0x20000000000000"}'),
        (np.array([1.5, 2.0], dtype=np.float32), '{"$array":["<f4",[2],[1.5,2.0]]}'),
        (np.int64(7), '{"$scalar":["<i8",7]}'),
        (np.str_("left"), '{"$scalar":["<U4","left"]}'),
        ({1: "a"}, '{"$dict":[[1,"a"]]}'),
    ],
)
def test_what_people_read_in_the_database(value, text):
    assert encode(value) == (text, 0)


def test_few_numbers_are_readable_and_many_are_bytes():
    for dtype in (np.float64, np.uint8, bool):
        (_, _, few), (_, _, many) = (json.loads(encode(np.zeros(n, dtype))[0])["$array"] for n in (32, 33))
        assert few == [0] * 32
        assert isinstance(many, str)


def test_sets_have_one_text_whatever_their_order():
    assert encode({"b", "a", 3, 1.5})[0] == encode({3, 1.5, "a", "b"})[0] == '{"$set":["a","b",1.5,3]}'


# What has no exact form.


class Colour(enum.IntEnum):
    RED = 3


class Word(enum.StrEnum):
    YES = "y"


class OldWord(str, enum.Enum):  # noqa: UP042
    YES = "y"


class Silent:
    def __repr__(self):
        raise RuntimeError("no words")


class Rude(dict):
    def __init__(self):
        super().__init__(a=1)

    def keys(self):
        raise RuntimeError("no keys")

    __iter__ = items = __len__ = keys


class HashableDict(dict):
    def __hash__(self):
        return 1


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, {"a": (1,)}), {"a": (1,)}),
        (Point(1, 2), (1, 2)),
        (Colour.RED, 3),
        (Word.YES, "y"),
        (OldWord.YES, "y"),
        (type("Text", (str,), {})("a\0"), "a\0"),
        (type("Real", (float,), {})("nan"), math.nan),
        (type("Stack", (list,), {})([1]), [1]),
        (np.array([[1, 2]]).view(np.matrix), np.array([[1, 2]])),
        (np.ma.array([1, 2], mask=[0, 1]), np.array([1, 2])),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_subclass_keeps_its_content_and_loses_its_type(value, left):
    text, lost = encode(value)
    strictly(text)
    assert lost == 1
    assert same(decode(text), left)


@pytest.mark.filterwarnings("ignore:The numpy.matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize(
    "value",
    [
        object(), print, Silent(), Rude(), datetime(2026, 1, 1), range(3), bytearray(b"x"), 1 + 2j, Ellipsis,
        np.array([1, None]), np.array([(1, 2.0)], dtype="i4,f8"), np.array([(1, 2.0)], dtype="i4,f8")[0],
        np.array(["a"], dtype=np.dtypes.StringDType()), type("Odd", (), {"__repr__": lambda s: "\0\ud800"})(),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_anything_else_is_named_and_counted(value):
    text, lost = encode({"x": [value, 1.5]})
    strictly(text)
    assert lost == 1
    (name, number) = decode(text)["x"]
    assert set(name) == {"$repr"}
    assert number == 1.5


def test_an_object_that_hides_its_class_is_named_as_well():
    hidden = type("Hidden", (), {"__class__": property(lambda self: 1 / 0)})()
    text, lost = encode(hidden)
    assert lost == 1
    assert "Hidden" in strictly(text)["$repr"]


@pytest.mark.parametrize(
    "value",
    [
        {object(): 1}, {1, object()}, frozenset({object()}), {(object(),): 2}, {HashableDict(a=1): 2},
        {HashableDict(a=1), 2}, {Colour.RED: object()},
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_inexact_keys_and_elements_can_be_read_back(value):
    text, lost = encode(value)
    strictly(text)
    assert lost >= 1
    assert type(decode(text)) is type(value)
    assert len(decode(text)) == len(value)


def nested(depth, wrap):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = [lambda v: [v], lambda v: {"a": v}, lambda v: (v,), lambda v: {1: v}]


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_hundred_and_one_levels_are_exact(wrap):
    value = nested(101, wrap)
    text, lost = encode(value)
    strictly(text)
    assert lost == 0
    assert decode(text) == value


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("depth", [102, 5_000])
def test_what_is_nested_deeper_is_named_and_counted(wrap, depth):
    value = nested(depth, wrap)
    text, lost = encode(value)
    strictly(text)
    assert lost == 1
    decode(text)
    assert sys.getrecursionlimit() <= 10_000


def test_what_holds_itself_is_named_where_it_recurs():
    inside = [1]
    inside.append(inside)
    around = {"a": 1}
    around["self"] = (around,)
    for value in (inside, around):
        text, lost = encode(value)
        strictly(text)
        assert lost == 1
        decode(text)
    assert decode(encode(inside)[0])[0] == 1


def test_a_subclass_that_holds_itself_ends_as_well():
    stack = type("Stack", (list,), {})()
    stack.append(stack)
    text, lost = encode(stack)
    strictly(text)
    assert lost >= 1


def test_what_is_held_twice_is_no_cycle():
    shared = [1]
    returns_exactly([shared, shared, {"a": shared}, (shared, shared)])


def test_every_loss_is_counted():
    assert encode([object(), {"a": Colour.RED}, (print,), 1])[1] == 3


# Clean text.


@given(texts)
def test_clean_text_is_what_every_database_takes_and_is_left_alone_if_it_was(text):
    clean = clean_text(text)
    assert is_clean(clean)
    assert (clean is text) if is_clean(text) else (clean != text)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\ufeffa\0", "\ufeffa\ufffd"),
        ("\udfff", "\ufffd"),
        ("😀", "😀"),
    ],
    ids=ascii,
)
def test_clean_text_by_hand(text, clean):
    assert clean_text(text) == clean
