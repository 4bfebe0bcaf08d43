"""Every public name is documented, every example in a docstring is true."""

import doctest
import importlib
import inspect
import pkgutil

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
