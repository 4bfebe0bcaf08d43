"""The world that pages are tested with, served."""

import importlib.metadata
import importlib.util
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "report"))

from report_world import rose, sank

from agentprm import Store, spec
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


_engines = importlib.util.spec_from_file_location("engines", Path(__file__).parents[1] / "store" / "conftest.py")
engines = importlib.util.module_from_spec(_engines)
_engines.loader.exec_module(engines)
postgres, url, state = engines.postgres, engines.url, engines.state


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """A folder in which the scorer `odd` is installed, as another package would be; worker processes find it."""
    folder = tmp_path_factory.mktemp("plugins")
    about = folder / "odd_scorer-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-scorer\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[agentprm.scorers]\nodd = odd_scorer:Odd\n")
    shutil.copy(Path(__file__).with_name("odd_scorer.py"), folder)
    return folder


@pytest.fixture
def odd(plugins, monkeypatch):
    """The scorer `odd`, known here as well."""
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.setattr(spec, "_plugins", lambda: {"odd": importlib.metadata.EntryPoint(
        "odd", "odd_scorer:Odd", "agentprm.scorers")})  # fmt: skip
    return "odd"
