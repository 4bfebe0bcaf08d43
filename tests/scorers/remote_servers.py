"""Servers for tests of `remote`: real ones, on a port of this machine, in a thread."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agentprm.serve.scores import ScoreServer


@contextmanager
def serving(server):
    """Run something with `run`, `stop` and `close` in a thread until the end of the block."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
        server.close()


def ours(scorer, **options):
    """Serve a scorer as `agentprm serve` does."""
    return serving(ScoreServer(scorer, **options))


class Unruly:
    """A server that misbehaves on demand: each request takes the next of `script`, and then it answers properly.

    `answer(path, body)` returns what it says when it behaves; a script's entries are names of what it does instead, or
    (status, headers, body).
    """

    def __init__(self, answer, script=()):
        self.answer, self.script, self.seen, self.headers = answer, list(script), [], []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads, self.server.owner = True, self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.let_go = threading.Event()

    def run(self):
        self.server.serve_forever(poll_interval=0.05)

    def stop(self):
        self.let_go.set()
        self.server.shutdown()

    def close(self):
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def do_GET(self):
        self._reply(b"")

    def do_POST(self):
        self._reply(self.rfile.read(int(self.headers["Content-Length"])))

    def _reply(self, body):
        owner = self.server.owner
        owner.seen.append((self.path, body, time.monotonic()))
        owner.headers.append(dict(self.headers))
        trick = owner.script.pop(0) if owner.script else None
        if isinstance(trick, tuple):
            self._send(*trick)
        elif trick is not None:
            getattr(self, trick)(body)
        else:
            self._behave(body)

    def _behave(self, body, change=lambda said: said):
        said = self.server.owner.answer(self.path, body)
        said = change(said)
        self._send(200, {}, said if isinstance(said, bytes) else json.dumps(said).encode())

    def _send(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang(self, body):
        self.server.owner.let_go.wait(20)
        self.close_connection = True

    def trickle(self, body):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        try:
            while not self.server.owner.let_go.wait(0.05):
                self.wfile.write(b" ")
        except OSError:
            pass
        self.close_connection = True

    def cut(self, body):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"half": ')
        self.close_connection = True

    def hang_up(self, body):
        self.close_connection = True

    def html(self, body):
        self._send(200, {"Content-Type": "text/html"}, b"<html><body><h1>It works!</h1></body></html>")

    def log_message(self, *words):
        pass
