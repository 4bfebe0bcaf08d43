"""The migrations are found wherever the library is installed: in a checkout, in an editable install, from a wheel."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOKING = """
import json, sys
import agentprm
from alembic import command
from agentprm import Store
from agentprm.store import migrate
from agentprm.testing.trajectories import episode
t = episode(("here", "go"), outcome=1.0)
with Store(sys.argv[1]) as store:
    assert store.add(t) == 1
    database = store._database
    assert migrate.check(database) == []
    with database.migrating() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert migrate.current(database) is None
    migrate.upgrade(database)
    assert migrate.check(database) == [] and store.add(t) == 1
print(json.dumps([agentprm.__file__, str(migrate.migrations()), migrate.current(sys.argv[1])]))
"""


def run(*command, **environment):
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run([*map(str, command)], cwd="/", capture_output=True, text=True, env={**bare, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def pip(python, *arguments):
    """Run pip for another Python, without a network."""
    return run(
        sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *arguments, PIP_NO_INDEX="1"
    )


@pytest.fixture
def python(tmp_path):
    """A Python of its own, which finds everything that is installed here except this library."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # A folder named in a .pth is searched, but its own .pth files, those of editable installs, are not read.
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    return tmp_path / "venv" / "bin" / "python"


def look(python, tmp_path, **environment):
    file, folder, revision = json.loads(run(python, "-c", LOOKING, tmp_path / "runs.db", **environment))
    assert revision == "0004"
    return Path(file), Path(folder)


def test_in_a_checkout(python, tmp_path):
    file, folder = look(python, tmp_path, PYTHONPATH=str(ROOT))
    assert (file.parents[1], folder) == (ROOT, ROOT / "migrations")


def test_in_an_editable_install(tmp_path):
    origin = distribution("agentprm").read_text("direct_url.json") or "{}"
    if not json.loads(origin).get("dir_info", {}).get("editable"):
        pytest.skip("this library is not installed here as an editable one")
    file, folder = look(sys.executable, tmp_path)
    assert (file.parents[1], folder) == (ROOT, ROOT / "migrations")


def test_from_a_wheel(python, tmp_path):
    pytest.importorskip("hatchling", reason="without a network only what is installed can build")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("agentprm-*.whl")
    pip(python, "install", "--no-deps", wheel)
    file, folder = look(python, tmp_path)
    assert tmp_path in file.parents
    assert folder == file.parent / "_migrations"
    assert sorted(p.name for p in folder.glob("versions/*.py")) == sorted(
        p.name for p in (ROOT / "migrations" / "versions").glob("*.py")
    )
    said = run(python.with_name("agentprm"), "db", "check", tmp_path / "runs.db")
    assert "as expected" in said
