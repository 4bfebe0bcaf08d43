"""Calling a function of a class in another Python process, with another hash seed and an ear on its stdout."""

import importlib
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
import tempfile
from functools import reduce
from pathlib import Path
from typing import Any

__all__ = ["call_elsewhere"]

_CHILD = """
import pickle, sys
path, *job = pickle.load(sys.stdin.buffer)
sys.path[:] = path
from agentprm.testing import elsewhere
open(sys.argv[1], "wb").write(elsewhere._answer(*job))
"""


def call_elsewhere(owner: type, method: str, argument: Any, *, hash_seed: str = "0", timeout: float = 300.0) -> Any:
    """Return ``getattr(owner(), method)(argument)`` as a new process computes it.

    Args:
        owner: a class that can be imported by its qualified name, from a module or a test file.
        method: the name of a method of one argument.
        argument: anything that can be pickled, as must be the result.
        hash_seed: ``PYTHONHASHSEED`` of the new process.
        timeout: seconds to wait.

    Raises:
        AssertionError: the process failed, or wrote on stdout.
    """
    # Pickled apart: what it holds may be importable only after the module of its owner.
    job = (sys.path, owner.__module__, inspect.getfile(owner), owner.__qualname__, method, pickle.dumps(argument))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.pickle")
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, str(answer)],
            input=pickle.dumps(job),
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=False,
            timeout=timeout,
        )
        assert child.returncode == 0, f"the other process failed:\n{child.stderr.decode(errors='replace')}"
        assert child.stdout == b"", f"the other process wrote on stdout: {child.stdout[:500]!r}"
        return pickle.loads(answer.read_bytes())


def _answer(module: str, file: str, qualname: str, method: str, argument: bytes) -> bytes:
    owner: Any = reduce(getattr, qualname.split("."), _find_module(module, file))
    return pickle.dumps(getattr(owner(), method)(pickle.loads(argument)))


def _find_module(name: str, file: str) -> Any:
    """Import a module by name or, as test files often have none that can be imported, from its file."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        pass
    else:
        if module.__file__ and os.path.samefile(module.__file__, file):
            return module
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {name} from {file}: the class must live in a module")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
