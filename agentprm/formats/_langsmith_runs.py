"""LangSmith's runs, and which is inside of which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from agentprm.formats._node import Node

__all__ = ["Run", "roots_of", "run_of"]


@dataclass(eq=False)
class Run:
    """One run: a chain, a model, a tool; and the runs inside of it."""

    node: Node
    id: UUID
    parent_id: UUID | None
    kind: str
    name: str
    began: datetime
    ended: datetime | None
    order: str
    children: list[Run] = field(default_factory=list)

    @property
    def extra(self) -> Mapping[str, Any]:
        """What was said beside inputs and outputs: metadata, parameters of the model, the id of the call."""
        return self.node.value.get("extra") or {}

    def tree(self) -> Iterator[Run]:
        """Yield it and all below it, each before what is inside of it."""
        yield self
        for child in sorted(self.children, key=lambda run: (run.order, run.began)):
            yield from child.tree()


def run_of(node: Node) -> Run:
    """Return a run without those inside of it; raises InvalidFormat."""
    parent, ended, order, extra = (node.get(k) for k in ("parent_run_id", "end_time", "dotted_order", "extra"))
    if extra:
        extra.as_object()
    return Run(
        node, node["id"].as_uuid(), parent.as_uuid() if parent else None, node["run_type"].as_text(),
        node["name"].as_text(), node["start_time"].as_moment(), ended.as_moment() if ended else None,
        order.as_text() if order else "",
    )  # fmt: skip


def roots_of(runs: Iterable[Run]) -> Sequence[Run]:
    """Put every run into its parent; return those without one, in the order in which they came."""
    known = {run.id: run for run in runs}
    roots = []
    for run in known.values():
        parent = known.get(run.parent_id) if run.parent_id else None
        if parent is None:
            roots.append(run)
        else:
            parent.children.append(run)
    return roots
