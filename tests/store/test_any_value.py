"""Every kind of value that Python code hands over, drawn by chance: exact or tagged and counted, never wrong or raised.

Through a recorder into a store on either engine and back, and through our own exact format.
"""

import io
import math
import struct
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from test_stored_values import arrays, dtypes, exact, one_store, read, same, texts, write

from agentprm.errors import InvalidTrajectory
from agentprm.formats import jsonl
from agentprm.types import Action, Ending, Observation, Step, Task, ToolCall, Trajectory, new_id
from agentprm.values import decode, encode

Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Right(Flag):
    READ = 1


@dataclass
class Found:
    where: str
    score: float


@dataclass(frozen=True, slots=True)
class Slotted:
    value: object


def nan_of(bits):
    return struct.unpack(">d", (bits | 0x7FF8_0000_0000_0001).to_bytes(8, "big"))[0]


nans = st.integers(0, 2**64 - 1).map(nan_of)
structs = npst.array_dtypes(max_size=3).flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(max_side=2)))
objects = st.lists(exact, min_size=1, max_size=3).map(lambda items: np.array([*items, None], dtype=object)[:-1])
masked = npst.arrays(np.float32, 3).map(lambda a: np.ma.array(a, mask=[True, False, True]))
layouts = arrays.map(lambda a: a[(slice(None, None, -1),) * a.ndim].T)
moments = st.one_of(
    st.datetimes(timezones=st.just(timezone(timedelta(hours=5, minutes=45))) | st.none()),
    st.dates(), st.times(), st.timedeltas(),
)  # fmt: skip
named = st.dictionaries(texts, exact, max_size=2)
things = [Colour.RED, Level.LOW, Right.READ, ..., NotImplemented, int, print, Path("a"), PurePosixPath("/")]
odd = st.one_of(
    nans, st.complex_numbers(), st.decimals(), st.fractions(), moments, st.uuids(), st.ip_addresses(),
    st.sampled_from(things), st.binary(max_size=4).map(bytearray), st.binary(max_size=4).map(memoryview),
    st.integers(0, 9).map(range), structs, structs.map(lambda a: a.reshape(-1)[0]), objects, masked, layouts,
    st.builds(Found, texts, st.floats()), st.builds(Slotted, exact), st.builds(Point, exact, exact),
    st.lists(exact, max_size=2).map(deque), st.lists(texts, max_size=3).map(Counter), named.map(OrderedDict),
    named.map(lambda d: defaultdict(list, d)), named.map(MappingProxyType), named.map(UserDict),
    named.map(lambda d: SimpleNamespace(d=d)), st.builds(iter, st.just([1])), st.builds(lambda: (x for x in ())),
    st.builds(object),
)  # fmt: skip
anything = st.recursive(
    exact | odd,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(texts | st.integers() | st.just(Colour.RED) | st.uuids() | st.booleans(), inner, max_size=3),
    ),
    max_leaves=6,
)
REFUSED = r"^[^\n]* that only their repr could stand for: make them JSON, bytes or arrays first"


def one_step(value, text=""):
    call = ToolCall("t", value, None, value)
    step = Step(Observation(text, value), Action(text, "", (call,), value), 1.0, {"v": value})
    ended = Ending("terminated", True)
    return Trajectory(new_id(), Task("t"), (step,), Observation("", value), ended, meta={"v": value})


@one_store
@given(anything, exact)
def test_whatever_a_recorder_is_handed_is_there_or_named_and_what_stands_beside_it_is_exact(store, value, beside):
    before, dropped = store.degraded, store.dropped
    back, found = read(store, write(store, {"odd": value, "beside": beside}))
    assert store.dropped == dropped
    assert len(back) == 1
    assert all(same(other["beside"], beside) for other in found.values())
    if store.degraded == before:
        assert all(same(other["odd"], value) for other in found.values())
    else:
        assert store.degraded - before >= len(found), "each place counts its own"


@one_store
@given(anything)
def test_a_person_is_refused_what_a_recorder_would_only_name(store, value):
    t = one_step(value)
    if encode(value)[1]:
        with pytest.raises(InvalidTrajectory, match=REFUSED):
            store.add(t)
        assert list(store.trajectories(id=t.id)) == []
    else:
        store.add(t)
        (back,) = store.trajectories(id=t.id)
        assert same(back.last.native, value)


