"""Writing a report: one file, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Unpack
from uuid import UUID

from agentprm.credit.asking import ScorerForm
from agentprm.credit.report.episodes import Pictures, plain_episodes
from agentprm.credit.report.look import first_look
from agentprm.credit.report.page import data_block, page
from agentprm.credit.where import Where
from agentprm.store.store import Store

__all__ = ["Report", "write_report"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was written: where, how much of the store it shows, and how large it is."""

    path: Path
    episodes: int
    left_out: int
    """Episodes that match and are not in the file: the overview counts them, the list does not have them."""
    pictures_left_out: int
    bytes: int


def write_report(
    store: Store,
    path: str | Path,
    scorer: ScorerForm = None,
    *,
    limit: int | None = 1_000,
    longest: int = 20_000,
    pictures: int = 32 << 20,
    on_episode: Callable[[int], None] | None = None,
    **where: Unpack[Where],
) -> Report:
    """Write a page of a store to `path` and return what is in it: one file that needs no network.

    It lists at most `limit` episodes, failures with the deepest drop first; of a text it has `longest` characters, of
    pictures so many bytes in all. The overview counts every episode that matches. `on_episode` hears, as they are
    written, how many more are. An interruption leaves what was at `path` before. Raises UnknownName for a
    scorer that the store does not hold, OSError where nothing can be written.

    >>> import tempfile
    >>> from agentprm.credit.report import write_report
    >>> with Store(":memory:") as store, tempfile.TemporaryDirectory() as folder:
    ...     write_report(store, f"{folder}/report.html").episodes
    0
    """
    path, show = Path(path), Pictures(pictures)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    data = first_look(store, scorer, limit=limit, **where)
    ids = [UUID(episode["id"]) for episode in data["episodes"]]
    head, foot = page(f"{data['store']}: agentprm report", data)

    def fill(file: IO[str]) -> None:
        file.write(head)
        for episode in plain_episodes(store, ids, longest=longest, pictures=show):
            file.write(data_block(f"episode-{episode['id']}", episode))
            if on_episode:
                on_episode(1)
        file.write(foot)

    _replace(path, fill)
    left_out = data["total"] - len(ids)
    return Report(path, len(ids), left_out, show.left_out, path.stat().st_size)


def _replace(path: Path, fill: Callable[[IO[str]], None]) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            fill(file)
        os.chmod(beside, mode)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
