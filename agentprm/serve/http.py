"""A server of the standard library, as we use it: a thread for each connection, and no words of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple

from agentprm.serve.guard import is_loopback

__all__ = ["Answer", "Server", "address", "listening", "own_names"]


class Answer(NamedTuple):
    """What a request gets: a status, a body and its kind, further headers."""

    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class Server(ThreadingHTTPServer):
    """Listens, and gives every connection to a handler in a thread of its own."""

    daemon_threads = True
    owner: Any
    """What the handler asks for answers."""

    def server_bind(self) -> None:
        """Bind, without asking a name server for the machine's full name, as HTTPServer's own does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a reader who went away."""


class _Server6(Server):
    address_family = socket.AF_INET6


def listening(host: str, port: int, owner: Any, handler: Callable[..., BaseHTTPRequestHandler]) -> Server:
    """Return a server that listens there; raises OSError that names the way out."""
    try:
        made = (_Server6 if ":" in host else Server)((host, port), handler)
    except OSError as error:
        raise OSError(f"cannot listen on {host}, port {port}: {error.strerror or error}; give another") from error
    made.owner = owner
    return made


def address(host: str, port: int) -> str:
    """Return what a server is reached by, from here or from elsewhere.

    >>> address("127.0.0.1", 8421)
    'http://127.0.0.1:8421'
    """
    shown = socket.gethostname() if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def own_names(host: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that a server bound there is known by: beyond this machine also the machine's own."""
    return names if is_loopback(host) else (*names, socket.gethostname())
