"""How well an episode went, from what the world said at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from agentprm.errors import InvalidTrajectory
from agentprm.spec import resolve
from agentprm.types import Value

__all__ = ["OutcomeRule", "outcome_of", "outcome_rule"]

OutcomeRule: TypeAlias = Callable[[Mapping[str, Value], float], float | None]
"""From the final info and the last reward to an outcome in [0, 1], or None."""

_KEYS = ("outcome", "success", "is_success")


def outcome_of(info: Mapping[str, Value], reward: float, rule: OutcomeRule | None = None) -> float | None:
    """Return what `rule` says, else the final ``info["outcome"]``, ``["success"]`` or ``["is_success"]``, else None.

    Never the return: a sum of rewards says nothing about [0, 1]. Raises InvalidTrajectory for a number outside it.

    >>> outcome_of({"success": True}, reward=0.3)
    1.0
    """
    value = rule(info, reward) if rule else next((info[k] for k in _KEYS if info.get(k) is not None), None)
    if value is None:
        return None
    number = float(value)
    if not 0.0 <= number <= 1.0:
        raise InvalidTrajectory(
            f"an outcome lies in [0, 1], and the environment said {value!r}: give outcome= a function"
        )
    return number


def outcome_rule(form: str | OutcomeRule | None) -> OutcomeRule | None:
    """Return the rule that `form` names: ``"reward"`` (the last one, clipped), ``"module:function"`` or a function."""
    if form == "reward":
        return last_reward
    return resolve(form) if isinstance(form, str) else form


def last_reward(info: Mapping[str, Value], reward: float) -> float:
    """Return the last reward, clipped to [0, 1]."""
    return min(1.0, max(0.0, reward))
