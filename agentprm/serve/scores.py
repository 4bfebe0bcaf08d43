"""A scorer served to others: trajectories in, a line of JSON each, and their scores out."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import agentprm
from agentprm.errors import AgentPRMError, InvalidFormat
from agentprm.formats import jsonl
from agentprm.serve.batches import Batches, Full
from agentprm.serve.guard import Guard
from agentprm.serve.http import Answer, Server, address, listening, own_names
from agentprm.types import Scorer, Scores, Spec, Trajectory, Value

__all__ = ["ScoreServer"]

_NDJSON, _JSON = "application/x-ndjson", "application/json"
_TAKEN = (_NDJSON, _JSON, "application/jsonl")
_GZIP = b"\x1f\x8b"
_GRACE_S = 30.0
_IDLE_S = 75.0
_LINGER_S = 2.0


class ScoreServer:
    """A server for one scorer. `url` is where it is; `run` serves until it is interrupted or stopped.

    ``POST /score`` takes trajectories in our own exact form, a line each, and answers with their scores in the same;
    ``GET /info`` says which scorer it is, ``GET /health`` that it is up. Whoever asks at the same time shares a call.
    Bound to loopback unless `host` says otherwise; then `token`, or a random one, is asked for as a bearer. `names` are
    further names that the server is known by. A request holds at most `most_bytes`, a call of the scorer about
    `batch_size` trajectories.

    >>> from agentprm.scorers.constant import Constant
    >>> with ScoreServer(Constant(0.5)) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        scorer: Scorer,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token: str = "",
        names: tuple[str, ...] = (),
        batch_size: int = 64,
        most_bytes: int = 64 * 2**20,
    ) -> None:
        self._scorer, self._guard = scorer, Guard(host, own_names(host, names), token)
        self.most_bytes = most_bytes
        self._busy, self._changed, self._leaving = 0, threading.Condition(), False
        self._server = listening(host, port, self, _Handler)
        self._batches = Batches(scorer, batch_size)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What to give as ``Remote(url)``."""
        return address(self._guard.host, self.port)

    @property
    def token(self) -> str:
        """What a request must carry; nothing where that is only this machine's business."""
        return self._guard.token

    def run(self) -> None:
        """Serve until `stop` is called from another thread, or an interruption."""
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Let `run`, in another thread, return."""
        self._server.shutdown()

    def close(self) -> None:
        """Stop listening, and answer what was asked already."""
        self._leaving = True
        self._server.server_close()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, _GRACE_S)
        self._batches.close()

    def __enter__(self) -> ScoreServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refusal(self, path: str, headers: Any) -> Answer | None:
        """Return why a request is not answered, before any of it is read; None for one that is."""
        if not self._guard.knows_host(headers.get("Host")):
            return _wrong(403, "this server goes by another name: use its address, or allow the name")
        if path != "/health" and not self._guard.lets_in(headers, "agentprm"):
            return _wrong(401, "a token is needed: put the one that `agentprm serve` printed into AGENTPRM_API_KEY")
        if self._leaving:
            return _wrong(503, "this server is going down", headers=(("Retry-After", "5"),))
        return None

    def get(self, path: str) -> Answer:
        """Return what a GET gets."""
        if path == "/health":
            return _json(200, {"status": "ok"})
        if path == "/info":
            return _json(200, self._info())
        return _wrong(404, "there is /score to post to, /info and /health")

    def post(self, path: str, kind: str, body: bytes) -> Answer:
        """Return what a POST gets."""
        if path != "/score":
            return _wrong(404, "trajectories are posted to /score")
        if kind not in _TAKEN or body[:2] == _GZIP:
            return _wrong(415, f"trajectories are JSON, a line each, as {_NDJSON}, and not compressed")
        return self._scored(body)

    def _scored(self, body: bytes) -> Answer:
        try:
            said = self._batches.ask(_trajectories(body)) if body.strip() else []
            written = io.BytesIO()
            jsonl.write(written, map(_public, said))
            return Answer(200, written.getvalue(), _NDJSON)
        except Full as error:
            return _wrong(503, f"{error}: come back later", headers=(("Retry-After", "1"),))
        except InvalidFormat as error:
            return _wrong(400, str(error), "InvalidFormat")
        except AgentPRMError as error:
            return _wrong(422, str(error), type(error).__name__)
        except Exception as error:
            return _wrong(500, f"the scorer failed: {error!r}", type(error).__name__)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let `close` wait until this is done."""
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify()

    def _info(self) -> dict[str, Any]:
        spec = self._scorer.spec
        which = {"name": spec.name, "digest": spec.digest, "weights": spec.params.get("weights")}
        means = {"unit": self._scorer.unit, "sees": self._scorer.sees, "spec": _without_places(spec.plain())}
        limits = {"most_bytes": self.most_bytes, "batch_size": self._batches.most}
        so_far = {"calls": self._batches.calls, "requests": self._batches.asked}
        return {"server": "agentprm", "version": agentprm.__version__, **which, **means, **limits, **so_far}


def _trajectories(body: bytes) -> list[Trajectory]:
    found = list(jsonl.read(io.BytesIO(body)))
    for line, item in enumerate(found, 1):
        if not isinstance(item, Trajectory):
            raise InvalidFormat("expected a trajectory, these are scores", "<request>", line)
    return found  # type: ignore[return-value]


def _public(scores: Scores) -> Scores:
    """Return scores without the folders of this machine, which are no part of what a scorer is."""
    source = _without_places(scores.source.plain())
    return replace(scores, source=Spec(source["name"], source["params"]))


def _without_places(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _without_places(inside) for key, inside in value.items() if key != "folder"}
    return [_without_places(inside) for inside in value] if isinstance(value, list) else value


def _json(status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, json.dumps(body).encode(), _JSON, headers)


def _wrong(
    status: int, message: str, kind: str = "RemoteError", *, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    return _json(status, {"error": {"type": kind, "message": message}}, headers)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _IDLE_S
    protocol_version = "HTTP/1.1"
    # Small answers in two packets would wait 40 ms for each other (Nagle's algorithm and delayed ACKs).
    disable_nagle_algorithm, wbufsize = True, 1 << 16
    server_version, sys_version = "agentprm", ""

    def do_GET(self) -> None:
        owner: ScoreServer = self.server.owner
        self._send(owner.refusal(self.path, self.headers) or owner.get(self.path))

    def do_POST(self) -> None:
        owner: ScoreServer = self.server.owner
        refused = owner.refusal(self.path, self.headers) or self._too_much(owner.most_bytes)
        if refused is not None:
            self._send_unread(refused)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        with owner.working():
            self._send(owner.post(self.path, kind, body))

    def _send_unread(self, answer: Answer) -> None:
        """Answer a request that was not read, and hang up: slowly, or who still sends would never read the answer."""
        self.close_connection = True
        self._send(answer)
        ends = time.monotonic() + _LINGER_S
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_S)
            while time.monotonic() < ends and self.rfile.read1(1 << 16):
                pass

    def _too_much(self, most: int) -> Answer | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            return _wrong(411, "a request says how long it is, in Content-Length")
        return _wrong(413, f"a request holds at most {most} bytes, not {length}") if int(length) > most else None

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the terminal is its user's."""
