"""Rows that are durable each second, and rows kept after SIGKILL: Phoenix on SQLite beside our store, the same payload.

Phoenix lives in a virtual environment of its own, whose python is named by `--phoenix`: its server writes to a SQLite
file; spans come from OpenTelemetry's SDK over OTLP/HTTP, one per step, in batches. A row counts once another process
finds it in the file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from faults_kills import killed_after

from agentprm import Action, Observation, Step, Store, Task, Trajectory
from agentprm.types import Began, Stepped, new_id

PAYLOAD = "x" * 300
SPANS = """
import sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
exporter = OTLPSpanExporter(endpoint=sys.argv[1])
provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=50))
tracer = provider.get_tracer("steps")
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(sys.argv[2])):
    with tracer.start_as_current_span("step") as span:
        span.set_attribute("input.value", sys.argv[3])
        span.set_attribute("reward", float(i))
print("acknowledged" if provider.force_flush(120_000) else "not acknowledged", flush=True)
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Phoenix:
    """A server with a SQLite file, until it is killed."""

    def __init__(self, python, folder):
        self.python, self.file, port = python, folder / "phoenix.db", free_port()
        self.url = f"http://127.0.0.1:{port}"
        named = {"WORKING_DIR": folder, "SQL_DATABASE_URL": f"sqlite:///{self.file}", "HOST": "127.0.0.1", "PORT": port}
        named |= {"GRPC_PORT": free_port(), "TELEMETRY_ENABLED": "false"}
        environment = {**os.environ, "PYTHONPATH": "", **{f"PHOENIX_{k}": str(v) for k, v in named.items()}}
        with (folder / "log").open("w") as log:
            command = [python, "-m", "phoenix.server.main", "serve"]
            self.server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._wait(folder / "log")

    def _wait(self, log, seconds=180):
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.server.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/healthz", timeout=2)
                return
            time.sleep(0.5)
        raise RuntimeError(f"Phoenix did not start: {log.read_text()[-500:]}")

    def rows(self):
        """Return how many spans another process finds in the file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM spans").fetchone()[0]

    def send(self, n):
        """Return a process that sends spans once it is told, and says when all were acknowledged."""
        command = [self.python, "-c", SPANS, f"{self.url}/v1/traces", str(n), PAYLOAD]
        pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        sending = subprocess.Popen(command, text=True, env={**os.environ, "PYTHONPATH": ""}, **pipes)
        assert sending.stdout.readline() == "ready\n"
        return sending

    def rate(self, n):
        """Return how many spans a second are durable."""
        before, sending = self.rows(), self.send(n)
        began = time.monotonic()
        sending.stdin.write("go\n")
        sending.stdin.flush()
        while self.rows() < before + n:
            assert time.monotonic() < began + 300, f"{self.rows() - before} of {n} spans in 300 s"
            time.sleep(0.02)
        took = time.monotonic() - began
        sending.communicate()
        return n / took

    def killed(self, n):
        """Return how many of n acknowledged spans are in the file of a server killed right then."""
        before, sending = self.rows(), self.send(n)
        said, _ = sending.communicate("go\n")
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        return {"acknowledged": n if said == "acknowledged\n" else None, "kept": self.rows() - before}

    def close(self):
        """End the server."""
        self.server.kill()
        self.server.wait()


def steps(store, n, say=None):
    seen = Observation(PAYLOAD)
    t = Trajectory(new_id(), Task("steps"), (), seen)
    store.write(Began(t))
    for i in range(n):
        store.write(Stepped(t.id, i, Step(seen, Action(f"do {i}"), float(i)), seen))
        if say:
            say(str(t.id), i + 1)


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(*) FROM step").fetchone()[0]


OURS = """
import sys
sys.path[:0] = [sys.argv[1]]
from faults_phoenix import Store, steps
with Store(sys.argv[2], durability=sys.argv[3]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    steps(store, int(sys.argv[4]))
    store.flush()
    print("done", flush=True)
    sys.stdin.readline()
"""


def our_rate(folder, durability, n):
    path = folder / f"{new_id()}.db"
    command = [sys.executable, "-c", OURS, str(Path(__file__).parent), str(path), durability, str(n)]
    writing = subprocess.Popen(command, text=True, **dict.fromkeys(("stdin", "stdout"), subprocess.PIPE))
    assert writing.stdout.readline() == "ready\n"
    began = time.monotonic()
    writing.stdin.write("go\n")
    writing.stdin.flush()
    while rows(path) < n:
        time.sleep(0.02)
    took = time.monotonic() - began
    writing.communicate("\n")
    return n / took


def we_killed(folder, durability):
    path = folder / f"{new_id()}.db"
    Store(path).close()

    def work(say):
        steps(Store(path, durability=durability), 10**7, say)

    said, _ = killed_after(1.0, work)
    return {"acknowledged": len(said), "kept": rows(path)}


def beside(python, folder, n, repeats):
    """Return the rates of both, interleaved, and what each keeps when it is killed; a reason where it cannot run."""
    if not python or not Path(python).exists():
        return {"skipped": "no Phoenix: name the python of an environment with arize-phoenix by --phoenix"}
    phoenix, rates = Phoenix(python, folder), {"phoenix": [], "step": [], "group": []}
    try:
        phoenix.rate(100)  # the first spans wait for imports
        for _ in range(repeats):
            rates["phoenix"].append(phoenix.rate(n))
            for durability in ("step", "group"):
                rates[durability].append(our_rate(folder, durability, 10 * n))
        killed = {"phoenix": phoenix.killed(n), **{d: we_killed(folder, d) for d in ("step", "group")}}
    finally:
        phoenix.close()
    middle = {way: statistics.median(found) for way, found in rates.items()}
    ratios = {way: middle[way] / middle["phoenix"] for way in ("step", "group")}
    return {"ratios": ratios, "rows_per_s": middle, "rates": rates, "killed": killed, "n": n}
