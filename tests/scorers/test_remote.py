"""A scorer that runs elsewhere says what it says here, or raises by name: never a number that nobody gave."""

import io
import json
import multiprocessing
import pickle
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from remote_servers import Unruly, ours, serving

from agentprm import PRMRewardWrapper, Store, make
from agentprm.errors import BadAnswer, InvalidSpec, MissingText, ModelChanged, RemoteError, SightError, Unreachable
from agentprm.feedback.judge import Judge
from agentprm.formats import jsonl
from agentprm.labels.outcome import Outcome
from agentprm.scorers._remote_client import Client, _asked_to_wait
from agentprm.scorers.constant import Constant
from agentprm.scorers.hashed import Hashed
from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.scorers.remote import Remote
from agentprm.spec import as_live_scorer
from agentprm.testing.corridor import Corridor
from agentprm.testing.scorer import ScorerContract
from agentprm.testing.trajectories import corridors, episode, hostile
from agentprm.text.tokens import texts, train_tokenizer
from agentprm.types import Action, Observation, Step, Task, Trajectory, new_id


def tiny():
    return PromiseProgress.tiny(train_tokenizer(texts(corridors(20)), 300), hidden=32, context=512, memory=2**22)


class Contract(ScorerContract):
    tolerance = 0.0

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _served(cls):
        cls.here = cls.scorer()
        with ours(cls.here) as server:
            cls.url = server.url
            yield

    def make_scorer(self):
        return Remote(self.url)

    def test_it_says_what_the_scorer_says_here(self):
        trajectories = self.make_trajectories()
        for there, here in zip(Remote(self.url)(trajectories), self.here(trajectories), strict=True):
            assert (there.values, there.parts, there.notes) == (here.values, here.parts, here.notes)
            assert (there.unit, there.sees, there.start) == (here.unit, here.sees, here.start)


class TestHashed(Contract):
    scorer = Hashed


class TestLanguageModel(Contract):
    # Alone or in company, a language model may differ in the last digits.
    tolerance, scorer = 1e-5, staticmethod(tiny)


class TestLabels(Contract):
    scorer = Outcome


@pytest.fixture
def unruly():
    """Give a function that starts a server of `Hashed` with a script, and a `Remote` of it."""
    opened, scorer = [], Hashed()

    def answer(path, body):
        if path == "/info":
            spec = scorer.spec
            return {"server": "agentprm", "name": spec.name, "digest": spec.digest, "unit": "value", "sees": "action"}
        file = io.BytesIO()
        jsonl.write(file, scorer(list(jsonl.read(io.BytesIO(body)))))
        return file.getvalue()

    def start(*script, **options):
        block = serving(Unruly(answer))
        server = block.__enter__()
        opened.append(block)
        remote = Remote(server.url, **{"timeout": 5.0, **options})
        server.script += script
        server.seen.clear()
        return server, remote

    yield start
    for block in opened:
        block.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr("agentprm.scorers._remote_client._FIRST_WAIT_S", 0.01)


PASSING = [
    (500, {}, b"Internal Server Error"),
    (502, {}, b"<html>Bad Gateway</html>"),
    (503, {"Retry-After": "0"}, b"{}"),
    (429, {}, b"slow down"),
    (408, {}, b""),
    "cut",
    "hang_up",
]


@pytest.mark.parametrize("trouble", PASSING, ids=str)
def test_what_may_pass_is_tried_again(unruly, trouble):
    server, remote = unruly(trouble, trouble)
    played = corridors(1)
    assert remote(played)[0].values == Hashed()(played)[0].values
    assert len(server.seen) == 3


@pytest.mark.parametrize("trouble", [(500, {}, b'{"error": {"message": "out of memory"}}'), "cut", "hang_up"], ids=str)
def test_what_does_not_pass_is_an_error_that_says_what_was_said(unruly, trouble):
    server, remote = unruly(*[trouble] * 9, retries=2)
    with pytest.raises(Unreachable, match=f"{server.url}/score was asked 3 times at most.*timeout= and retries="):
        remote(corridors(1))
    assert len(server.seen) == 3


