"""The contract of interchange formats: inherit it in a test module, say which and give a few records, run pytest.

>>> class TestMine(FormatContract):
...     name = "jsonl"
...     def make_records(self):
...         return []
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agentprm import formats
from agentprm.errors import InvalidFormat
from agentprm.testing.trajectories import hostile
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["FormatContract"]

_WRONG: tuple[Any, ...] = (None, True, 7, -1, 0.5, "", "words", "\x00\ud800", [], [[]], [None], {}, {"a": {}}, "9" * 50)
"""What may stand where something else is expected."""


class FormatContract:
    """What every format owes to those who read and write it. Set `name`, override :meth:`make_records`."""

    name: ClassVar[str]
    """The format, with options: ``name:key=value``."""
    is_exact: ClassVar[bool] = True
    """Whether what was written is read back equal; a format without a place for everything says False."""
    is_guessed: ClassVar[bool] = True
    """Whether its records are known by their keys."""

    def make_records(self) -> Sequence[dict[str, Any]]:
        """Return a few good records, as other people write them; each must be read."""
        raise NotImplementedError("a FormatContract needs make_records()")

    @property
    def goes_in(self) -> bool:
        """Whether it is read."""
        return hasattr(formats.find(self.name.partition(":")[0]), "read")

    @property
    def goes_out(self) -> bool:
        """Whether it is written."""
        return hasattr(formats.find(self.name.partition(":")[0]), "write")

    def test_the_same_file_gives_the_same_items(self, tmp_path: Path) -> None:
        """Ids and all, so that importing twice adds nothing; scores follow their trajectory and fit it."""
        path = self._file(tmp_path, self._good())
        items = self._read(path)
        assert items == self._read(path)
        lengths: dict[Any, int] = {}
        for item in items:
            if isinstance(item, Trajectory):
                lengths[item.id] = len(item)
            else:
                assert item.start + len(item) <= lengths[item.trajectory_id]

    def test_it_is_guessed_from_its_records(self, tmp_path: Path) -> None:
        """A file of this format, without its name, is known."""
        records = self._good()
        if records and self.is_guessed:
            assert formats.guess(self._file(tmp_path, records)) == self.name.partition(":")[0]

    def test_what_was_written_is_read_back(self, tmp_path: Path) -> None:
        """Equal in every field, scores and all: odd characters, numbers that are none, episodes without steps."""
        if self.goes_in and self.goes_out and self.is_exact:
            items = list(_hostile_items())
            path = tmp_path / "out.jsonl"
            assert formats.write(path, items, self.name) == len(hostile())
            assert self._read(path) == items

    def test_anything_can_be_written(self, tmp_path: Path) -> None:
        """A format without a place for something leaves it out; it raises for nothing that a trajectory may hold."""
        if self.goes_out:
            items = [item for item in _hostile_items() if isinstance(item, Trajectory)]
            formats.write(tmp_path / "out.jsonl", items, self.name)

    def test_how_a_file_is_packed_changes_nothing(self, tmp_path: Path) -> None:
        """A byte-order mark, Windows line ends, blank lines, gzip, one list instead of lines."""
        if not self.goes_in:
            return
        records = self._good()
        lines = [json.dumps(record).encode() for record in records]
        items = self._read(self._file(tmp_path, records))
        for packed in (
            b"\xef\xbb\xbf" + b"\n".join(lines),
            b"\r\n".join(lines) + b"\r\n",
            b"\n\n" + b"\n \n".join(lines),
            gzip.compress(b"\n".join(lines)),
            b"[" + b",\n ".join(lines) + b"]",
        ):
            assert list(formats.read(io.BytesIO(packed), self.name)) == items

    def test_a_damaged_file_is_named_with_its_line(self, tmp_path: Path) -> None:
        """Truncated JSON, NUL, bytes that are no UTF-8, UTF-16, no object, a gzip cut off, nesting without end."""
        good = json.dumps((self._good() or [{}])[0]).encode()
        damaged = (
            good[: len(good) // 2], good + b"\x00", b"\xff\xfe{}", b'{"a": "\xff"}', "{}".encode("utf-16"), b"[1, 2",
            b"7", b'"words"', gzip.compress(good * 100)[:60], b"[" * 100_000, b'{"a":' * 100_000,
            b'{"a": ' + b"9" * 5000 + b"}",
        )  # fmt: skip
        for data in damaged:
            path = tmp_path / "damaged.jsonl"
            path.write_bytes(data)
            if self.goes_in:
                with pytest.raises(InvalidFormat, match=r"damaged\.jsonl"):
                    self._read(path)

    def test_a_wrong_record_is_left_out_and_told(self, tmp_path: Path) -> None:
        """With `on_bad` the good records around it are read."""
        if not self.goes_in:
            return
        good, told = self._good(), list[InvalidFormat]()
        lines = [json.dumps(record).encode() for record in good]
        path = tmp_path / "mixed.jsonl"
        path.write_bytes(b"\n".join([b"{broken", *lines, b"[]", b"{}"]))
        assert list(formats.read(path, self.name, on_bad=told.append)) == self._read(self._file(tmp_path, good))
        assert [error.line for error in told] == [1, len(lines) + 2, len(lines) + 3]
        assert all(error.file == str(path) for error in told)

    def test_what_is_wrong_is_refused_by_name_or_read(self, tmp_path: Path) -> None:
        """Whatever stands anywhere in a record: it is read, or InvalidFormat; never another exception."""
        if not self.goes_in:
            return
        for record in self._good():
            for bad in _spoilt(record):
                try:
                    list(formats.read(io.BytesIO(json.dumps(bad).encode()), self.name))
                except InvalidFormat as error:
                    assert error.line == 1  # noqa: PT017

    def test_nothing_in_nothing_out(self, tmp_path: Path) -> None:
        """An empty file has no items."""
        if self.goes_in:
            assert self._read(self._file(tmp_path, [])) == []

    def _good(self) -> list[dict[str, Any]]:
        return list(self.make_records()) if self.goes_in else []

    def _file(self, folder: Path, records: Sequence[dict[str, Any]]) -> Path:
        path = folder / "records.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return path

    def _read(self, path: Path) -> list[Trajectory | Scores]:
        return list(formats.read(path, self.name)) if self.goes_in else []


def _hostile_items() -> Iterator[Trajectory | Scores]:
    for trajectory in hostile():
        yield trajectory
        if n := len(trajectory):
            values = (None, *[0.25] * (n - 1)) if n > 1 else (0.75,)
            notes = ("\ud800",) * n
            scores = Scores(trajectory.id, Spec("a judge", {"of": [1, None]}), "value", values, notes=notes)
            yield scores
            yield replace(scores, source=Spec("human"), unit="reward", start=n - 1, values=(-2.0,), notes=())


def _spoilt(value: Any) -> Iterator[Any]:
    """Yield a record with something else in one place, or without that place; for every place in it."""
    if isinstance(value, (dict, list)):
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value[:3]):
            for wrong in (*_WRONG, *_spoilt(inside)):
                copy = value.copy()
                copy[key] = wrong
                yield copy
            copy = value.copy()
            del copy[key]
            yield copy
