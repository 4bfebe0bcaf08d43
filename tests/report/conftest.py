"""Stores to make pages of, and a browser to look at them with."""

import pytest
from report_world import world

from agentprm import Store


@pytest.fixture(scope="module")
def made():
    return world()


@pytest.fixture(scope="module")
def store(made, tmp_path_factory):
    with Store(tmp_path_factory.mktemp("report") / "runs.db") as opened:
        opened.add(made)
        yield opened