def test_it_waits_as_long_as_it_is_asked_to(unruly):
    server, remote = unruly((429, {"Retry-After": "1"}, b""))
    remote(corridors(1))
    first, second = (at for _, _, at in server.seen)
    assert second - first >= 1.0


@pytest.mark.parametrize(("header", "seconds"), [(None, None), ("7", 7.0), (" 0 ", 0.0), ("soon", None), ("-1", None)])
def test_what_a_server_asks_for_is_read(header, seconds):
    assert _asked_to_wait(header) == seconds


def test_a_moment_is_what_is_left_until_then():
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < _asked_to_wait(moment) <= 90
    assert _asked_to_wait("Sat, 01 Jan 2000 00:00:00 GMT") == 0.0


def test_it_does_not_wait_for_ever(unruly):
    server, remote = unruly((429, {"Retry-After": "86400"}, b"come back tomorrow"))
    with pytest.raises(Unreachable, match="come back tomorrow"):
        remote(corridors(1))
    assert len(server.seen) == 1


def test_waits_grow_and_are_never_the_same(monkeypatch):
    monkeypatch.setattr("agentprm.scorers._remote_client._FIRST_WAIT_S", 1.0)
    rounds = [list(Client("http://localhost:1", 1.0, 8)._waits()) for _ in range(3)]
    for waits in rounds:
        assert all(0.5 * 2**n <= wait <= 2**n for n, wait in enumerate(waits[:5]))
        assert max(waits) <= 30.0
    assert len({waits[0] for waits in rounds}) == 3


@pytest.mark.parametrize("trouble", ["hang", "trickle"])
def test_a_server_that_hangs_is_left(unruly, trouble):
    server, remote = unruly(trouble, trouble, timeout=0.3, retries=1)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"with 0\.3 s for each try"):
        remote(corridors(1))
    assert len(server.seen) == 2
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there():
    with ours(Hashed()) as server:
        spec = Remote(server.url).spec
    with pytest.raises(ConnectionError, match="Is it up"):
        Remote(server.url, retries=0)
    with pytest.raises(Unreachable, match="asked 2 times"):
        Remote(**spec.params, retries=1)(corridors(1))


@pytest.mark.parametrize(
    ("status", "way"), [(400, "400"), (401, "AGENTPRM_API_KEY"), (404, "api="), (413, "batch_size")]
)
def test_a_refusal_is_not_repeated(unruly, status, way):
    server, remote = unruly((status, {}, b'{"error": "no, thank you"}'))
    with pytest.raises(RemoteError, match=f"no, thank you.*{way}|{way}.*no, thank you"):
        remote(corridors(1))
    assert len(server.seen) == 1


def test_a_redirection_is_not_followed_with_the_key(unruly, monkeypatch):
    monkeypatch.setenv("AGENTPRM_API_KEY", "secret")
    server, remote = unruly((307, {"Location": "http://evil.example/score"}, b""))
    with pytest.raises(RemoteError, match=r"moved to http://evil\.example"):
        remote(corridors(1))
    assert server.headers[-1]["Authorization"] == "Bearer secret"


def scores_line(trajectory, **changes):
    said = {"trajectory_id": str(trajectory.id), "source": Hashed().spec.plain(), "unit": "value", "sees": "action"}
    return json.dumps({"agentprm": 1, "scores": {**said, "values": [0.5] * len(trajectory), **changes}}).encode()


