"""The nouns as JSON, exactly: fields that are not at their default, values in the tagged form of `agentprm.values`.

Also what a trajectory says beyond what some other form gives back (`difference`), and how to add it again (`amended`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from agentprm import values
from agentprm.errors import InvalidTrajectory
from agentprm.formats._node import Node
from agentprm.types import (
    Action,
    Ending,
    Fork,
    Image,
    Observation,
    Scores,
    Spec,
    Step,
    Task,
    ToolCall,
    Trajectory,
    Value,
)

__all__ = ["amended", "difference", "is_plain", "plain", "plain_value", "read_scores", "read_trajectory", "same_json"]

_NOUNS = (Action, Ending, Fork, Image, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory)
_VALUES = {"native", "arguments", "output", "info", "meta", "intervention", "params", "data", "seed"}
"""Fields that hold values, not nouns: they differ as a whole."""
_GONE = "-"
"""Under this key a difference lists the fields that are back at their default."""
T = TypeVar("T")


def plain(noun: Any) -> dict[str, Any]:
    """Return a noun as JSON; raises InvalidTrajectory for a value that only its repr could stand for.

    >>> plain(Observation("a door"))
    {'text': 'a door'}
    """
    return {f.name: _plain_field(f.name, getattr(noun, f.name)) for f in fields(noun) if not _is_default(noun, f)}


def _is_default(noun: Any, field: Field[Any]) -> bool:
    value = getattr(noun, field.name)
    if field.default is not MISSING:
        return value is field.default or (type(value) is type(field.default) and bool(value == field.default))
    return type(value) is dict and not value and field.default_factory is dict


def _plain_field(name: str, value: Any) -> Any:
    if name in _VALUES:
        return plain_value(dict(value) if isinstance(value, Mapping) else value)
    if isinstance(value, _NOUNS):
        return plain(value)
    if isinstance(value, tuple):
        return [_plain_field("", v) for v in value]
    if isinstance(value, Mapping):
        return {key: _plain_field("", v) for key, v in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else plain_value(value)


def plain_value(value: Value) -> Any:
    """Return any value as JSON, tagged where it is more; raises InvalidTrajectory where that loses something."""
    if value is None or type(value) is bool or (type(value) is str and values.is_clean(value)):
        return value
    text, lost = values.encode(value)
    if lost:
        raise InvalidTrajectory(
            f"{type(value).__name__} {text[:60]} holds {lost} values that only their repr could stand for: make them "
            "JSON, bytes or arrays first"
        )
    return json.loads(text)


def is_plain(value: Value) -> bool:
    """Tell whether a value is JSON as it stands, and comes back as it is."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and is_plain(inside) for key, inside in value.items())
    if kind is list:
        return all(map(is_plain, value))
    return value is None or kind in (str, bool, int) or (kind is float and math.isfinite(value))


def same_json(a: Any, b: Any) -> bool:
    """Equality of JSON, in which 1, 1.0 and true are three things."""
    return a is b or json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def difference(given: Any, wanted: Any, field: str = "") -> Any:
    """Return what turns one plain noun into another: changed fields, ``"-"`` for those that go; {} for none.

    >>> difference({"text": "a", "plan": "b"}, {"text": "c"})
    {'text': 'c', '-': ['plan']}
    """
    if field in _VALUES or not _alike(given, wanted):
        return wanted
    pairs = enumerate(wanted) if isinstance(wanted, list) else wanted.items()
    changes: dict[str, Any] = {}
    for key, value in pairs:
        is_new = isinstance(wanted, dict) and key not in given
        if is_new or not same_json(given[key], value):
            changes[str(key)] = value if is_new else difference(given[key], value, str(key))
    gone = [key for key in given if key not in wanted] if isinstance(given, dict) else []
    return changes | ({_GONE: gone} if gone else {})


def _alike(given: Any, wanted: Any) -> bool:
    lists = isinstance(given, list) and isinstance(wanted, list) and len(given) == len(wanted)
    return lists or (isinstance(given, dict) and isinstance(wanted, dict))


