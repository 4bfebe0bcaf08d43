"""Long texts and pictures stand once, and come back byte for byte, wherever they stood."""

import json
import sqlite3

import numpy as np
import pytest
import sqlalchemy as sa
from filled import MODEL, SOON, done, events, full, plain, scored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentprm import Store, credit
from agentprm.store import blobs, tables
from agentprm.store.blobs import HEAD, LONG, is_long, mentioned, name_of
from agentprm.store.likeness import Likeness, shared_prefix
from agentprm.types import Action, Image, Observation, Step, Task, ToolCall, Trajectory, new_id

PROMPT = "You are a careful agent. " * 40


def long(word, n=LONG):
    return (word * n)[: max(n, LONG)]


def stored(store):
    """Return the name, kind, base and stored size of every blob."""
    columns = (tables.blob.c.hash, tables.blob.c.media_type, tables.blob.c.base, sa.func.length(tables.blob.c.data))
    with store.connection() as connection:
        return connection.execute(sa.select(*columns)).all()


def chat(turns, word="m", **changes):
    """Return an episode whose every observation repeats the one before and goes on."""
    seen = [PROMPT + "".join(f"{word} {i}: {word * 100}\n" for i in range(t)) for t in range(turns + 1)]
    steps = tuple(Step(Observation(text), Action(f"say {i}")) for i, text in enumerate(seen[:-1]))
    return Trajectory(new_id(), Task("chat"), steps, Observation(seen[-1]), done(ended_at=SOON), **changes)


# Which texts are long.


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", False), ("a" * 255, False), ("a" * 256, True), ("é" * 127, False), ("é" * 128, True), ("😀" * 64, True)],
)
def test_a_text_is_long_from_256_bytes_on(text, expected):
    assert is_long(text) is (len(text.encode()) >= LONG) is expected


def test_short_texts_stay_in_their_rows(store):
    store.add(plain(3))
    assert stored(store) == []


def test_the_same_long_text_stands_once_wherever_it_stands(store):
    text = long("the same ")
    call = ToolCall("search", {}, None, text)
    step = Step(Observation(text), Action(text, text, (call,)))
    made = [Trajectory(new_id(), Task("t"), (step, step), Observation(text), meta={"a": 1}) for _ in range(3)]
    store.add([*made, scored(made[0], 1.0, 1.0, notes=(text, None))])
    assert len(stored(store)) == 1
    assert list(store.trajectories(id=[t.id for t in made])) == made
    assert next(store.scores()).notes == (text, None)


def test_a_system_prompt_and_tools_in_meta_stand_once_for_all_runs(store):
    tools = [{"name": f"tool {i}", "description": "what it does"} for i in range(20)]
    made = [plain(1, meta={"system": PROMPT, "tools": tools, "host": f"h{i}"}) for i in range(5)]
    for t in made:
        store.add(t)
    kinds = [kind for _, kind, _, _ in stored(store)]
    assert kinds == ["application/json"] * 2
    assert {t.id: t for t in store.trajectories()} == {t.id: t for t in made}
    with store.connection() as connection:
        metas = connection.scalars(sa.select(tables.trajectory.c.meta)).all()
    assert all(len(meta) < 150 and len(mentioned(meta)) == 2 for meta in metas)
    assert sorted(json.loads(meta)["host"] for meta in metas) == [f"h{i}" for i in range(5)]


def test_names_hold_in_one_database_only(tmp_path):
    names = []
    for i in range(2):
        with Store(tmp_path / f"{i}.db") as store:
            store.add(full())
            names.append({name for name, *_ in stored(store)})
    assert len(names[0]) == len(names[1]) > 2
    assert not names[0] & names[1]


def test_a_name_says_what_kind_of_content_it_names():
    assert name_of(b"k", "text/plain", b"x") != name_of(b"k", "application/json", b"x")
    assert len(name_of(b"", "", b"")) == 32


# Byte for byte.

TAG = '{"$text":"0123456789abcdef0123456789abcdef"}'
HOSTILE = st.sampled_from(
    [TAG, TAG * 20, "\0" * 300, "\ud800" * 300, "e\u0301" * 200, "\u00e9" * 200, '{"$text":true}', "\\" * 300,
     json.dumps(TAG) * 10, "\u2026" * 300, "'" * 300, "%s" * 200, "\r\n" * 200]
)  # fmt: skip
WORDS = st.one_of(HOSTILE, st.text(max_size=30), st.text(min_size=60, max_size=90).map(lambda t: t * 5))
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=400)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=8,
)
CALLS = st.builds(ToolCall, WORDS.filter(bool), VALUES, WORDS, VALUES)
SEEN = st.builds(Observation, WORDS, VALUES, st.lists(st.builds(Image, st.just("image/png"), st.binary()), max_size=2))
STEPS = st.builds(
    Step, SEEN, st.builds(Action, WORDS, WORDS, st.lists(CALLS, max_size=2), VALUES), st.just(0.5),
    st.dictionaries(WORDS, VALUES, max_size=3),
)  # fmt: skip
EPISODES = st.builds(
    lambda task, steps, last, meta: Trajectory(new_id(), Task(task), tuple(steps), last, meta=meta),
    WORDS, st.lists(STEPS, max_size=3), SEEN, st.dictionaries(WORDS, VALUES, max_size=3),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EPISODES, min_size=1, max_size=2))
