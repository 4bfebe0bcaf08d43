"""`agentprm view`: what is served, to whom, and that it reads only."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from report_world import rose

from agentprm import Store
from agentprm.serve.view import View
from agentprm.types import Began


@pytest.fixture
def get(serve):
    """Ask a view; return status, headers, body."""
    views = {}

    def ask(path="/", method="GET", view=None, **headers):
        view = view or views.setdefault("one", None) or views.update(one=serve()) or views["one"]
        connection = http.client.HTTPConnection("127.0.0.1", view.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": f"127.0.0.1:{view.port}", **named})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    return ask


def test_the_page_lets_nothing_but_itself_run(get):
    status, headers, body = get()
    assert status == 200
    assert b'data-live="yes"' in body
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Python" not in headers["Server"]


def test_the_index_changes_when_the_store_does(get, store, monkeypatch):
    monkeypatch.setattr("agentprm.serve.view._AT_LEAST_S", 0.0)
    monkeypatch.setattr("agentprm.serve.view._REST", 0.0)
    _, headers, body = get("/index.json")
    assert json.loads(body)["total"] == 2
    assert get("/index.json", If_None_Match=headers["ETag"])[0] == 304
    store.add(rose())
    status, later, body = get("/index.json", If_None_Match=headers["ETag"])
    assert (status, json.loads(body)["total"]) == (200, 3)
    assert later["ETag"] != headers["ETag"]


def test_an_opinion_changes_it_too(get, store, monkeypatch):
    monkeypatch.setattr("agentprm.serve.view._AT_LEAST_S", 0.0)
    monkeypatch.setattr("agentprm.serve.view._REST", 0.0)
    _, headers, body = get("/index.json")
    first = json.loads(body)["episodes"][0]["id"]
    store.set_outcome(1.0, id=next(t.id for t in store.trajectories() if str(t.id) == first))
    status, headers, body = get("/index.json", If_None_Match=headers["ETag"])
    assert (status, json.loads(body)["episodes"][0]["outcome"]) == (200, 1.0)


def test_an_episode_without_a_step_changes_it_too(get, store, monkeypatch):
    monkeypatch.setattr("agentprm.serve.view._AT_LEAST_S", 0.0)
    monkeypatch.setattr("agentprm.serve.view._REST", 0.0)
    _, headers, _ = get("/index.json")
    store.write(Began(replace(rose()[0], steps=(), ending=None)))
    store.flush()
    assert get("/index.json", If_None_Match=headers["ETag"])[0] == 200


def test_it_is_not_made_more_often_than_it_can_be(get, store, monkeypatch):
    monkeypatch.setattr("agentprm.serve.view._AT_LEAST_S", 3600.0)
    _, headers, _ = get("/index.json")
    store.add(rose())
    assert get("/index.json", If_None_Match=headers["ETag"])[0] == 304


def test_an_episode_is_asked_for_by_its_id(get, store):
    t = next(iter(store.trajectories()))
    status, headers, body = get(f"/episode/{t.id}.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert len(json.loads(body)["turns"]) == len(t)


NOWHERE = ["/nothing", "/episode/x.json", f"/episode/{uuid4()}.json", "/../runs.db", "/episode/%00.json",
           "//evil.example/", "/episode/..%2f..%2fruns.db", "/index.json/"]  # fmt: skip


@pytest.mark.parametrize("path", NOWHERE, ids=range(len(NOWHERE)))
def test_what_is_not_there_is_not_found(get, path):
    status, headers, body = get(path)
    assert status == 404
    assert headers["Content-Type"].startswith("text/plain")
    assert b"Traceback" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_for_reading(get, method):
    status, headers, _ = get(method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_is_get_without_a_body(get):
    status, headers, body = get(method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 10_000


@pytest.mark.parametrize("path", ["/", "/index.json", "/episode/x.json"])
def test_a_site_that_borrows_the_address_gets_nothing(get, path):
    status, _, body = get(path, Host="evil.example:8420")
    assert status == 403
    assert b"runs" not in body


def test_away_from_home_a_token_opens_it(get, store):
    view = View(store, "127.0.0.1", token="secret-token")
    with view:
        assert "?token=secret-token" in view.url
        assert view.answer("/", {"Host": "127.0.0.1"}).status == 401
        assert view.answer("/index.json", {"Host": "127.0.0.1", "Authorization": "Bearer wrong"}).status == 401
        assert view.answer("/index.json", {"Host": "127.0.0.1", "Authorization": "Bearer secret-token"}).status == 200
        opened = view.answer("/?token=secret-token", {"Host": "127.0.0.1"})
        cookie = dict(opened.headers)["Set-Cookie"]
        assert (opened.status, dict(opened.headers)["Location"]) == (303, "/")
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert view.answer("/", {"Host": "127.0.0.1", "Cookie": cookie.partition(";")[0]}).status == 200
        assert view.answer("/?token=wrong", {"Host": "127.0.0.1"}).status == 401


def test_bound_to_every_address_it_makes_one(store):
    with View(store, "0.0.0.0") as view:
        assert "?token=" in view.url
        assert view.answer("/", {"Host": "10.0.0.1"}).status == 401
        assert view.answer("/", {"Host": urlsplit(view.url).netloc}).status == 401, "its own name is known"
        assert view.answer("/", {"Host": "evil.example"}).status == 403


def test_a_port_that_is_taken_is_an_error_in_one_line(store):
    with View(store) as view, pytest.raises(OSError, match=f"port {view.port}.*give another"):
        View(store, port=view.port)


def test_a_reader_that_says_nothing_keeps_nobody_waiting(get, serve):
    view = serve()
    with socket.create_connection(("127.0.0.1", view.port)):
        assert get(view=view)[0] == 200


@pytest.mark.parametrize(
    "request_line", [b"GET\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"x" * 70_000]
)
def test_nonsense_is_refused(get, serve, request_line):
    view = serve()
    with socket.create_connection(("127.0.0.1", view.port), timeout=30) as raw:
        raw.sendall(request_line)
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer == b"" or b"40" in answer or b"41" in answer or b"50" in answer
    assert b"Traceback" not in answer
    assert get(view=view)[0] == 200, "and it goes on"


def test_a_store_that_goes_away_is_said(store):
    with View(store) as view:
        store.close()
        answer = view.answer("/index.json", {"Host": "localhost"})
    assert answer.status == 503
    assert b"closed" in answer.body


def start(*words):
    command = [sys.executable, "-m", "agentprm.cli", "view", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "BROWSER": "false"}
    )


def test_the_verb_prints_its_address_and_ctrl_c_ends_it(store):
    served = start(store.url, "--port", 0, "--no-browser", "--json")
    url = urlsplit(json.loads(served.stdout.readline())["url"])
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    connection.request("GET", "/index.json")
    assert json.loads(connection.getresponse().read())["total"] == 2
    connection.close()
    served.send_signal(signal.SIGINT)
    out, err = served.communicate(timeout=30)
    assert (served.returncode, out) == (0, "")
    assert "Traceback" not in err


MISTAKES = {
    "no store": (("{path}.none",), "there is no database"),
    "nobody's scores": (("{path}", "--scorer", "nobody", "--port", "0"), "there are"),
    "an address of another machine": (("{path}", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(store, mistake):
    words, hint = MISTAKES[mistake]
    served = start(*(word.format(path=store.url.removeprefix("sqlite:///")) for word in words), "--no-browser")
    _, err = served.communicate(timeout=60)
    assert served.returncode == 1
    assert hint in err
    assert len(err.strip().splitlines()) == 1


def test_reading_writes_nothing(get, store):
    path = store.url.removeprefix("sqlite:///")
    before = _rows(path)
    get()
    get("/index.json")
    assert _rows(path) == before


def _rows(path):
    with Store(path) as store, store.connection() as connection:
        tables = [row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar() for name in tables}
