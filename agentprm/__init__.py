"""agentprm: process reward models for multi-turn agents.

Record what an agent saw, planned and called as trajectories in a SQL store; score each turn; feed the scores back as
dense rewards into Gymnasium environments or a running LangChain agent; ask the store which step deserves the credit.

Importing this package loads nothing heavy: each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from agentprm.feedback.gymnasium import PRMRewardWrapper
    from agentprm.feedback.gymnasium_vector import PRMVectorRewardWrapper
    from agentprm.feedback.langchain import PRMCallbackHandler
    from agentprm.feedback.langchain_middleware import PRMMiddleware
    from agentprm.feedback.recording import recording
    from agentprm.record.gymnasium import TrajectoryRecorder
    from agentprm.record.gymnasium_vector import VectorTrajectoryRecorder
    from agentprm.record.manual import episode
    from agentprm.record.rollout import rollout
    from agentprm.record.tool import tool
    from agentprm.search.best_of_n import best_action, best_of_n
    from agentprm.spec import load_scorer, make, register
    from agentprm.store.store import Store
    from agentprm.train.fit import Recipe, fit
    from agentprm.types import (
        Action,
        Ending,
        Fork,
        Image,
        Observation,
        Scorer,
        Scores,
        Spec,
        Step,
        Task,
        ToolCall,
        Trajectory,
    )

_HOME = {
    "Action": "types",
    "Ending": "types",
    "Fork": "types",
    "Image": "types",
    "Observation": "types",
    "PRMCallbackHandler": "feedback.langchain",
    "PRMMiddleware": "feedback.langchain_middleware",
    "PRMRewardWrapper": "feedback.gymnasium",
    "PRMVectorRewardWrapper": "feedback.gymnasium_vector",
    "Recipe": "train.fit",
    "Scorer": "types",
    "Scores": "types",
    "Spec": "types",
    "Step": "types",
    "Store": "store.store",
    "Task": "types",
    "ToolCall": "types",
    "Trajectory": "types",
    "TrajectoryRecorder": "record.gymnasium",
    "VectorTrajectoryRecorder": "record.gymnasium_vector",
    "best_action": "search.best_of_n",
    "best_of_n": "search.best_of_n",
    "episode": "record.manual",
    "fit": "train.fit",
    "load_scorer": "spec",
    "make": "spec",
    "recording": "feedback.recording",
    "register": "spec",
    "rollout": "record.rollout",
    "tool": "record.tool",
}

__all__ = [
    "Action",
    "Ending",
    "Fork",
    "Image",
    "Observation",
    "PRMCallbackHandler",
    "PRMMiddleware",
    "PRMRewardWrapper",
    "PRMVectorRewardWrapper",
    "Recipe",
    "Scorer",
    "Scores",
    "Spec",
    "Step",
    "Store",
    "Task",
    "ToolCall",
    "Trajectory",
    "TrajectoryRecorder",
    "VectorTrajectoryRecorder",
    "best_action",
    "best_of_n",
    "episode",
    "fit",
    "load_scorer",
    "make",
    "recording",
    "register",
    "rollout",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'agentprm' has no attribute {name!r}")
    value = getattr(import_module(f"agentprm.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