def amended(given: Any, change: Any, field: str = "") -> Any:
    """Return a plain noun changed by a `difference`."""
    if field in _VALUES or not isinstance(change, dict) or not isinstance(given, (dict, list)):
        return change
    rest = {key: value for key, value in change.items() if key != _GONE}
    if isinstance(given, list):
        return [amended(v, rest[str(i)], str(i)) if str(i) in rest else v for i, v in enumerate(given)]
    kept = {key: value for key, value in given.items() if key not in change.get(_GONE, ())}
    return kept | {k: amended(kept[k], v, k) if k in kept else v for k, v in rest.items()}


def read_trajectory(node: Node) -> Trajectory:
    """Return the trajectory that `plain` wrote; raises InvalidFormat."""
    return _noun(Trajectory, node)


def read_scores(node: Node) -> Scores:
    """Return the scores that `plain` wrote; raises InvalidFormat."""
    return _noun(Scores, node)


def _noun(kind: type[T], node: Node) -> T:
    given, readers = node.as_object(), _READERS[kind]
    if unknown := sorted(given.keys() - readers.keys()):
        raise node.child(unknown[0], given[unknown[0]]).refused(f"one of the fields {', '.join(readers)}")
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise node.child(field.name, None).refused("a value")
    return kind(**{key: readers[key](node.child(key, value)) for key, value in given.items()})


def _value(node: Node) -> Value:
    try:
        return values.decode(json.dumps(node.value))
    except Exception as error:  # a tag around anything: NumPy and base64 raise what they like
        raise node.refused(f"a value in its exact form ({error})") from error


def _is(kind: type, what: str) -> Callable[[Node], Any]:
    def read(node: Node) -> Any:
        value = _value(node)
        if isinstance(value, bool) or not isinstance(value, kind):
            raise node.refused(what)
        return value

    return read


def _number(node: Node) -> float:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise node.refused("a number")
    return value


def _or_none(read: Callable[[Node], Any]) -> Callable[[Node], Any]:
    return lambda node: None if node.value is None else read(node)


def _each(read: Callable[[Node], Any]) -> Callable[[Node], tuple[Any, ...]]:
    return lambda node: tuple(map(read, node.as_list()))


def _one(kind: type) -> Callable[[Node], Any]:
    return lambda node: _noun(kind, node)


def _parts(node: Node) -> dict[str, tuple[Any, ...]]:
    return {key: _each(_or_none(_number))(node.child(key, value)) for key, value in node.as_object().items()}


_text, _maybe_text, _object = _is(str, "a text"), _or_none(_is(str, "a text")), _is(dict, "an object")
_whole = _is(int, "a whole number")
_READERS: dict[type, dict[str, Callable[[Node], Any]]] = {
    Image: {"media_type": _text, "data": _is(bytes, 'bytes, as {"$bytes": ...}')},
    Observation: {"text": _text, "native": _value, "images": _each(_one(Image))},
    ToolCall: {"name": _text, "arguments": _value, "id": _maybe_text, "output": _value, "status": _text,
               "attempts": _whole},
    Action: {"text": _text, "plan": _text, "tool_calls": _each(_one(ToolCall)), "native": _value},
    Step: {"observation": _one(Observation), "action": _one(Action), "reward": _number, "info": _object},
    Ending: {"status": _text, "terminated": Node.as_flag, "truncated": Node.as_flag, "outcome": _or_none(_number),
             "ended_at": Node.as_moment},
    Task: {"text": _text, "key": _text},
    Fork: {"trajectory_id": Node.as_uuid, "index": _whole, "call": _maybe_text, "intervention": _object},
    Trajectory: {"id": Node.as_uuid, "task": _one(Task), "steps": _each(_one(Step)), "last": _one(Observation),
                 "ending": _one(Ending), "external_id": _maybe_text, "env": _maybe_text, "policy": _maybe_text,
                 "seed": _or_none(_whole), "group": _maybe_text, "parent": _one(Fork), "started_at": Node.as_moment,
                 "meta": _object},
    Spec: {"name": _text, "params": _object},
    Scores: {"trajectory_id": Node.as_uuid, "source": _one(Spec), "unit": _text,
             "values": _each(_or_none(_number)), "start": _whole, "parts": _parts,
             "notes": _each(_maybe_text), "sees": _text},
}  # fmt: skip
