"""A headless Chromium, the real one, for tests of pages; without one they are skipped, or fail where one must be."""

import os
import shutil
from contextlib import contextmanager

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
)
_HOW = "install Chromium (on Debian: apt-get install chromium), or name it in AGENTPRM_CHROMIUM"


def binary():
    """Return where Chromium lies; None where it does not."""
    return os.environ.get("AGENTPRM_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def chromium():
    """Give a browser; skip without one, or fail where AGENTPRM_NEED_CHROMIUM is set."""
    missing = pytest.fail if os.environ.get("AGENTPRM_NEED_CHROMIUM") else pytest.skip
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    path = binary()
    if path is None:
        missing(f"no Chromium here: {_HOW}")
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=path, args=[*_QUIET, *sandbox])
        yield browser
        browser.close()
