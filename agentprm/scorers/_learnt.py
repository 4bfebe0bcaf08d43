"""What of a language model changes as it learns: weights, their name, where they were saved."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentprm.scorers._reader import Reader
from agentprm.text.tokens import Encoder
from agentprm.types import Spec

__all__ = ["Learnt"]

_log = logging.getLogger("agentprm.scorers")


class Learnt:
    """The reader and encoder of a model, the spec that names them, and the labels that it could not learn from."""

    def __init__(self, name: str, reader: Reader, encoder: Encoder) -> None:
        self.name, self.reader, self.encoder = name, reader, encoder
        self.skipped = 0
        self._folder: Path | None = None
        self._version: Any = None
        self._weights = ""
        self._spec: Spec | None = None

    def spec(self, config: dict[str, Any], version: Any) -> Spec:
        """Return the recipe: the same object until weights (of which this is the version) or folder change."""
        self._refresh(version)
        if self._spec is None:
            names = {"weights": self._weights, "template": self.encoder.template.digest}
            where = {"folder": str(self._folder)} if self._folder else {}
            self._spec = Spec(self.name, {**names, "tokenizer": self.encoder.digest, **config, **where})
        return self._spec

    def keep(self, folder: Path) -> None:
        """Remember that these weights lie there."""
        self._refresh(self.reader.version())
        self._folder, self._spec = folder, None

    def skip(self, notes: Sequence[str]) -> None:
        """Count labels that are left out, and log the first."""
        if notes and not self.skipped:
            _log.warning("a label was left out (further ones are only counted): %s", notes[0])
        self.skipped += len(notes)

    def _refresh(self, version: Any) -> None:
        if version != self._version:
            self._version = version
            if (weights := self.reader.digest()) != self._weights:
                self._weights, self._folder, self._spec = weights, None, None
