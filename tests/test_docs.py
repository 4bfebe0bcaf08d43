"""Every public name is documented; every example in a docstring or on a page is true, and every page is found."""

import doctest
import gc
import importlib
import inspect
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import agentprm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]*) -->\n)?```(python|bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES = sorted(m.name for m in pkgutil.walk_packages(agentprm.__path__, "agentprm.") if "_migrations" not in m.name)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_once_and_are_documented(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert len(public) == len(set(public))
    for item in (getattr(module, n) for n in public):
        if inspect.isclass(item) or inspect.isfunction(item):
            assert item.__doc__, f"{name}.{item.__name__} has no docstring"


def blocks(page):
    """Yield the kind, the lines above and the code of each block of a page that is to be run."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        why, kind, code = block.groups()
        if why is None:
            yield kind, text[: block.start(3)].count("\n"), code


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def run_python(page, line, code, module):
    # The line numbers of a traceback are those of the page.
    exec(compile("\n" * line + code, name_of(page), "exec"), vars(module))


def run_shell(page, line, code):
    commands = "\n".join(re.findall(r"^\$ (.*)$", code, re.MULTILINE)) or code
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-euc", commands], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{name_of(page)}, line {line}: {done.stdout[-500:]}{done.stderr[-2000:]}"


@pytest.fixture
def module():
    """An empty module for the names of a page; what they leave open is closed here, not in somebody else's test."""
    module = ModuleType("page")
    yield module
    vars(module).clear()
    gc.collect()


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))], ids=name_of)
def test_the_blocks_of_a_page_run_as_pasted(page, module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, line, code in blocks(page):
        if kind == "python":
            run_python(page, line, code, module)
        else:
            run_shell(page, line, code)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_escapes_by_its_name(page):
    kinds = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)[::2]
    assert set(kinds) <= {"", "python", "bash", "console", "sql", "toml"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_is_not_run_says_why(page):
    text = page.read_text(encoding="utf-8")
    reasons = [why for why, _, _ in BLOCK.findall(text) if why]
    assert len(re.findall(r"^<!-- *not run", text, re.MULTILINE)) == len(reasons), "a mark stands right above its block"
    assert all(len(why.split()) >= 2 for why in reasons)


def test_the_schema_page_is_that_of_the_tables():
    written = runpy.run_path(str(DOCS / "make_schema.py"))["page"]()
    assert (DOCS / "schema.md").read_text(encoding="utf-8") == written, "run python docs/make_schema.py"


def links(page):
    """Return the files that a page links to."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    return {(page.parent / target).resolve() for target in targets}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    assert {str(target) for target in links(page) if not target.exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_into_a_page_finds_its_heading(page):
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]*)\)", page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve() if target else page
        headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_index():
    waiting, reached = [DOCS / "index.md"], set()
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting.extend(target for target in links(page) if DOCS in target.parents)
    assert {name_of(page) for page in DOCS.rglob("*.md")} - {name_of(page) for page in reached} == set()


@pytest.mark.parametrize("kind", ["labels", "scorers"])
def test_every_method_has_a_page_and_a_row(kind):
    methods = {path.stem for path in (ROOT / "agentprm" / kind).glob("[a-z]*.py")}
    overview = (DOCS / f"{kind}.md").read_text(encoding="utf-8")
    assert {method for method in methods if f"({kind}/{method}.md)" not in overview} == set()
