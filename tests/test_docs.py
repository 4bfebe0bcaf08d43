"""Every public name is documented, every example in a docstring is true."""

import doctest
import importlib
import inspect
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

import agentprm

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


def test_the_schema_page_is_that_of_the_tables():
    docs = Path(__file__).parents[1] / "docs"
    written = runpy.run_path(str(docs / "make_schema.py"))["page"]()
    assert (docs / "schema.md").read_text(encoding="utf-8") == written, "run python docs/make_schema.py"


def test_every_page_is_linked_and_every_link_leads_somewhere():
    root = Path(__file__).parents[1]
    pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]
    linked = set()
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
            linked.add((page.parent / target).resolve())
    unlinked = {page.name for page in (root / "docs").glob("*.md") if page.resolve() not in linked}
    assert unlinked == set()
