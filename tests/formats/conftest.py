"""A LangSmith that is here: what its client sends is kept, run by run, as the service would hand it out."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("record", "store")]


class Service(ThreadingHTTPServer):
    """Takes ``POST /runs`` and ``PATCH /runs/<id>``."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs = {}
        self.lock = threading.Lock()

    def take(self, key, sent):
        with self.lock:
            run = self.runs.setdefault(sent.get("id") or key, {})
            run.update({name: value for name, value in sent.items() if value is not None})


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._say()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.take(self.path.rpartition("/")[2], json.loads(body))
        self._say()

    do_PATCH = do_POST

    def _say(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
