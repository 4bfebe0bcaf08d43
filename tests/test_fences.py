"""What importing the library loads, and what it promises by name."""

import inspect
import json
import subprocess
import sys
from importlib import import_module

import pytest

import agentprm

HEAVY = ("torch", "sqlalchemy", "alembic", "gymnasium", "langchain_core", "numpy", "rich", "click", "transformers")


def loaded_by(code):
    """Return the names of the modules that a fresh process has loaded after some code."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "code",
    [
        "import agentprm",
        "import agentprm; dir(agentprm); agentprm.__version__",
        "from agentprm import Trajectory, Scores, Spec, Scorer",
        "import agentprm.types, agentprm.errors",
        "from agentprm.ops import agree, aggregate, credit, returns, shape",
        "from agentprm import register, make, load_scorer; make('constant:value=0.5')",
    ],
)
def test_nouns_maths_and_names_load_nothing_heavy(code):
    assert not loaded_by(code) & set(HEAVY)


def test_the_nouns_load_nothing_but_the_standard_library():
    others = {name.partition(".")[0] for name in loaded_by("import agentprm.types")}
    before = {name.partition(".")[0] for name in loaded_by("")}
    assert {n for n in others - before if n not in sys.stdlib_module_names} == {"agentprm"}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("from agentprm import Store; Store(':memory:').close()", {"torch", "gymnasium", "langchain_core", "rich"}),
        ("from agentprm import PRMRewardWrapper", {"torch", "sqlalchemy", "langchain_core", "rich"}),
        ("from agentprm import TrajectoryRecorder, rollout", {"torch", "sqlalchemy", "langchain_core", "rich"}),
    ],
)
def test_a_recorder_drags_in_only_what_it_needs(code, absent):
    assert not loaded_by(code) & absent


@pytest.mark.parametrize("name", agentprm.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(agentprm, name)
    assert name in dir(agentprm)
    if inspect.isclass(value) or callable(value):
        assert inspect.getdoc(value)
    home = import_module(f"agentprm.{agentprm._HOME[name]}")
    assert getattr(home, name) is value, "there is one object, under both names"


def test_public_names_are_listed_once_and_the_same_everywhere():
    assert sorted(agentprm.__all__) == agentprm.__all__ == sorted(agentprm._HOME)


def test_a_name_that_is_not_there_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Trajektorie'"):
        _ = agentprm.Trajektorie
    assert not hasattr(agentprm, "Trajektorie")
