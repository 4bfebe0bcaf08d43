"""A store as a page that people look at: an overview, the failures by blame, and every episode turn by turn.

`write_report` makes one file that needs nothing else. `agentprm.serve.view` shows the same page of a store that grows.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentprm.credit.report.overview import largest_drops
    from agentprm.credit.report.write import Report, write_report

_HOME = {"Report": "write", "largest_drops": "overview", "write_report": "write"}

__all__ = ["Report", "largest_drops", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'agentprm.credit.report' has no attribute {name!r}")
    return getattr(import_module(f"agentprm.credit.report.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
