"""`agentprm import`: trajectories and scores of other tools' files into a store."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from agentprm.cli.output import as_json, say
from agentprm.errors import InvalidFormat, InvalidScores, InvalidTrajectory, NoSuchTrajectory
from agentprm.types import Scores, Trajectory

if TYPE_CHECKING:
    from agentprm.store.store import Store

__all__ = ["import_"]

_MOST_TRAJECTORIES, _MOST_BYTES, _MOST_TOLD = 64, 1 << 22, 10
_REFUSED = (InvalidTrajectory, InvalidScores, NoSuchTrajectory)


@click.command("import")
@click.argument("files", nargs=-1, required=True)
@click.argument("url")
@click.option("--format", "form", help="What the files are, name or name:key=value; guessed from their first record.")
@click.option("--skip-bad", is_flag=True, help="Leave out records that are wrong, and count them, instead of stopping.")
@as_json
def import_(files: tuple[str, ...], url: str, form: str | None, skip_bad: bool, as_json: bool) -> None:
    """Add the trajectories and scores in FILES (- is standard input) to the store at URL.

    Ids come from the source or its content: importing a file again adds nothing twice, so after an interruption run the
    same command again. Gzipped files are unpacked.

    Example: agentprm import conversations.jsonl runs.db
    """
    from agentprm.progress import progress_bar
    from agentprm.store.store import Store

    total = sum(os.path.getsize(file) for file in files if file != "-")
    chosen = [_chosen(file, form) for file in files]
    count = Count(skip_bad=skip_bad)
    with Store(url) as store, progress_bar("importing bytes", total or None) as advance:
        for file, its_form in zip(files, chosen, strict=True):
            with _opened(file) as raw:
                for read in _take(store, raw, its_form, count):
                    advance(read, f"{count.trajectories} trajectories")
    for wrong in count.wrong[:_MOST_TOLD]:
        click.echo(f"left out: {' '.join(str(wrong).split())}", err=True)
    left_out = f", {count.skipped} left out" if skip_bad else ""
    line = f"{count.trajectories} trajectories, {count.steps} steps, {count.scores} scores{left_out} → {url}"
    new = f"{count.new_trajectories} trajectories and {count.new_scores} scores are new"
    formats = [{"file": f, "format": c, "guessed": form is None} for f, c in zip(files, chosen, strict=True)]
    told = [f"{f['file']} is {f['format']}{' (guessed)' if form is None else ''}" for f in formats]
    say({"store": url, "files": formats, **count.plain()}, as_json, *told, line, new)


@dataclass
class Count:
    """What an import has met so far."""

    skip_bad: bool
    trajectories: int = 0
    steps: int = 0
    scores: int = 0
    new_trajectories: int = 0
    new_scores: int = 0
    skipped: int = 0
    wrong: list[Exception] = field(default_factory=list)
    """The first few things that were wrong."""

    def skip(self, error: Exception) -> None:
        """Take note of a record that is left out."""
        self.skipped += 1
        if len(self.wrong) < _MOST_TOLD:
            self.wrong.append(error)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        numbers = {k: v for k, v in vars(self).items() if k not in ("wrong", "skip_bad")}
        return {**numbers, "wrong": [str(error) for error in self.wrong]}

    def add(self, store: Store, batch: list[Trajectory | Scores]) -> None:
        """Store a batch; raises what the store refuses it for, or leaves out only that."""
        try:
            self._add(store, batch)
        except _REFUSED as error:
            if not self.skip_bad:
                raise
            if len(groups := _groups(batch)) == 1:
                self.skip(error)
                return
            for group in groups:
                self.add(store, group)

    def _add(self, store: Store, batch: list[Trajectory | Scores]) -> None:
        trajectories = [item for item in batch if isinstance(item, Trajectory)]
        scores = [item for item in batch if isinstance(item, Scores)]
        self.new_trajectories += store.add(trajectories)
        self.new_scores += store.add(scores)
        self.trajectories += len(trajectories)
        self.scores += len(scores)
        self.steps += sum(map(len, trajectories))


def _chosen(file: str, form: str | None) -> str:
    from agentprm.formats import check, guess

    if form is None and file == "-":
        raise click.UsageError("what comes from standard input is not guessed: give --format")
    chosen = form or guess(file)
    check(chosen, "read")
    return chosen


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with open(file, "rb") as raw:
        yield raw


def _take(store: Store, raw: BinaryIO, form: str, count: Count) -> Iterator[int]:
    """Add a file batch by batch; yield how many bytes were read for each. What was read before an error is added."""
    from agentprm.formats import read

    batch: list[Trajectory | Scores] = []
    before, n = 0, 0
    try:
        for item in read(raw, form, on_bad=count.skip if count.skip_bad else None):
            n += isinstance(item, Trajectory)
            at = raw.tell() if raw.seekable() else 0
            if isinstance(item, Trajectory) and (n > _MOST_TRAJECTORIES or at - before > _MOST_BYTES):
                count.add(store, batch)
                yield at - before
                before, batch, n = at, [], 1
            batch.append(item)
    except InvalidFormat as error:
        count.add(store, batch)
        way_out = "what stands before it is imported; --skip-bad leaves such records out"
        raise InvalidFormat(f"{error} ({way_out})") from error
    count.add(store, batch)
    yield (raw.tell() if raw.seekable() else 0) - before


def _groups(batch: Iterable[Trajectory | Scores]) -> list[list[Trajectory | Scores]]:
    """Return each trajectory with the scores behind it."""
    groups: list[list[Trajectory | Scores]] = []
    for item in batch:
        if isinstance(item, Trajectory) or not groups:
            groups.append([])
        groups[-1].append(item)
    return groups
