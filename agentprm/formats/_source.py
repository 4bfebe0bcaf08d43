"""Files of JSON records: lines, or one document, plain or gzipped; read one record at a time."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from agentprm.errors import InvalidFormat, InvalidScores, InvalidSpec, InvalidTrajectory
from agentprm.formats._node import Node
from agentprm.types import Scores, Trajectory

__all__ = ["Item", "OnBad", "Source", "first_record", "name_of", "parsed", "read_each", "records"]

Item: TypeAlias = Trajectory | Scores
Source: TypeAlias = str | Path | BinaryIO
OnBad: TypeAlias = Callable[[InvalidFormat], None]
"""Called with what is wrong with a record, which is then left out; without it the first wrong record raises."""

_GZIP, _UTF16 = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
_FILLER = re.compile(r"[\s,]*")
_decoder = json.JSONDecoder()


def read_each(source: Source, parse: Callable[[Node], Iterable[Item]], on_bad: OnBad | None = None) -> Iterator[Item]:
    """Yield what `parse` makes of each record; all of a record or nothing of it.

    Raises InvalidFormat at the first record that is wrong, or goes on after telling `on_bad`.
    """
    for record in records(source):
        try:
            made = parsed(_whole(record), parse)
        except InvalidFormat as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        yield from made


def parsed(record: Node, parse: Callable[[Node], Iterable[Item]]) -> list[Item]:
    """Return what `parse` makes of a record; what it finds impossible is the fault of that record."""
    try:
        return list(parse(record))
    except (InvalidTrajectory, InvalidScores, InvalidSpec) as error:
        raise InvalidFormat(str(error), record.file, record.line) from error
    except RecursionError as error:
        raise InvalidFormat("nested too deep to be read", record.file, record.line) from error


def _whole(record: Node | InvalidFormat) -> Node:
    if isinstance(record, InvalidFormat):
        raise record
    return record


def name_of(source: Source) -> str:
    """Return what a file is called in messages."""
    return str(source if isinstance(source, (str, Path)) else getattr(source, "name", "<stream>"))


def first_record(source: Source) -> Node | InvalidFormat | None:
    """Return the first record, and leave a stream where it was; None for an empty file."""
    if isinstance(source, (str, Path)):
        return next(records(source), None)
    if not source.seekable():
        return InvalidFormat("what cannot be rewound is not guessed: name its format", name_of(source))
    at = source.tell()
    try:
        return next(records(source), None)
    finally:
        source.seek(at)


def records(source: Source) -> Iterator[Node | InvalidFormat]:
    """Yield the records of a file, in order; for a line that is no JSON the error instead, and go on.

    A file that begins with ``[``, or is called ``.json``, is one document; every other one has a record per line.
    """
    name = name_of(source)
    with _opened(source) as stream:
        head = _peek(stream, 64)
        if head[:2] in _UTF16:
            yield InvalidFormat("expected UTF-8, this is UTF-16: save it as UTF-8", name, 1)
        elif head.removeprefix(_BOM).lstrip()[:1] == b"[" or name.removesuffix(".gz").endswith(".json"):
            yield from _elements(stream, name)
        else:
            yield from _lines(stream, name)


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if isinstance(source, (str, Path)):
        with open(source, "rb") as file, _opened(file) as stream:
            yield stream
    elif _peek(source, 2)[:2] == _GZIP:
        with gzip.GzipFile(fileobj=source) as unpacked:
            yield io.BufferedReader(unpacked)
    else:
        yield source


def _peek(stream: BinaryIO, n: int) -> bytes:
    """Return the first bytes without taking them; nothing where they cannot be unpacked, which reading then says."""
    try:
        if isinstance(stream, io.BufferedReader):
            return stream.peek(n)[:n]
        head = stream.read(n)
        stream.seek(-len(head), io.SEEK_CUR)
        return head
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return b""


def _lines(stream: BinaryIO, name: str) -> Iterator[Node | InvalidFormat]:
    number, lines = 0, iter(stream)
    while True:
        number += 1
        try:
            line = next(lines)
        except StopIteration:
            return
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            yield InvalidFormat(f"the gzip stream is damaged or cut off ({error})", name, number)
            return
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            yield _record(line, name, number)


def _record(line: bytes, name: str, number: int) -> Node | InvalidFormat:
    try:
        return Node(json.loads(line.decode()), name, number)
    except UnicodeDecodeError as error:
        return InvalidFormat(f"expected UTF-8, met byte {line[error.start]:#x} at {error.start}", name, number)
    except RecursionError:
        return InvalidFormat("nested too deep to be read", name, number)
    except ValueError as error:
        return InvalidFormat(f"expected one JSON object per line, this is none ({error})", name, number)


def _elements(stream: BinaryIO, name: str) -> Iterator[Node | InvalidFormat]:
    """Yield the elements of a document: of one list, or objects one after the other."""
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    line = 1
    try:
        for value, line in _decoded(text):
            yield Node(value, name, line)
    except UnicodeDecodeError as error:
        yield InvalidFormat(f"expected UTF-8 ({error})", name)
    except RecursionError:
        yield InvalidFormat("nested too deep to be read", name, line)
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield InvalidFormat(f"expected a JSON document, this is none or is cut off ({error})", name, line)
    finally:
        text.detach()  # else it would close a stream that is not its own


def _decoded(text: io.TextIOWrapper) -> Iterator[tuple[Any, int]]:
    """Yield each value with the line where it begins; holds one value at a time, and a chunk."""
    buffer, line = text.read(_CHUNK), 1
    at = _after_filler(buffer, 0)
    is_list = buffer[at : at + 1] == "["
    line, at = line + buffer.count("\n", 0, at), at + is_list
    while True:
        begin = _after_filler(buffer, at)
        line, at = line + buffer.count("\n", at, begin), begin
        if is_list and buffer[at : at + 1] == "]":
            return
        try:
            value, end = _decoder.raw_decode(buffer, at)
        except ValueError:
            more = text.read(max(_CHUNK, len(buffer)))
            if not more and at == len(buffer) and not is_list:
                return
            if not more:
                raise
            buffer, at = buffer[at:] + more, 0
            continue
        yield value, line
        line, at = line + buffer.count("\n", at, end), end


def _after_filler(buffer: str, at: int) -> int:
    match = _FILLER.match(buffer, at)
    return match.end() if match else at
