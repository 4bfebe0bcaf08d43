"""Credit questions: which step, which tool, which policy, how far to trust the score.

Each is a function from a store to a `Table`, one SQL statement, the same on every engine; `agentprm.credit.questions`
lists them. Importing this package loads none of them: each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentprm.credit.alarms import drift, hacking, overrated
    from agentprm.credit.blame import drops, recovery, sinking_steps, subagents
    from agentprm.credit.episodes import timeline, training_set
    from agentprm.credit.forks import effects, leave_one_out, rollout_values
    from agentprm.credit.gains import cost, errors, value_by_action
    from agentprm.credit.opinions import disagreement, first_errors, label_next
    from agentprm.credit.payment import paid, shaping
    from agentprm.credit.policies import paired, success, why_better
    from agentprm.credit.replays import counterfactual
    from agentprm.credit.statement import sql
    from agentprm.credit.states import anchor_advantage, loops
    from agentprm.credit.table import Table
    from agentprm.credit.trust import agreement, calibration, length_bias, plans
    from agentprm.credit.where import Where

_HOME = {
    "Table": "table",
    "Where": "where",
    "agreement": "trust",
    "anchor_advantage": "states",
    "calibration": "trust",
    "cost": "gains",
    "counterfactual": "replays",
    "disagreement": "opinions",
    "drift": "alarms",
    "drops": "blame",
    "effects": "forks",
    "errors": "gains",
    "first_errors": "opinions",
    "hacking": "alarms",
    "label_next": "opinions",
    "leave_one_out": "forks",
    "length_bias": "trust",
    "loops": "states",
    "overrated": "alarms",
    "paid": "payment",
    "paired": "policies",
    "plans": "trust",
    "recovery": "blame",
    "rollout_values": "forks",
    "shaping": "payment",
    "sinking_steps": "blame",
    "sql": "statement",
    "subagents": "blame",
    "success": "policies",
    "timeline": "episodes",
    "training_set": "episodes",
    "value_by_action": "gains",
    "why_better": "policies",
}

__all__ = [
    "Table",
    "Where",
    "agreement",
    "anchor_advantage",
    "calibration",
    "cost",
    "counterfactual",
    "disagreement",
    "drift",
    "drops",
    "effects",
    "errors",
    "first_errors",
    "hacking",
    "label_next",
    "leave_one_out",
    "length_bias",
    "loops",
    "overrated",
    "paid",
    "paired",
    "plans",
    "recovery",
    "rollout_values",
    "shaping",
    "sinking_steps",
    "sql",
    "subagents",
    "success",
    "timeline",
    "training_set",
    "value_by_action",
    "why_better",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'agentprm.credit' has no attribute {name!r}")
    value = getattr(import_module(f"agentprm.credit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