def test_whatever_texts_there_are_come_back_byte_for_byte(store, made):
    for t in made[1:]:
        for event in events(t):
            store.write(event)
    store.add(made[0])
    assert {t.id: t for t in store.trajectories(id=[t.id for t in made])} == {t.id: t for t in made}
    assert store.dropped == 0


def test_decomposed_and_composed_letters_stay_apart(store):
    made = [plain(1)._with(last=Observation(letter * 300)) for letter in ("e\u0301", "\u00e9")]
    store.add(made)
    assert [t.last.text for t in store.trajectories()] == [t.last.text for t in made]


def test_a_text_that_looks_like_a_reference_is_a_text(store):
    t = plain(1)._with(last=Observation(TAG, {"a": TAG, "b": [TAG] * 20}), meta={"m": TAG})
    store.add(t)
    assert list(store.trajectories()) == [t]
    with store.connection() as connection:
        assert connection.exec_driver_sql("SELECT result FROM v_step").scalar() == TAG


# What begins alike.


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50))
def test_shared_prefix(front, one, other):
    expected = 0
    for a, b in zip(front + one, front + other, strict=False):
        if a != b:
            break
        expected += 1
    assert shared_prefix(front + one, front + other) == expected


def depth(rows, name):
    bases = {row[0]: row[2] for row in rows}
    n = 0
    while bases[name] is not None:
        name, n = bases[name], n + 1
    return n


def test_a_history_that_grows_takes_room_for_its_news(store):
    """Twice the turns are twice the news: whole, they would be four times the text."""
    sizes = {}
    for turns, word in ((64, "a"), (128, "b")):
        before = sum(row[3] for row in stored(store))
        t = chat(turns, word)
        for event in events(t):
            store.write(event)
        assert list(store.trajectories(id=t.id)) == [t]
        sizes[turns] = sum(row[3] for row in stored(store)) - before
    whole = sum(len(seen.text) for seen in chat(128).observations)
    assert sizes[128] < 2.5 * sizes[64]
    assert sizes[128] < whole / 15
    rows = stored(store)
    assert max(depth(rows, row[0]) for row in rows) <= 7 * 3 + 1


def test_a_history_in_native_messages_does_so_too(store):
    messages = [{"role": "user", "content": f"{i} " + "word " * 40} for i in range(64)]
    steps = tuple(Step(Observation("", {"messages": messages[:i]}), Action("go")) for i in range(64))
    t = Trajectory(new_id(), Task("t"), steps, Observation("", {"messages": messages}))
    store.add(t)
    assert list(store.trajectories()) == [t]
    whole = sum(len(json.dumps(s.observation.native)) for s in steps)
    assert sum(row[3] for row in stored(store)) < whole / 6


def test_prompts_that_begin_alike_share_their_beginning_across_runs(store):
    prompt = "".join(chr(97 + i * i % 26) for i in range(4_000))
    made = [plain(1)._with(last=Observation(f"{prompt}\nQuestion {i}?")) for i in range(20)]
    for t in made:
        store.add(t)
    rows = stored(store)
    assert sum(row[2] is not None for row in rows) == 19
    assert sum(row[3] for row in rows) < 4_000 + 20 * 40
    assert {t.id: t for t in store.trajectories()} == {t.id: t for t in made}


def test_forks_share_what_came_before(store):
    parent = chat(10)
    store.add(parent)
    before = len(stored(store))
    store.add(parent._with(id=new_id()))
    assert len(stored(store)) == before


def test_memory_of_what_began_alike_is_bounded():
    likeness = Likeness()
    for i in range(3_000):
        likeness.base(str(i), str(i).encode() * 300, (i, "result"))
    assert len(likeness._grown) <= 1_000
    assert len(likeness._leads) <= 1_000
    for i in range(40):
        likeness.base(f"big {i}", bytes([i]) * 2_000_000, (i, "result"))
    assert likeness._n_bytes <= 32_000_000
    for place in {place[0] for place in likeness._grown}:
        likeness.forget(place)
    assert likeness._n_bytes == sum(len(data) for _, data in likeness._leads.values())


