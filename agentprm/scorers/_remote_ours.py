"""What `agentprm serve` speaks: trajectories in our own exact form, a line each, and scores in the same."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import orjson

from agentprm import errors
from agentprm.errors import AgentPRMError, BadAnswer, InvalidFormat, InvalidTrajectory, ModelChanged
from agentprm.scorers._remote_client import NDJSON, Client, Refused
from agentprm.scorers._remote_served import Opinion, Served
from agentprm.spec import resolve
from agentprm.types import Scores, Sight, Trajectory, Unit, Value
from agentprm.values import decode, encode

__all__ = ["Ours"]

_VALUES = ("native", "arguments", "output", "info", "meta")


@dataclass(frozen=True)
class Ours:
    """One of our own servers. It says all of a scorer, and every answer names the scorer that gave it."""

    client: Client

    def hello(self) -> Served:
        """Return what is served; raises BadAnswer for a server that is not ours."""
        info = self.client.get("/info")
        if not isinstance(info, dict) or info.get("server") != "agentprm":
            raise BadAnswer(f"{self.client.url} is no `agentprm serve`: say api= what it speaks")
        unit, sees, name, digest = (cast(Any, info.get(key)) for key in ("unit", "sees", "name", "digest"))
        if unit not in get_args(Unit) or sees not in get_args(Sight) or not (name and digest):
            raise BadAnswer(f"{self.client.url}/info does not say what it serves: {info!r:.200}")
        return Served(unit, sees, name, digest)

    def read(self, trajectory: Trajectory, served: Served) -> Trajectory:
        """Return the trajectory: the scorer there reads it."""
        return trajectory

    def questions(self, read: Trajectory) -> Sequence[Trajectory]:
        """Return the trajectory."""
        return (read,)

    def opinion(self, read: Trajectory, answers: Sequence[Opinion]) -> Opinion:
        """Return what was said."""
        return answers[0]

    def ask(self, trajectories: Sequence[Trajectory], served: Served) -> list[Opinion]:
        """Return what it says of some trajectories.

        Raises what the scorer there raised if that is one of our errors, ModelChanged when it is another scorer.
        """
        try:
            answer = self.client.send("POST", "/score", _lines(trajectories), NDJSON)
        except Refused as refused:
            raise _theirs(refused) from refused
        try:
            found = list(resolve("agentprm.formats.jsonl:read")(io.BytesIO(answer)))
        except InvalidFormat as error:
            raise BadAnswer(f"{self.client.url}/score answered with what is no scores: {error}") from error
        return self._checked(trajectories, found, served)

    def _checked(self, trajectories: Sequence[Trajectory], found: Sequence[Any], served: Served) -> list[Opinion]:
        url = self.client.url
        if len(found) != len(trajectories) or not all(isinstance(scores, Scores) for scores in found):
            raise BadAnswer(f"{url} was asked about {len(trajectories)} trajectories, and gave {len(found)} scores")
        for trajectory, scores in zip(trajectories, found, strict=True):
            if scores.source.digest != served.weights:
                raise ModelChanged(
                    f"{url} now serves {scores.source.name} {scores.source.digest[:8]}, and this scorer speaks for "
                    f"{served.model} {served.weights[:8]}: make it anew, Remote({url!r}), and it is another version"
                )
            here, there = (trajectory.id, 0, len(trajectory)), (scores.trajectory_id, scores.start, len(scores))
            if here != there:
                raise BadAnswer(f"{url} was asked about id, start and length {here}, and answered about {there}")
        return [Opinion(scores.values, scores.parts, scores.notes) for scores in found]


def _lines(trajectories: Sequence[Trajectory]) -> bytes:
    write, file = resolve("agentprm.formats.jsonl:write"), io.BytesIO()
    try:
        write(file, trajectories)
    except InvalidTrajectory:
        file = io.BytesIO()
        write(file, map(_storable, trajectories))
    return file.getvalue()


def _storable(noun: Any) -> Any:
    """Return the same, with what has no exact form as it would come back from a store.

    A live agent is never refused for a value that it holds.
    """
    changes: dict[str, Any] = {}
    for name in noun.__slots__:
        value = getattr(noun, name)
        if name in _VALUES:
            changes[name] = _value(value)
        elif hasattr(value, "__slots__") and hasattr(value, "__dataclass_fields__"):
            changes[name] = _storable(value)
        elif isinstance(value, tuple) and value and hasattr(value[0], "__dataclass_fields__"):
            changes[name] = tuple(map(_storable, value))
    return replace(noun, **changes) if changes else noun


def _value(value: Value) -> Value:
    return decode(encode(dict(value) if isinstance(value, Mapping) else value)[0])


def _theirs(refused: Refused) -> AgentPRMError:
    """Return the error that the scorer raised there, as it would have been raised here."""
    try:
        said = orjson.loads(refused.body)["error"]
        kind = getattr(errors, said["type"])
        return kind(said["message"]) if kind.__name__ in _PASSED else refused
    except (ValueError, KeyError, TypeError, AttributeError):
        return refused


_PASSED = ("MissingText", "InvalidTrajectory", "InvalidScores", "InvalidSpec", "TokenMismatch", "UnitError")
"""Errors about what was asked, which are the same wherever they are found."""
