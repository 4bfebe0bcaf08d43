"""`agentprm serve`: who may ask, what is taken, and that nothing asked is lost when it goes."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from conftest import serving

from agentprm.errors import MissingText
from agentprm.formats import jsonl
from agentprm.scorers.constant import Constant
from agentprm.scorers.hashed import Hashed
from agentprm.scorers.remote import Remote
from agentprm.serve.scores import ScoreServer
from agentprm.testing.trajectories import corridors, episode

NDJSON = "application/x-ndjson"


def lines(*items):
    file = io.BytesIO()
    jsonl.write(file, items)
    return file.getvalue()


@contextmanager
def asking(server):
    """Give a function that sends one request, and returns status, headers and body."""

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, {"Host": f"127.0.0.1:{server.port}", **named})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    ask.port = server.port
    with serving(server):
        yield ask


def test_trajectories_in_scores_out_a_line_each():
    scorer, played = Hashed(), corridors(3, seed=0)
    with asking(ScoreServer(scorer)) as ask:
        status, headers, body = ask("POST", "/score", lines(*played), Content_Type=NDJSON)
    assert (status, headers["Content-Type"]) == (200, NDJSON)
    assert list(jsonl.read(io.BytesIO(body))) == scorer(played)


def test_it_says_which_scorer_it_is_and_where_it_lies_to_nobody(tmp_path):
    scorer = Hashed()
    scorer.save(tmp_path / "model")
    with asking(ScoreServer(scorer)) as ask:
        _, _, body = ask("GET", "/info")
        _, _, scores = ask("POST", "/score", lines(*corridors(1)), Content_Type=NDJSON)
    info = json.loads(body)
    assert (info["server"], info["name"], info["digest"]) == ("agentprm", "hashed", scorer.spec.digest)
    assert (info["unit"], info["sees"], info["weights"]) == ("value", "action", scorer.spec.params["weights"])
    assert str(tmp_path) in scorer.spec.to_json()
    assert str(tmp_path).encode() not in body + scores


REFUSED = [
    ("POST", "/score", b"", {}, 411),
    ("POST", "/elsewhere", lines(*corridors(1)), {"Content_Type": NDJSON}, 404),
    ("GET", "/score", None, {}, 404),
    ("GET", "/../info", None, {}, 404),
    ("POST", "/score", lines(*corridors(1)), {"Content_Type": "text/plain"}, 415),
    ("POST", "/score", b"\x1f\x8b" + bytes(99), {"Content_Type": NDJSON}, 415),
    ("POST", "/score", b"no JSON\n", {"Content_Type": NDJSON}, 400),
    ("POST", "/score", b'{"agentprm": 1, "trajectory": {"id": 3}}\n', {"Content_Type": NDJSON}, 400),
    ("POST", "/score", b'{"a":' * 5_000, {"Content_Type": NDJSON}, 400),
    ("POST", "/score", lines(*Constant()(corridors(1))), {"Content_Type": NDJSON}, 400),
    ("POST", "/score", b"x" * 70_000, {"Content_Type": NDJSON}, 413),
    ("GET", "/info", None, {"Host": "evil.example"}, 403),
    ("POST", "/score", lines(*corridors(1)), {"Content_Type": NDJSON, "Host": "evil.example"}, 403),
    ("PUT", "/score", b"x", {}, 501),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status"), REFUSED, ids=range(len(REFUSED)))
def test_what_it_does_not_take_is_refused_and_it_goes_on(method, path, body, headers, status):
    with asking(ScoreServer(Constant(0.5), most_bytes=65_536)) as ask:
        if status == 411:
            with socket.create_connection(("127.0.0.1", ask.port)) as connection:
                connection.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
                assert connection.recv(99).startswith(b"HTTP/1.1 411")
        else:
            answered, _, said = ask(method, path, body, **headers)
            assert answered == status
            if status != 501:
                assert json.loads(said)["error"]["message"]
        assert ask("POST", "/score", lines(*corridors(1)), Content_Type=NDJSON)[0] == 200


def test_an_answer_to_a_request_that_was_not_read_arrives():
    with asking(ScoreServer(Constant(0.5), most_bytes=1_000)) as ask:
        for _ in range(3):
            assert ask("POST", "/score", b"x" * 5_000_000, Content_Type=NDJSON)[0] == 413


def test_beyond_this_machine_a_token_is_needed_but_to_see_that_it_is_up():
    server = ScoreServer(Constant(0.5), "0.0.0.0", token="open sesame")
    with asking(server) as ask:
        assert ask("GET", "/health")[0] == 200
        assert ask("GET", "/info")[0] == 401
        assert ask("GET", "/info", Authorization="Bearer wrong")[0] == 401
        assert ask("GET", "/info", Authorization="Bearer open sesame")[0] == 200
        assert ask("POST", "/score", lines(*corridors(1)), Content_Type=NDJSON)[0] == 401
    with ScoreServer(Constant(0.5), "0.0.0.0") as server:
        assert len(server.token) > 20


class Picky:
    unit, sees, spec = "value", "action", Constant().spec

    def __call__(self, trajectories):
        if any(t.task.text == "mute" for t in trajectories):
            raise MissingText("an array without words")
        raise ZeroDivisionError("a defect")


def test_what_the_scorer_raises_is_said():
    with asking(ScoreServer(Picky())) as ask:
        mute = ask("POST", "/score", lines(episode(("a", "b"), task="mute")), Content_Type=NDJSON)
        broken = ask("POST", "/score", lines(*corridors(1)), Content_Type=NDJSON)
    assert (mute[0], json.loads(mute[2])["error"]["type"]) == (422, "MissingText")
    assert (broken[0], json.loads(broken[2])["error"]["type"]) == (500, "ZeroDivisionError")


def test_one_connection_serves_many_requests():
    with serving(ScoreServer(Hashed())) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for played in corridors(3):
            connection.request("POST", "/score", lines(played), {"Content-Type": NDJSON})
            answer = connection.getresponse()
            assert next(jsonl.read(io.BytesIO(answer.read()))).trajectory_id == played.id
        connection.close()


@contextmanager
def command(*words, **environment):
    """Run `agentprm serve` in a process of its own; give the process and what it said first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agentprm.cli", "serve", *words, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_on_the_command_line_it_serves_until_interrupted_and_answers_what_was_asked(how, tmp_path):
    (tmp_path / "dawdling.py").write_text(SLOW)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    code = "import dawdling; from agentprm.cli import main; main()"
    words = [sys.executable, "-c", code, "serve", "dawdling:seconds=1.0", "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}) as process:
        said = json.loads(process.stdout.readline())
        assert (said["scorer"], said["unit"], said["token"]) == ("dawdling", "value", None)
        remote, answers = Remote(said["url"]), []
        asking = threading.Thread(target=lambda: answers.extend(remote(corridors(1))))
        asking.start()
        for _ in range(2_000):
            if os.path.exists(tmp_path / "asked"):
                break
            threading.Event().wait(0.01)
        process.send_signal(how)
        asking.join(20)
        assert process.wait(20) == 0
    assert [len(one) for one in answers] == [len(corridors(1)[0])]


SLOW = """
import pathlib, time
from dataclasses import dataclass
from agentprm import register
from agentprm.types import Scores, Spec

@register("dawdling")
@dataclass(frozen=True)
class Dawdling:
    seconds: float
    unit, sees = "value", "action"

    @property
    def spec(self):
        return Spec("dawdling", {"seconds": self.seconds})

    def __call__(self, trajectories):
        (pathlib.Path(__file__).parent / "asked").touch()
        time.sleep(self.seconds)
        return [Scores(t.id, self.spec, "value", (0.5,) * len(t), sees="action") for t in trajectories]
"""


def test_a_key_in_the_environment_is_the_token_on_both_sides(monkeypatch):
    with command("constant:value=0.25", AGENTPRM_API_KEY="one key") as (_, said):
        monkeypatch.delenv("AGENTPRM_API_KEY", raising=False)
        with pytest.raises(RuntimeError, match="AGENTPRM_API_KEY"):
            Remote(said["url"])
        monkeypatch.setenv("AGENTPRM_API_KEY", "one key")
        remote = Remote(said["url"])
        assert remote(corridors(1))[0].values[0] == 0.25
        assert "one key" not in remote.spec.to_json() + repr(remote)


def test_mistakes_are_one_line():
    for words, said in (
        (("nothing_of_that_name",), "no scorer or label"),
        (("constant", "--host", "1.2.3.4"), "listen"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "agentprm.cli", "serve", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
