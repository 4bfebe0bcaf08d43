"""Open runs of LangChain's, and the nodes of graphs among them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.messages import AIMessage

from agentprm.record._langchain_episode import Call, Episode
from agentprm.record._langchain_messages import Said, key_of, messages_in
from agentprm.types import ToolCall, Trajectory, Value

if TYPE_CHECKING:
    from agentprm.record._langchain_tree import Tree

__all__ = ["Node", "Run"]


@dataclass(slots=True, eq=False)
class Node:
    """One run of a node of a graph: what goes in is not new when it comes out."""

    name: str
    old: frozenset[object]
    """Keys of the messages that went in."""
    stated: object
    """Key of the decision that went in last: a node that puts it out again stands by it, perhaps changed."""
    heard: list[tuple[Said, dict[str, Value]]] = field(default_factory=list)
    """What its models said; which of it is done is known when the node ends, or a tool runs."""
    taken: set[object] = field(default_factory=set)
    """Keys of the decisions that became turns here."""

    def heard_anew(self, key: object) -> bool:
        """Whether its own model said this: a message's id may come a second time, as from a cache."""
        return key not in self.taken and any(decision.key == key for decision, _ in self.heard)

    def knew(self, key: object) -> bool:
        """Whether a message went in, and comes out only because it did."""
        return key in self.old and not self.heard_anew(key)

    @classmethod
    def of(cls, name: str, inputs: Any) -> Node:
        """Return the node that was started with these inputs."""
        messages = messages_in(inputs)
        last = messages[-1] if messages else None
        stated = key_of(last) if isinstance(last, AIMessage) and last.tool_calls else None
        return cls(name, frozenset(map(key_of, messages)) - {stated}, stated)


@dataclass(slots=True, eq=False)
class Run:
    """One open run of LangChain's: a chain, a model or a tool."""

    id: UUID
    tree: Tree
    parent: Run | None
    namespace: str | None
    """LangGraph's own, which changes where a node begins."""
    agent: str | None
    model: str | None
    started: float = field(default_factory=time.monotonic)
    episode: Episode | None = None
    node: Node | None = None
    call: Call | None = None
    """The tool call that it is, or that it runs inside of."""
    opening: Trajectory | None = None
    """What the trajectory of its own begins with, should it turn out to be an agent."""
    asked: ToolCall | None = None
    """What a tool on its own was called with, until it begins."""
    is_owner: bool = False
    """Its end is the end of its trajectory."""

    def __post_init__(self) -> None:
        if self.parent is not None:
            self.inherit(self.parent)

    def inherit(self, parent: Run) -> None:
        """Stand where `parent` stands."""
        self.episode, self.node, self.call = parent.episode, parent.node, parent.call

    @property
    def root(self) -> Run:
        """The run that all of this happens in."""
        return self if self.parent is None else self.parent.root

    @property
    def starts_node(self) -> bool:
        """Whether it is the run of a node, by the metadata that LangGraph gives it."""
        return self.parent is not None and self.namespace is not None and self.namespace != self.parent.namespace

    @property
    def may_be_agent(self) -> bool:
        """Whether it may have a trajectory of its own: inside a tool, or under its own name."""
        has_own_name = self.agent is not None and self.episode is not None and self.agent != self.episode.agent
        return self.parent is not None and (self.call is not None or has_own_name)
