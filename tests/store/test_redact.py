"""What must not be stored is not stored: nowhere, in no form, whatever goes wrong."""

import base64
import pickle
import sqlite3
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
import sqlalchemy as sa
from filled import done, events, full, plain, scored

from agentprm import Store, TrajectoryRecorder
from agentprm.errors import InvalidSpec, InvalidTrajectory, StoreError
from agentprm.store import tables
from agentprm.store.merge import merge
from agentprm.store.redact import Redactor
from agentprm.store.rows import Rows
from agentprm.store.url import read_url, redaction_in
from agentprm.types import Action, Fork, Image, Observation, Step, Task, ToolCall, Trajectory, new_id

SECRET = "hunter2-éclair"
FORMS = (SECRET.encode(), SECRET.encode("utf-32-le"), b"hunter2", "hunter2".encode("utf-32-le"))


def clean(text):
    return text.replace(SECRET, "***")


def raising(text):
    if SECRET in text:
        raise ValueError(f"found {SECRET}")
    return text


@dataclass
class Message:
    """Something that only its repr can stand for."""

    content: str = SECRET


def secretive():
    """Return an episode that has the secret wherever a text can be, short and long."""
    s, long = f"a {SECRET} b", f"{SECRET} " * 40
    values = {
        s: [s, (long, {s})], "bytes": [s.encode(), b"\xff"], "array": np.array([s, "x"]), "scalar": np.str_(s),
        "deep": [{"k": [{s: long}]}], "ordered": OrderedDict(a=s), "odd": {1: s}, "nul": s + "\0",
        "raw": np.array([s.encode()]),
    }  # fmt: skip
    calls = (ToolCall(s, {"q": s, "long": long}, s, long), ToolCall("t", values, None, values))
    steps = (
        Step(Observation(s, values), Action(s, long, calls), 1.0, values),
        Step(Observation(long + "\0", s), Action(long, s, (), values), 1.0, {"tokens": 3}),
    )
    return Trajectory(
        new_id(), Task(s), steps, Observation(s, s, (Image("image/png", b"\x89"),)), done(), s, s, s, 7, s,
        Fork(new_id(), 0, s, {"why": s}), meta={"system": long, "tools": [s] * 100},
    )  # fmt: skip


