"""Any value that an environment or a tool can produce, through a store and back, on every engine."""

import dataclasses
import enum
import math
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from agentprm.types import Action, Began, Ended, Ending, Observation, Step, Stepped, Task, ToolCall, Trajectory, new_id

one_store = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(store, value, text="", plan=""):
    """Record an episode of one step that holds a value wherever one can stand; return its id."""
    call = ToolCall(text or "tool", value, text or None, value)
    action = Action(text, plan, (call,), value)
    begun = Trajectory(new_id(), Task(text), (), Observation(text, value), meta={"value": value})
    store.write(Began(begun))
    step = Step(Observation(text, value), action, 0.5, {"value": value})
    store.write(Stepped(begun.id, 0, step, Observation(plan, value)))
    store.write(Ended(begun.id, Ending("terminated", True)))
    return begun.id


def read(store, id):
    """Return the episode, and the value as every place of it holds it."""
    (back,) = store.trajectories(id=id)
    (step,) = back.steps
    (call,) = step.action.tool_calls
    found = {
        "observation": step.observation.native,
        "result": back.last.native,
        "action": step.action.native,
        "info": step.info["value"],
        "meta": back.meta["value"],
        "arguments": call.arguments,
        "output": call.output,
    }
    return back, found


def same(a, b):
    """Equality with types, dtypes, shapes, the sign of zero, and NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray) and a.dtype.hasobject:
        return a.dtype == b.dtype and a.shape == b.shape and same(a.tolist(), b.tolist())
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if type(a) is float:
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if type(a) is dict:
        return same(list(a.items()), list(b.items()))
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) in (set, frozenset):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    return a == b


texts = st.text(st.characters(codec=None, categories=None), max_size=6)
numbers = st.one_of(st.integers(), st.integers(2**50, 2**70), st.just(10**300), st.floats(), st.floats(width=32))
dtypes = st.one_of(
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
shapes = npst.array_shapes(min_dims=0, min_side=0, max_side=4)
arrays = dtypes.flatmap(lambda dtype: npst.arrays(dtype, shapes))
ordered = st.tuples(arrays, st.sampled_from("CF")).map(lambda pair: np.asarray(pair[0], order=pair[1]))
views = npst.arrays(np.float32, (4, 6)).map(lambda a: a[::2, ::-3])
scalars = dtypes.flatmap(npst.from_dtype).filter(lambda v: isinstance(v, np.generic))
keys = st.one_of(texts, st.sampled_from(["$float", "$", "$dict", "$repr", "$text", ""]), st.none(), numbers)
hashable = st.one_of(keys, st.binary(max_size=4), st.tuples(texts, numbers), st.frozensets(texts, max_size=2))
leaves = st.one_of(st.none(), st.booleans(), numbers, texts, st.binary(max_size=40), ordered, views, scalars)
exact = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(hashable, inner, max_size=3),
        st.sets(hashable, max_size=3),
        st.frozensets(hashable, max_size=3),
    ),
    max_leaves=10,
)


@one_store
@given(exact, texts, texts)
def test_every_value_returns_exactly_from_every_place(store, value, text, plan):
    before = store.degraded, store.dropped
    back, found = read(store, write(store, value, text, plan))
    for place, other in found.items():
        assert same(other, value), place
    (step,) = back.steps
    (call,) = step.action.tool_calls
    assert (step.observation.text, step.action.text, step.action.plan, back.last.text) == (text, text, plan, plan)
    assert (back.task.text, call.name, call.id) == (text, text or "tool", text or None)
    assert (store.degraded, store.dropped) == before


@one_store
@given(exact)
def test_add_takes_what_a_recorder_takes(store, value):
    step = Step(Observation("", value), Action("", "", (ToolCall("t", value, None, value),), value), 1.0, {"v": value})
    t = Trajectory(new_id(), Task("t"), (step,), Observation("", value), meta={"v": value})
    assert store.add(t) == 1
    (back,) = store.trajectories(id=t.id)
    assert same([back.last.native, *back.steps[0].info.values()], [value, value])


KINDS = ("i2", "u8", "f2", "f4", "f8", "c8", "M8[us]", "m8[D]", "U3")
DTYPES = ["?", "i1", "u1", "S4", "V3", "g", "G", *(order + kind for order in "<>" for kind in KINDS)]


def test_arrays_of_every_dtype_size_and_layout_return_exactly(store):
    for dtype in DTYPES:
        for n in (0, 3, 100):  # few numbers are written as numbers, many as bytes
            small = np.random.default_rng(n).integers(0, 100, 2 * n, dtype="u1")
            flat = small.astype(dtype) if dtype != "V3" else small.repeat(3).view(dtype)
            layouts = [flat.reshape(2, n), np.asfortranarray(flat.reshape(2, n)), flat[::-1], flat[::2]]
            layouts += [flat.reshape(n, 2).T, *((flat[:1].reshape(()), flat[0]) if n else ())]
            _, found = read(store, write(store, layouts))
            assert same(found["info"], layouts), (dtype, n)
    assert store.degraded == 0


# What has no exact form is there, readable, and counted.


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Found:
    where: str
    score: float = math.nan


class Sulking:
    def __repr__(self):
        raise RuntimeError("no words")


Point = namedtuple("Point", "x y")
structured = np.array([(1, 2.5), (3, np.nan)], dtype=[("a", "<i4"), ("b", ">f8")])
INEXACT = {
    "object": object(),
    "enumeration": Colour.RED,
    "integer enumeration": Number.ONE,
    "dataclass": Found("here"),
    "ordered dict": OrderedDict(b=1, a=(2, math.nan)),
    "default dict": defaultdict(list, {"a": [1]}),
    "named tuple": Point(1, b"\x00"),
    "masked array": np.ma.array([1.0, 2.0], mask=[True, False]),
    "object array": np.array([1, "a", None, {"x": 1}], dtype=object),
    "structured array": structured,
    "structured scalar": structured[0],
    "text subclass": type("Text", (str,), {})("a\x00\ud800"),
    "no words": Sulking(),
    "function": print,
    "complex": 1 + 2j,
    "bytearray": bytearray(b"x"),
    "key": {Colour.RED: 1, (object(),): 2},
}


def cycle(kind):
    value = [1] if kind == "list" else {"a": 1}
    if kind == "list":
        value.append(value)
    else:
        value["self"] = {"deep": (value,)} if kind == "deep" else value
    return value


@pytest.mark.parametrize("name", INEXACT)
def test_what_has_no_exact_form_is_counted_or_returns_exactly(store, name):
    value = INEXACT[name]
    back, found = read(store, write(store, value))
    if store.degraded == 0:
        assert all(same(other, value) for other in found.values())
    else:
        assert store.degraded >= len(found), "every place counts its own"
        assert all(same(other, found["observation"]) for other in found.values()), "the same text in every place"
    assert len(back) == 1
    assert store.dropped == 0


@pytest.mark.parametrize("name", INEXACT)
def test_what_stands_beside_it_returns_exactly(store, name):
    beside = [math.nan, (b"\x00", -0.0), np.float16(0.1), 2**80]
    _, found = read(store, write(store, {"bad": INEXACT[name], "good": beside}))
    assert all(same(other["good"], beside) for other in found.values())


@pytest.mark.parametrize("kind", ["list", "dict", "deep"])
def test_what_holds_itself_is_counted_and_takes_nothing_with_it(store, kind):
    back, _ = read(store, write(store, cycle(kind)))
    assert store.degraded > 0
    assert store.dropped == 0
    assert len(back) == 1


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)], ids=["list", "dict", "tuple"])
@pytest.mark.parametrize("depth", [100, 3_000, 100_000])
def test_what_is_nested_deep_breaks_nothing(store, wrap, depth):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    back, found = read(store, write(store, value))
    assert len(back) == 1
    assert store.dropped == 0
    if depth <= 100:
        assert same(found["info"], value)
        assert store.degraded == 0
    else:
        assert store.degraded > 0
    while isinstance(value, (list, tuple, dict)):  # taken apart by hand: freeing it at once would overflow the stack
        value = value["a"] if isinstance(value, dict) else value[0]


@pytest.mark.parametrize("n", [10**5, 3 * 10**6])
def test_large_values_return_exactly(store, n):
    value = {"picture": np.arange(n, dtype=np.uint8), "words": "é" * n}
    _, found = read(store, write(store, value))
    assert same(found["result"], value)
