"""Requests to a server that scores: with a deadline each, and again where the next try may go better."""

from __future__ import annotations

import ipaddress
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from agentprm.errors import BadAnswer, InvalidSpec, RemoteError, Unreachable

__all__ = ["KEY", "NDJSON", "Client", "Refused", "checked_url"]

KEY = "AGENTPRM_API_KEY"
"""The environment variable that holds what a server asks for; it is never recorded."""
NDJSON = "application/x-ndjson"

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0
_MOST_BYTES = 1 << 28
_SHOWN = 200
_AGAIN = (408, 425, 429)
_chance = random.SystemRandom()


class Refused(RemoteError):
    """A request that the server understood and refused; `status` and `body` are its answer."""

    def __init__(self, message: str, status: int = 0, body: bytes = b"") -> None:
        super().__init__(message)
        self.status, self.body = status, body


class _TryAgain(Exception):
    """A try that failed in a way that may pass; `wait` is how long the server asked to be left alone."""

    def __init__(self, said: str, wait: float | None = None) -> None:
        super().__init__(said)
        self.wait = wait


def checked_url(url: str) -> str:
    """Return the address of a server without a slash at its end; raises InvalidSpec for what is none.

    >>> checked_url("http://127.0.0.1:8421/")
    'http://127.0.0.1:8421'
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidSpec(f"{url!r} is no address of a server: say url=http://host:port ({error})") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidSpec(f"{url!r} is no address of a server: say url=http://host:port")
    if parsed.userinfo or parsed.query or parsed.fragment:
        shown = f"{parsed.scheme}://{parsed.netloc.decode()}{parsed.path}"
        raise InvalidSpec(
            f"{shown} came with a name, a password or options, and an address is recorded with every score: give it "
            f"bare, and put the key into {KEY}"
        )
    return str(parsed).rstrip("/")


@dataclass(frozen=True, eq=False)
class Client:
    """Talks to one server. A key in ``AGENTPRM_API_KEY`` goes along as a bearer token; redirections are not followed.

    It may be used by several threads, and by a process that was forked.
    """

    url: str
    timeout: float
    """Seconds for each try, from the connection to the last byte."""
    retries: int
    """Tries after the first, where the server was away, too busy (408, 425, 429), broken (5xx) or too slow."""
    _made: dict[int, httpx.Client] = field(default_factory=dict, init=False, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    def get(self, path: str) -> Any:
        """Return the JSON that stands there."""
        return self.read_json(path, self.send("GET", path))

    def post(self, path: str, body: Any) -> Any:
        """Send JSON, and return the JSON that comes back."""
        return self.read_json(path, self.send("POST", path, orjson.dumps(body), "application/json"))

    def read_json(self, path: str, answer: bytes) -> Any:
        """Return an answer as JSON; raises BadAnswer, showing its beginning, for what is none."""
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise BadAnswer(
                f"{self.url}{path} was expected to answer in JSON, and said {_shown(answer)}: is this the server, and "
                "api= what it speaks?"
            ) from error

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
        """Return what the server answers.

        Raises Refused for a status of 4xx, Unreachable after the last try, RemoteError for a redirection.
        """
        waits = iter(self._waits())
        while True:
            try:
                return self._once(method, path, body, kind)
            except _TryAgain as error:
                pause = next(waits, None)
                if pause is None or (error.wait or 0.0) > _LONGEST_WAIT_S:
                    tries = "once" if not self.retries else f"{self.retries + 1} times at most"
                    raise Unreachable(
                        f"{self.url}{path} was asked {tries}, with {self.timeout:g} s for each try, and gave nothing: "
                        f"{error}. Is it up? timeout= and retries= give it more time"
                    ) from error
                threading.Event().wait(max(pause, error.wait or 0.0))

    def _waits(self) -> Iterator[float]:
        """Yield seconds to wait before each further try: twice as long each time, less up to a half by chance."""
        for n in range(self.retries):
            yield min(_FIRST_WAIT_S * 2**n, _LONGEST_WAIT_S) * _chance.uniform(0.5, 1.0)

    def _once(self, method: str, path: str, body: bytes, kind: str) -> bytes:
        headers = {"Content-Type": kind} if kind else {}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        try:
            with self._http().stream(method, self.url + path, content=body, headers=headers) as response:
                answer = self._read(response)
        except httpx.RequestError as error:
            raise _TryAgain(str(error) or type(error).__name__) from error
        self._require(path, response, answer)
        return answer

    def _read(self, response: httpx.Response) -> bytes:
        """Return the body, within the time and memory there is for it."""
        chunks, size, ends = [], 0, time.monotonic() + self.timeout
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > _MOST_BYTES:
                raise BadAnswer(f"{response.url} answered with more than {_MOST_BYTES >> 20} MiB: make batch_size less")
            if time.monotonic() > ends:
                raise _TryAgain(f"after {self.timeout:g} s it was still answering")
        return b"".join(chunks)

    def _require(self, path: str, response: httpx.Response, answer: bytes) -> None:
        status = response.status_code
        if status in _AGAIN or status >= 500:
            raise _TryAgain(f"{status} {_said(answer)}", _asked_to_wait(response.headers.get("Retry-After")))
        if 300 <= status < 400:
            place = response.headers.get("Location", "elsewhere")
            raise RemoteError(f"{self.url}{path} has moved to {place}: give its new address as url=")
        if status >= 400:
            raise Refused(f"{self.url}{path} refused: {status} {_said(answer)}{_way_out(status)}", status, answer)

    def __del__(self) -> None:
        if mine := self._made.get(os.getpid()):
            mine.close()

    def _http(self) -> httpx.Client:
        """Return the connections of this process; a child never writes to those of its parent."""
        with self._lock:
            if (mine := self._made.get(os.getpid())) is None:
                # A proxy cannot reach what only this machine can.
                mine = httpx.Client(timeout=self.timeout, trust_env=not _is_here(self.url))
                self._made.clear()
                self._made[os.getpid()] = mine
            return mine


def _is_here(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _asked_to_wait(header: str | None) -> float | None:
    """Return the seconds of a Retry-After, which is a number or a date (RFC 9110, 10.2.3); None for neither."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0) if moment.tzinfo else None


def _way_out(status: int) -> str:
    ways = {
        401: f"; put its key into {KEY}",
        403: f"; put its key into {KEY}",
        404: "; is url= the root of the server, and api= what it speaks?",
        413: "; make batch_size less",
    }
    return ways.get(status, "")


def _said(answer: bytes) -> str:
    """Return what an error says, in the shapes in which servers say it."""
    try:
        body = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return _shown(answer)
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    return message if isinstance(message, str) else _shown(answer)


def _shown(answer: bytes) -> str:
    text = " ".join(answer[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") if text else "nothing"
