"""A live page of a store, served for reading: overview and index as they change, an episode when it is opened."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any, Unpack
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import sqlalchemy as sa

from agentprm.credit.asking import ScorerForm
from agentprm.credit.report.episodes import plain_episodes
from agentprm.credit.report.look import first_look, name_of
from agentprm.credit.report.page import page, policy
from agentprm.credit.report.plain import embedded
from agentprm.credit.sums import only_reading
from agentprm.credit.where import Where
from agentprm.errors import AgentPRMError, NoSuchTrajectory
from agentprm.serve.guard import Guard
from agentprm.serve.http import Answer, Server, address, listening, own_names
from agentprm.store import tables as t
from agentprm.store.store import Store

__all__ = ["View"]

_LONGEST = 200_000
"""Characters of one text; what a browser shows without complaint."""
_AT_LEAST_S = 1.0
_REST = 4
"""An overview that takes a second is not made more often than every four."""


class View:
    """A server for one store, reading only. `url` opens it; `run` serves until it is interrupted or closed.

    Bound to loopback unless `host` says otherwise; then a random token is part of `url`, unless one is given. `names`
    are further names that the server is known by. The overview and at most `limit` episodes are those that match.

    >>> with Store(":memory:") as store, View(store) as view:
    ...     view.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        store: Store,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        scorer: ScorerForm = None,
        limit: int = 1_000,
        token: str = "",
        names: tuple[str, ...] = (),
        **where: Unpack[Where],
    ) -> None:
        self._store, self._guard = store, Guard(host, own_names(host, names), token)
        self._look: Callable[[], dict[str, Any]] = partial(first_look, store, scorer, limit=limit, **where)
        self._lock, self._index, self._next = threading.Lock(), (b"", ""), 0.0
        self._page = "".join(page(f"{name_of(store)}: agentprm", live=True)).encode()
        self._server = listening(host, port, self, _Handler)
        self._cookie = f"agentprm-{self.port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What to open, with the token if one is needed."""
        token = f"?token={self._guard.token}" if self._guard.token else ""
        return f"{address(self._guard.host, self.port)}/{token}"

    def run(self) -> None:
        """Serve until `close` is called from another thread, or an interruption."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop listening."""
        self._server.server_close()

    def stop(self) -> None:
        """Let `run`, in another thread, return."""
        self._server.shutdown()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, target: str, headers: Any) -> Answer:
        """Return what a GET of `target` with these headers gets."""
        if not self._guard.knows_host(headers.get("Host")):
            return _refusal(403, "this server goes by another name: use its address, or allow the name")
        where = urlsplit(target)
        token = parse_qs(where.query).get("token", [""])[0]
        if where.path == "/" and self._guard.is_token(token):
            cookie = f"{self._cookie}={self._guard.token}; Path=/; HttpOnly; SameSite=Lax"
            return Answer(303, b"", headers=(("Location", "/"), ("Set-Cookie", cookie)))
        if not self._guard.lets_in(headers, self._cookie):
            return _refusal(401, "a token is needed: open the address that `agentprm view` printed")
        try:
            return self._found(unquote(where.path), headers)
        except NoSuchTrajectory as error:
            return _refusal(404, str(error))
        except AgentPRMError as error:
            return _refusal(503, " ".join(str(error).split()))

    def _found(self, path: str, headers: Any) -> Answer:
        if path == "/":
            return Answer(200, self._page, "text/html; charset=utf-8")
        if path == "/index.json":
            body, mark = self._current()
            tag = (("ETag", mark),)
            return Answer(304, b"", headers=tag) if headers.get("If-None-Match") == mark else _json(body, tag)
        if path.startswith("/episode/") and path.endswith(".json"):
            return _json(self._episode(path[len("/episode/") : -len(".json")]))
        return _refusal(404, "there is nothing here")

    def _episode(self, word: str) -> bytes:
        try:
            key = UUID(word)
        except ValueError:
            raise NoSuchTrajectory("an episode is asked for by its id") from None
        for episode in plain_episodes(self._store, [key], longest=_LONGEST):
            return embedded(episode).encode()
        raise NoSuchTrajectory(f"the store holds no trajectory {key}")

    def _current(self) -> tuple[bytes, str]:
        """Return overview and index with their mark; made anew when the store has changed, but not all the time."""
        with self._lock:
            began = time.monotonic()
            if self._index[0] and began < self._next:
                return self._index
            mark = _fingerprint(self._store)
            if mark != self._index[1]:
                with only_reading():
                    self._index = embedded(self._look()).encode(), mark
            ended = time.monotonic()
            self._next = ended + max(_AT_LEAST_S, _REST * (ended - began))
            return self._index


def _json(body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(200, body, "application/json", headers)


def _refusal(status: int, words: str) -> Answer:
    return Answer(status, f"{words}\n".encode("utf-8", "replace"))


def _fingerprint(store: Store) -> str:
    """Return what changes when anything is added to a store, ended or judged."""
    counted = (t.trajectory, t.step, t.score, t.outcome, t.label)
    counts = [sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in counted]
    moments = [sa.select(sa.func.max(c)).scalar_subquery() for c in (t.trajectory.c.ended_at, t.outcome.c.at)]
    with store.connection() as connection:
        row = connection.execute(sa.select(*counts, *moments, sa.select(sa.func.max(t.scorer.c.id)).scalar_subquery()))
        return f'"{hashlib.blake2b(repr(tuple(row.one())).encode(), digest_size=8).hexdigest()}"'


_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 10
    server_version, sys_version = "agentprm", ""

    def do_GET(self) -> None:
        self._send(self.server.owner.answer(self.path, self.headers), body=True)

    def do_HEAD(self) -> None:
        self._send(self.server.owner.answer(self.path, self.headers), body=False)

    def _refuse(self) -> None:
        self._send(Answer(405, b"this is for reading\n", headers=(("Allow", "GET, HEAD"),)), body=True)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_CONNECT = do_TRACE = _refuse

    def _send(self, answer: Answer, *, body: bool) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Security-Policy", f"{policy(live=True)}; frame-ancestors 'none'")
        for name, value in (*_HEADERS, *answer.headers):
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the terminal is its user's."""
