"""The nouns: a trajectory and, aligned with it, one number per step. Standard library only.

A trajectory of n steps has n + 1 observations: what was seen before each of the n actions, and what was seen last.
Labels, model scores, shaped rewards and credits are all the same thing beside it: ``Scores``. Read in this order:
`_step`, `_trajectory`, `_scores`, `_events`, `_protocols`.
"""

from agentprm.types._basics import CallStatus, Sight, Status, Unit, Value, new_id, utc_now
from agentprm.types._events import Began, Ended, Event, Sink, Stepped
from agentprm.types._protocols import (
    ActionScorer,
    Advance,
    Aggregate,
    Continue,
    LiveScorer,
    Policy,
    Propose,
    Scorer,
    Shape,
    StepRewardModel,
)
from agentprm.types._scores import Scores
from agentprm.types._spec import Spec
from agentprm.types._step import Action, Image, Observation, Step, ToolCall
from agentprm.types._trajectory import Ending, Fork, Task, Trajectory

__all__ = [
    "Action",
    "ActionScorer",
    "Advance",
    "Aggregate",
    "Began",
    "CallStatus",
    "Continue",
    "Ended",
    "Ending",
    "Event",
    "Fork",
    "Image",
    "LiveScorer",
    "Observation",
    "Policy",
    "Propose",
    "Scorer",
    "Scores",
    "Shape",
    "Sight",
    "Sink",
    "Spec",
    "Status",
    "Step",
    "StepRewardModel",
    "Stepped",
    "Task",
    "ToolCall",
    "Trajectory",
    "Unit",
    "Value",
    "new_id",
    "utc_now",
]