@settings(max_examples=150)
@given(anything, texts)
def test_our_own_format_gives_back_every_value_or_refuses_it(value, text):
    t, file = one_step(value, text), io.BytesIO()
    if encode(value)[1]:
        with pytest.raises(InvalidTrajectory, match=REFUSED):
            jsonl.write(file, [t])
        return
    jsonl.write(file, [t])
    file.seek(0)
    (back,) = jsonl.read(file)
    (step,) = back.steps
    for other in (
        back.last.native,
        step.info["v"],
        step.action.native,
        step.action.tool_calls[0].output,
        back.meta["v"],
    ):
        assert same(other, value)
    assert step.observation.text == text


@settings(max_examples=150)
@given(anything)
def test_what_is_encoded_twice_is_the_same_and_what_is_decoded_encodes_to_the_same(value):
    text, lost = encode(value)
    assert b"\0" not in text.encode()
    if lost == 0:
        assert encode(decode(text))[0] == text
    else:
        decode(text)


@given(nans)
def test_a_nan_keeps_its_sign_and_its_bits(number):
    for value in (number, np.float64(number), np.array([number, 1.0])):
        text, lost = encode(value)
        back = decode(text)
        assert lost == 0
        assert np.asarray(back).tobytes() == np.asarray(value).tobytes()
    assert encode(math.nan)[0] == '{"$float":"nan"}'


@given(dtypes, st.sampled_from(["<", ">", "="]))
def test_every_scalar_of_numpy_keeps_its_type_and_byte_order_where_it_has_one(dtype, order):
    array = np.zeros((2, 3), dtype.newbyteorder(order))
    for value in (
        array,
        array[1:],
        array[:, ::-2],
        np.asfortranarray(array),
        array[:0],
        array[0, 0],
        array.reshape(3, 2).T,
    ):
        back = decode(encode(value)[0])
        assert (back.dtype, back.shape) == (value.dtype, value.shape)


@pytest.mark.parametrize("library", ["torch", "PIL.Image", "pandas"])
def test_what_other_libraries_hand_over_is_named_and_counted(store, library):
    found = pytest.importorskip(library)
    makers = {
        "torch": lambda: [found.zeros(2, 3), found.tensor(1.5, requires_grad=True), found.zeros(0), found.float16],
        "PIL.Image": lambda: [found.new("RGB", (2, 2))],
        "pandas": lambda: [found.DataFrame({"a": [1]}), found.Timestamp("2026-01-01"), found.NaT, found.NA],
    }
    values = makers[library]()
    for value in values:
        before = store.degraded
        _, places = read(store, write(store, {"x": value, "n": 1}))
        assert store.degraded >= before + len(places)
        assert all(other["n"] == 1 for other in places.values())
        assert all("x" in other for other in places.values())
    assert store.dropped == 0


def test_the_kinds_above_are_drawn_and_none_of_them_is_a_surprise():
    """Which of the odd kinds have an exact form: a list to be read, so that none changes unnoticed."""
    table = {
        "nan of other bits": (nan_of(5), 0), "complex": (1j, 1), "decimal": (Decimal("0.1"), 1),
        "fraction": (Fraction(1, 3), 1), "moment": (datetime(2026, 1, 1), 1), "day": (date(2026, 1, 1), 1),
        "time": (time(1), 1), "span": (timedelta(1), 1), "uuid": (UUID(int=1), 1), "bytearray": (bytearray(b"x"), 1),
        "memoryview": (memoryview(b"x"), 1), "named tuple": (Point(1, 2), 1), "enumeration": (Colour.RED, 1),
        "0-d array": (np.array(1.0), 0), "scalar": (np.float16(1), 0), "empty": (np.zeros((0, 2)), 0),
        "structured": (np.zeros(1, "i4,f8"), 1), "objects": (np.array([1, "a"], dtype=object), 1),
    }  # fmt: skip
    assert {name: encode(value)[1] for name, (value, _) in table.items()} == {n: lost for n, (_, lost) in table.items()}
