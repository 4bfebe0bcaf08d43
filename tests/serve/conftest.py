"""The world that pages are tested with, served."""

import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "report"))

from report_world import rose, sank

from agentprm import Store
from agentprm.serve.view import View


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as opened:
        opened.add([*sank(), *rose()])
        yield opened


@contextmanager
def serving(view):
    """Serve in a thread until the end of the block."""
    thread = threading.Thread(target=view.run)
    thread.start()
    try:
        yield view
    finally:
        view.stop()
        thread.join()
        view.close()


@pytest.fixture
def serve(store):
    """Serve the store; give the view."""
    opened = []

    def start(*words, **options):
        block = serving(View(store, *words, **options))
        opened.append(block)
        return block.__enter__()

    yield start
    for block in opened:
        block.__exit__(None, None, None)