def inside(data):
    """Yield bytes, and whatever can be unpacked or decoded from them."""
    yield data
    for start in range(len(data)):
        if data[start : start + 1] == b"\x78" and data[start + 1 : start + 2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
            try:
                yield zlib.decompressobj().decompress(data[start:])
            except zlib.error:
                continue


def everything(folder):
    """Yield every byte that is anywhere in a folder, as it stands and unpacked, and every cell of every table."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield from inside(path.read_bytes())
            if path.suffix in (".db", ".spool"):
                yield from cells(path)


def cells(path):
    connection = sqlite3.connect(path)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in connection.execute(f"SELECT * FROM {name}"):
            for cell in row:
                data = cell.encode() if isinstance(cell, str) else bytes(cell) if isinstance(cell, bytes) else b""
                yield from inside(data)
                for word in data.replace(b'"', b" ").split():
                    if len(word) % 4 == 0 and len(word) >= 8:
                        try:
                            yield base64.b64decode(word, validate=True)
                        except ValueError:
                            continue
    connection.close()


def is_nowhere(folder):
    return not any(form in data for data in everything(folder) for form in FORMS)


# The function.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SECRET, "***"),
        ({SECRET: 1, "***": 2}, {"***": 1, "*** (2)": 2}),
        ([SECRET, 1, None, True], ["***", 1, None, True]),
        ((b"x" + SECRET.encode(), b"\xff"), (b"x***", b"\xff")),
        ({SECRET, "a"}, {"***", "a"}),
        ({1: {2: SECRET}}, {1: {2: "***"}}),
        (SECRET + "\0\ud800", "***\0\ud800"),
    ],
)
def test_every_text_in_a_value(value, expected):
    assert Redactor(clean).value(value) == expected


def test_arrays_of_text_and_others():
    redactor = Redactor(clean)
    assert redactor.value(np.array([[SECRET, "a"]])).tolist() == [["***", "a"]]
    assert redactor.value(np.array([SECRET.encode()])).tolist() == [b"***"]
    numbers = np.arange(40.0)
    assert redactor.value(numbers).tobytes() == numbers.tobytes()


def test_what_only_its_repr_stands_for():
    redactor = Redactor(clean)
    assert redactor.value([Message()]) == [{"$repr": "Message(content='***')"}]
    assert redactor.degraded == 1


@pytest.mark.parametrize(("wrong", "why"), [(raising, "raised ValueError"), (lambda text: None, "returned NoneType")])
def test_a_function_that_fails_stores_a_note_and_tells_nobody_the_secret(wrong, why, caplog):
    redactor = Redactor(wrong)
    assert redactor.text(SECRET) == f"[not stored: redact {why}]"
    assert redactor.failed == 1
    redactor.text(SECRET)
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text


def test_what_is_no_function_is_refused():
    with pytest.raises(InvalidSpec, match="redact is a function"):
        Redactor(3)


def test_a_task_whose_key_was_the_hash_of_its_text_gets_one_of_what_is_left():
    redactor = Redactor(clean)
    assert redactor.task(Task(SECRET)) == Task("***")
    assert redactor.task(Task("x", f"k {SECRET}")) == Task("x", "k ***")


# The file.


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "runs.db"


@pytest.fixture(autouse=True)
def folder(path):
    path.parent.mkdir()
    return path.parent


def record(store, t):
    for event in events(t, scores=()):
        store.write(event)


def test_the_secret_would_be_found(path, folder):
    """What the tests below look for, they would find."""
    with Store(path) as store:
        record(store, secretive())
        assert not is_nowhere(folder)


@pytest.mark.parametrize("durability", ["step", "group", "episode"])
def test_recorded_nowhere(path, folder, durability):
    t = secretive()
    with Store(path, durability=durability, redact=clean) as store:
        record(store, t)
        store.add(scored(t, 0.5, 0.5, notes=(f"why {SECRET}", SECRET * 40)))
        store.set_outcome(1.0, external_id=t.external_id, source=f"judge {SECRET}")
        store.flush()
        assert {p.suffix for p in folder.iterdir()} >= {".db", ".db-wal"}
        assert is_nowhere(folder)
        (back,) = store.trajectories(external_id=t.external_id, policy=t.policy, env=t.env, group=t.group)
        assert back.steps[0].observation.text == "a *** b"
        assert back.task == Task("a *** b")
        assert next(store.scores()).notes == ("why ***", "***" * 40)
        assert (store.dropped, store.degraded) == (0, 5)  # an OrderedDict is no dict, in five places
    assert is_nowhere(folder)


def test_added_nowhere(path, folder):
    t = plain(2)._with(last=Observation(f"{SECRET} " * 60), meta={"system": SECRET})
    with Store(path, redact=clean) as store:
        assert store.add(t) == 1
        assert store.add(t) == 0, "redacted again it is the same"
        assert store.add(scored(t, 0.5, notes=(SECRET,))) == 1
    assert is_nowhere(folder)


def test_spooled_nowhere(path, folder):
    with Store(path, redact=clean) as store:
        rows = Rows()
        for event in events(secretive()):
            store._writer.encoder.encode(store._writer.redactor.event(event), rows)
        store._database.spool.append(new_id(), 1, rows)
        assert store.spooled == 2
        assert is_nowhere(folder)


def test_spooled_nowhere_while_the_file_is_locked(path, folder, monkeypatch):
    from agentprm.store import database

    monkeypatch.setattr(database, "_BUSY_S", 0.01)
    with Store(path, redact=clean) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        record(store, secretive())
        assert store.spooled == 2
        assert is_nowhere(folder)
        other.execute("ROLLBACK")
        other.close()
        store.flush()
        assert is_nowhere(folder)
        assert store.spooled == 0


def test_a_function_that_fails_breaks_nothing_and_stores_nothing(path, folder, caplog):
    t = secretive()
    with Store(path, redact=raising) as store:
        record(store, t)
        (back,) = store.trajectories()
        assert back.steps[0].observation.text == "[not stored: redact raised ValueError]"
        assert store.dropped == 0
        assert store.degraded > 10
        assert is_nowhere(folder)
        with pytest.raises(InvalidTrajectory, match="could not be redacted") as refused:
            store.add(plain(1, meta={"a": SECRET}))
        assert refused.value.__context__ is None
        assert is_nowhere(folder)
    assert "hunter2" not in caplog.text


def test_an_environment_goes_on_whatever_the_function_does(path):
    def wild(text):
        raise RuntimeError

    with Store(path, redact=wild) as store:
        env = TrajectoryRecorder(gym.make("CartPole-v1"), store)
        env.reset(seed=0)
        for _ in range(3):
            env.step(0)
        env.close()
        assert store.dropped == 0
        (t,) = store.trajectories()
        assert len(t) == 3


# From elsewhere.


def test_merged_nowhere(path, folder, tmp_path, url):
    t = secretive()
    with Store(tmp_path / "laptop.db") as laptop:
        record(laptop, t)
        laptop.add([scored(t, 0.5, 0.5, notes=(SECRET * 30, SECRET)), full()])
        laptop.set_outcome(1.0, id=t.id, source=f"judge {SECRET}")
        with laptop._database.migrating() as connection:
            row = {"id": new_id(), "trajectory_id": t.id, "annotator": SECRET, "code": "x", "created_at": 0}
            connection.execute(sa.insert(tables.label).values(row | {"comment": SECRET}))
        with Store(path, redact=clean) as target:
            assert merge([laptop], target).trajectories == 2
            assert merge([laptop], target).trajectories == 0
            target.flush()
            assert is_nowhere(folder)
            merged = {one.id: one for one in target.trajectories()}
        with Store(url, redact=clean) as directly:
            record(directly, t)
            (recorded,) = directly.trajectories(id=t.id)
            assert repr(merged[t.id]) == repr(recorded)
            with Store(path) as target, target.connection() as one, directly.connection() as other:
                hashes = sa.select(tables.content.c.state_hash).order_by(tables.content.c.idx)
                expected = other.scalars(hashes.where(tables.content.c.trajectory_id == t.id)).all()
                assert one.scalars(hashes.where(tables.content.c.trajectory_id == t.id)).all() == expected


def test_a_merge_that_cannot_be_redacted_takes_nothing(path, tmp_path):
    with Store(tmp_path / "laptop.db") as laptop, Store(path, redact=raising) as target:
        laptop.add([plain(1), plain(1, meta={"a": SECRET})])
        with pytest.raises(StoreError, match="could not be redacted"):
            merge([laptop], target)
        assert list(target.trajectories()) == []


# By name.


def test_a_pickled_store_redacts_by_the_same_function(path):
    with Store(path, redact=clean) as store:
        assert store.redact == f"{__name__}:clean"
        with pickle.loads(pickle.dumps(store)) as again:
            assert again.redact == f"{__name__}:clean"


def test_a_function_without_a_name_cannot_travel(path):
    with (
        Store(path, redact=lambda text: text) as store,
        pytest.raises((pickle.PicklingError, AttributeError)),
    ):
        pickle.dumps(store)


def test_a_url_names_it_too(path, folder):
    url = f"sqlite:///{path}?redact={__name__}:clean"
    assert redaction_in(url) == f"{__name__}:clean"
    assert read_url(url) == read_url(path)
    with Store(url) as store:
        store.add(plain(1, meta={"a": SECRET}))
        assert "redact" not in store.url
    assert is_nowhere(folder)


def test_a_wrapper_remade_from_its_spec_redacts_too(path):
    with Store(path, redact=clean) as store:
        env = TrajectoryRecorder(gym.make("CartPole-v1"), store)
        spec = env.spec
    again = gym.make(spec)
    again.reset()
    assert again.get_wrapper_attr("recorder")._store.redact == f"{__name__}:clean"
    again.close()


def test_a_wrapper_whose_store_redacts_by_a_nameless_function_is_not_remade(path):
    with Store(path, redact=lambda text: text) as store:
        spec = TrajectoryRecorder(gym.make("CartPole-v1"), store).spec
    with pytest.raises(InvalidSpec, match="live"):
        gym.make(spec)


def test_what_live_scorers_read_is_not_redacted(path):
    from agentprm import PRMRewardWrapper, scorers  # noqa: F401

    seen = []

    class Env(gym.Env):
        observation_space = action_space = gym.spaces.Text(100)

        def reset(self, *, seed=None, options=None):
            return SECRET, {}

        def step(self, action):
            return SECRET, 0.0, True, False, {}

    from agentprm.scorers.constant import Constant

    class Listening(Constant):
        def __call__(self, trajectories, /):
            trajectories = list(trajectories)
            seen.extend(t.last.text or t.steps[-1].observation.text for t in trajectories)
            return super().__call__(trajectories)

    with Store(path, redact=clean) as store:
        env = PRMRewardWrapper(Env(), Listening(0.5), store)
        env.reset()
        env.step("x")
        env.close()
        assert seen == [SECRET]
        (t,) = store.trajectories()
        assert t.last.text == "***"