PLAYED = corridors(2, seed=1)
BROKEN = {
    "html": (b"<html><body>It works!</body></html>", "no scores"),
    "another JSON": (b'{"choices": []}', "no scores"),
    "nothing": (b"", "about 1 trajectories, and gave 0"),
    "too many": (scores_line(PLAYED[0]) + b"\n" + scores_line(PLAYED[1]), "gave 2"),
    "of another trajectory": (scores_line(PLAYED[1]), "about id, start and length"),
    "too short": (scores_line(PLAYED[0], values=[0.5]), "about id, start and length"),
    "from later on": (scores_line(PLAYED[0], start=1), "about id, start and length"),
    "NaN": (scores_line(PLAYED[0], values=[{"$float": "nan"}] * len(PLAYED[0])), "never NaN"),
    "bare NaN": (scores_line(PLAYED[0], values=[float("nan")] * len(PLAYED[0])), "NaN"),
    "a text": (scores_line(PLAYED[0], values=["0.5"] * len(PLAYED[0])), "a number"),
    "out of range": (scores_line(PLAYED[0], values=[1.5] * len(PLAYED[0])), r"1\.5 .* lies in \[0, 1\]"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_is_no_scores_is_refused_by_name(unruly, case):
    body, said = BROKEN[case]
    server, remote = unruly((200, {}, body))
    with pytest.raises(BadAnswer, match=said):
        remote(PLAYED[:1])
    assert len(server.seen) == 1


def test_a_server_of_another_kind_is_refused(unruly):
    server, _ = unruly("html", (200, {}, b'{"object": "list"}'), (200, {}, b'{"server": "agentprm"}'))
    for said in ("JSON", "no `agentprm serve`", "does not say what it serves"):
        with pytest.raises(BadAnswer, match=said):
            Remote(server.url)


def test_a_model_that_changed_under_a_scorer_is_noticed():
    with ours(Constant(0.25)) as server:
        remote, recorded = Remote(server.url, retries=0), Remote(server.url).spec
        server._scorer = server._batches.scorer = Constant(0.75)
        with pytest.raises(ModelChanged, match=r"now serves constant .* make it anew"):
            remote(corridors(1))
        with pytest.raises(ModelChanged, match="leave it out"):
            make(recorded)(corridors(1))
        again = Remote(server.url)
        assert again.spec != recorded
        assert again(corridors(1))[0].values[0] == 0.75


def test_where_it_is_says_nothing_of_what_it_is():
    with ours(Constant(0.25)) as one, ours(Constant(0.25)) as other:
        assert Remote(one.url).spec == Remote(other.url).spec
        assert Remote(one.url).spec != Constant(0.25).spec


def test_made_from_a_spec_it_asks_at_the_first_call():
    with ours(Constant(0.25)) as server:
        spec = Remote(server.url).spec.plain()
    remote = make(spec)
    assert (remote.unit, remote.sees, remote.spec.plain()) == ("value", "action", spec)
    with pytest.raises(Unreachable):
        remote(corridors(1))


@pytest.mark.parametrize(
    ("url", "said"),
    [("127.0.0.1:80", "no address"), ("ftp://x", "no address"), ("http://", "no address"), (3, "address of a server"),
     ("http://me:secret@x", "AGENTPRM_API_KEY"), ("http://x/?token=secret", "AGENTPRM_API_KEY"), ({}, "address")],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_showing_a_secret(url, said):
    with pytest.raises(InvalidSpec, match=said) as raised:
        Remote(url)
    assert "secret" not in str(raised.value)


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"timeout": 0}, {"retries": -1}, {"batch_size": 0}, {"concurrency": 0}, {"api": "gopher"}):
        with pytest.raises(InvalidSpec):
            Remote("http://127.0.0.1:1", **wrong)


def test_many_are_asked_in_batches_and_come_back_in_order(unruly):
    server, remote = unruly(batch_size=3, concurrency=4)
    played = corridors(20, seed=2)
    assert [s.values for s in remote(played)] == [s.values for s in Hashed()(played)]
    sizes = [body.count(b"\n") for _, body, _ in server.seen]
    assert sorted(sizes) == [2, 3, 3, 3, 3, 3, 3]


def test_one_batch_that_fails_fails_all(unruly):
    server, remote = unruly(*[(400, {}, b"no")] * 2, batch_size=3, concurrency=2)
    with pytest.raises(RemoteError, match="refused"):
        remote(corridors(20, seed=2))
    assert len(server.seen) <= 7


def test_what_the_scorer_there_raises_is_raised_here():
    wordless = Trajectory(
        new_id(), Task("x"), (Step(Observation(native=np.zeros((99, 99))), Action("a")),), Observation()
    )
    with ours(Hashed()) as server:
        with pytest.raises(MissingText, match="99"):
            Hashed()([wordless])
        with pytest.raises(MissingText, match="99"):
            Remote(server.url)([wordless])


class Odd:
    def __repr__(self):
        return "<an odd thing>"


def test_a_value_without_an_exact_form_does_not_stop_an_agent():
    step = Step(Observation("a door", native={"odd": Odd()}), Action("open it"), info={"lock": threading.Lock()})
    odd = Trajectory(new_id(), Task("leave"), (step, step), Observation("a garden"))
    with ours(Hashed()) as server:
        assert Remote(server.url)([odd])[0].values == Hashed()([odd])[0].values


def test_a_label_method_elsewhere_pays_no_live_reward():
    with ours(Outcome()) as server, pytest.raises(SightError):
        as_live_scorer(f"remote:url={server.url}")


def test_a_live_turn_costs_the_server_only_what_is_new():
    model, played = tiny(), episode(*[(f"round {t} of many", f"go left {t}") for t in range(12)])
    with ours(model) as server:
        judge, cost = Judge(Remote(server.url)), []
        for t in range(len(played)):
            before = model.encoded_tokens
            assert judge([played.seen(t, "action")])[0] is not None
            cost.append(model.encoded_tokens - before)
    whole = len(model.read(played)[0][0].ids)
    assert sum(cost) <= 1.1 * whole
    assert max(cost[2:]) <= whole / 6
    assert judge.failed == 0


def test_many_who_ask_at_once_share_calls():
    model = tiny()
    with ours(model) as server:
        remotes = [Remote(server.url) for _ in range(8)]
        played = corridors(8, seed=4)
        expected, said = [s.values for s in model(played)], {}
        before = server._batches.calls

        def ask(i):
            said[i] = [remotes[i]([played[i]])[0].values for _ in range(6)]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server._batches.calls - before < 48
    for i in range(8):
        for values in said[i]:
            assert values == pytest.approx(expected[i], abs=1e-5)


def test_it_pays_a_live_reward_and_is_recorded(tmp_path):
    with ours(Hashed()) as server:
        remote = Remote(server.url)
        with PRMRewardWrapper(Corridor(), f"remote:url={server.url}", tmp_path / "runs.db") as env:
            env.reset(seed=0)
            for _ in range(3):
                *_, terminated, truncated, info = env.step("go left")
                assert info["prm"]["scored"] == 1.0
                if terminated or truncated:
                    break
            assert env.failed == 0
            assert json.dumps(env.get_wrapper_attr("_saved_kwargs"), default=str)
        with Store(tmp_path / "runs.db") as store:
            (recorded,) = store.trajectories()
            (scores,) = store.scores(recorded.id)
            assert scores.source == remote.spec
            assert scores.values == Hashed()([recorded])[0].values
            with store.connection() as connection:
                row = connection.exec_driver_sql("select name, weights, unit, sees from scorer").one()
            assert tuple(row) == ("remote", Hashed().spec.digest, "value", "action")


def test_a_server_that_fails_never_reaches_the_agent_that_is_watched(unruly):
    server, remote = unruly(retries=0)
    env = PRMRewardWrapper(Corridor(), remote)
    env.reset(seed=0)
    env.step("go left")
    server.script += ["hang_up"]
    *_, info = env.step("go left")
    assert (info["prm"]["scored"], env.failed) == (0.0, 1)
    env.close()


def test_it_survives_a_process_border():
    with ours(Hashed()) as server:
        remote = Remote(server.url, timeout=7.0, batch_size=5)
        remote(corridors(1))
        again = pickle.loads(pickle.dumps(remote))
        assert (again.spec, again.timeout, again.batch_size) == (remote.spec, 7.0, 5)
        played, parent = corridors(2), remote(corridors(2))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for said in pool.map(remote, [played] * 4):
                assert [s.values for s in said] == [s.values for s in Hashed()(played)]
        assert len(remote(played)) == len(parent)


def test_hostile_trajectories_are_carried_exactly(unruly):
    server, remote = unruly()
    played = list(hostile())
    remote(played)
    ((_, body, _),) = server.seen
    assert list(jsonl.read(io.BytesIO(body))) == played