# What people read.


def test_views_show_every_text_whole(store):
    text, output = "é" * 500, {"a": "x" * 500, "b": 1}
    call = ToolCall("t", {"q": "y" * 500}, "id", output)
    step = Step(Observation(text), Action(text[1:], text[2:], (call,)), info={"note": "z" * 500, "latency": 1.5})
    t = Trajectory(new_id(), Task("t"), (step,), Observation(text[3:]), meta={"system": "s" * 500})
    store.add([t, scored(t, 1.0, notes=("n" * 500,))])
    with store.connection() as connection:
        ask = connection.exec_driver_sql
        row = ask("SELECT observation, action, plan, result, info FROM v_step").one()
        assert row[:4] == (text, text[1:], text[2:], text[3:])
        assert json.loads(row[4]) == {"note": "z" * 500, "latency": 1.5}
        arguments, back = ask("SELECT arguments, output FROM v_tool_call").one()
        assert (json.loads(arguments), json.loads(back)) == ({"q": "y" * 500}, output)
        assert json.loads(ask("SELECT meta FROM v_trajectory").scalar()) == {"system": "s" * 500}
        assert ask("SELECT note FROM v_score").scalar() == "n" * 500


def test_views_show_a_text_that_stands_behind_others(store):
    t = chat(30)
    store.add(t)
    with store.connection() as connection:
        shown = connection.exec_driver_sql("SELECT observation FROM v_step ORDER BY idx").scalars().all()
    assert shown == [step.observation.text for step in t.steps]


def test_a_program_that_only_knows_sqlite_sees_the_beginnings(tmp_path):
    text = "what was seen: " + "x" * 500
    with Store(tmp_path / "runs.db") as store:
        store.add(plain(1)._with(last=Observation(text), meta={"system": text, "host": "h"}))
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        assert connection.execute("SELECT result FROM v_step").fetchone()[0] == text[:HEAD] + "…"
        assert connection.execute("SELECT observation FROM v_step").fetchone()[0] == "seen 0"
        meta = json.loads(connection.execute("SELECT meta FROM v_trajectory").fetchone()[0])
        assert meta["host"] == "h"
        assert (
            connection.execute("SELECT count(*) FROM blob WHERE hash = ?", (meta["system"]["$text"],)).fetchone()[0]
            == 1
        )
    connection.close()


def test_credit_questions_read_texts_whole(store):
    """Two actions that begin with the same 100 characters are two actions."""
    made = []
    for end, outcome in (("x", 0.0), ("y", 1.0)):
        step = Step(Observation("s" * 300), Action("a" * 300 + end))
        made.append(Trajectory(new_id(), Task("t"), (step,), Observation("e" * 300), done(outcome)))
    tagged = plain(1, ending=done(), meta={"why": "w" * 300})
    store.add([*made, tagged, *(scored(t, 0.5) for t in made)])
    for t in made:
        shown = credit.timeline(store, t.id)
        assert t.steps[0].action.text in {row[shown.columns.index("action")] for row in shown.rows}
    prefixes = credit.training_set(store, MODEL)
    assert {row[prefixes.columns.index("prefix")] for row in prefixes.rows} == {"s" * 300}
    assert [len(credit.success(store, tags={"why": text}).rows) for text in ("w" * 300, "v" * 300)] == [1, 0]
    lengths = {row[0]: row for row in credit.length_bias(store).rows}
    assert store.rewards(made[0].id).score == (None,)
    assert "characters of the action" not in lengths  # both are as long: there is nothing to correlate


def test_the_length_of_a_long_action_is_that_of_the_whole(store):
    made = []
    for n in (10, 300, 600, 900):
        t = Trajectory(new_id(), Task("t"), (Step(Observation("s"), Action("é" * n)),), Observation("e"), done(n > 300))
        made += [t, scored(t, n / 1_000)]
    store.add(made)
    by = {row[0]: row for row in credit.length_bias(store).rows}
    assert by["characters of the action"][3] == pytest.approx(1.0)


def test_arrays_stand_once(store):
    image = np.arange(147, dtype=np.uint8).reshape(7, 7, 3)
    seen = Observation("", {"image": np.tile(image, (2, 2, 1)), "mission": "go"})
    t = Trajectory(new_id(), Task("t"), tuple(Step(seen, Action(native=i)) for i in range(5)), seen)
    store.add(t)
    assert list(store.trajectories()) == [t]
    assert [kind for _, kind, _, _ in stored(store)] == [blobs.JSON]
