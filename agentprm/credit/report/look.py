"""The first look at a store, as one piece of data: what it is called, its overview, the episodes to list."""

from __future__ import annotations

from typing import Any, Unpack

from agentprm.credit.asking import ScorerForm
from agentprm.credit.report.index import index
from agentprm.credit.report.overview import overview
from agentprm.credit.where import Where
from agentprm.store.store import Store
from agentprm.types import utc_now

__all__ = ["first_look", "name_of"]


def first_look(
    store: Store, scorer: ScorerForm = None, *, limit: int | None = None, **where: Unpack[Where]
) -> dict[str, Any]:
    """Return what a page shows before an episode is opened: `overview` and `index` together, and when it was asked."""
    about = {"store": name_of(store), "written": utc_now().isoformat(timespec="seconds")}
    return {**about, **overview(store, scorer, **where), **index(store, scorer, limit=limit, **where)}


def name_of(store: Store) -> str:
    """Return what to call a store on a page: the last part of its address, never a password.

    >>> with Store(":memory:") as store:
    ...     name_of(store)
    'a store in memory'
    """
    place = store.url.partition("://")[2].partition("?")[0]
    return place.rstrip("/").rpartition("/")[2].rpartition("@")[2] or "a store in memory"
