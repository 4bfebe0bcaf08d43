"""Files of JSON lines, written whole or not at all; and the stream of items that goes into them."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from agentprm.errors import InvalidScores
from agentprm.formats._source import Item
from agentprm.types import Scores, Trajectory

__all__ = ["Put", "Target", "paired", "write_each", "writing"]

Target: TypeAlias = str | Path | BinaryIO
Put: TypeAlias = Callable[[Any], None]


@contextmanager
def writing(target: Target) -> Iterator[Put]:
    """Give a function that writes a record as a line; gzipped if the file's name ends in ``.gz``.

    A file appears when it is complete: an interruption or an error leaves what was there before.
    """
    if not isinstance(target, (str, Path)):
        yield lambda record: _put(target, record)
        return
    path = Path(target)
    is_special = path.exists() and not path.is_file()
    beside = path if is_special else path.with_name(f"{path.name}.part")
    try:
        with open(beside, "wb") as file, _packed(file, path.suffix == ".gz") as stream:
            yield lambda record: _put(stream, record)
    except BaseException:
        if not is_special:
            beside.unlink(missing_ok=True)
        raise
    if not is_special:
        os.replace(beside, path)


@contextmanager
def _packed(file: BinaryIO, is_packed: bool) -> Iterator[Any]:
    if not is_packed:
        yield file
        return
    # Without a time and a name in it, the same records are the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as stream:
        yield stream


def _put(stream: Any, record: Any) -> None:
    stream.write(_line(record))


def _line(record: Any) -> bytes:
    """Return a record as a line of UTF-8; lone surrogates, which UTF-8 has not, as JSON's escapes."""
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"


def paired(items: Iterable[Item]) -> Iterator[tuple[Trajectory, list[Scores]]]:
    """Yield each trajectory with the scores that follow it; raises InvalidScores for those of another one."""
    current: Trajectory | None = None
    scores: list[Scores] = []
    for item in items:
        if isinstance(item, Trajectory):
            if current is not None:
                yield current, scores
            current, scores = item, []
        elif current is None or item.trajectory_id != current.id:
            raise InvalidScores(
                f"{item.source.name} scores trajectory {item.trajectory_id}, which does not stand before it: give each "
                "trajectory, then its scores"
            )
        else:
            scores.append(item)
    if current is not None:
        yield current, scores


def write_each(target: Target, items: Iterable[Item], record: Callable[[Trajectory, list[Scores]], Any]) -> int:
    """Write one record per trajectory, with its scores; return how many."""
    n = 0
    with writing(target) as put:
        for trajectory, scores in paired(items):
            put(record(trajectory, scores))
            n += 1
    return n
