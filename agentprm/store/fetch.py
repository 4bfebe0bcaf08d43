"""Blobs back from their table, put together from what they stand behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import sqlalchemy as sa

from agentprm.store.blobs import replaced
from agentprm.store.filters import chunks
from agentprm.store.kept import unpacked
from agentprm.store.tables import blob

__all__ = ["Fetched", "fetch"]

_AT_ONCE = 5_000


class _Piece(NamedTuple):
    media_type: str
    base: str | None
    shared: int | None
    n_bytes: int | None
    data: bytes


class Fetched:
    """Blobs by their names."""

    def __init__(self, pieces: dict[str, _Piece]) -> None:
        self._pieces = pieces
        self._whole: dict[str, bytes] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._pieces

    def media_type(self, name: str) -> str:
        """Return what kind of content a name stands for."""
        return self._pieces[name].media_type

    def data(self, name: str) -> bytes:
        """Return the whole content; raises KeyError for a name that the database does not hold."""
        chain = list(self._chain(name))
        for one in reversed(chain):
            if one not in self._whole:
                piece = self._pieces[one]
                front = self._whole[piece.base][: piece.shared] if piece.base is not None else b""
                self._whole[one] = front + unpacked(piece.data, piece.n_bytes)
        return self._whole[name]

    def text(self, name: str) -> str:
        """Return a whole text; raises KeyError for a name that the database does not hold."""
        return self.data(name).decode()

    def cell(self, head: str | None, name: str | None) -> str | None:
        """Return the text of a column, whose whole stands under a name if it is long."""
        return head if name is None else self.text(name)

    def json(self, text: str) -> str:
        """Return a JSON text with what stands apart put in again."""
        return replaced(text, self.text)

    def _chain(self, name: str | None) -> Iterator[str]:
        while name is not None and name not in self._whole:
            yield name
            name = self._pieces[name].base


def fetch(connection: sa.Connection, names: Iterable[str]) -> Fetched:
    """Return blobs by their names, with those that they stand behind; unknown names are left out."""
    pieces: dict[str, _Piece] = {}
    wanted = set(names)
    columns = (blob.c.hash, blob.c.media_type, blob.c.base, blob.c.shared, blob.c.n_bytes, blob.c.data)
    while wanted:
        for some in chunks(sorted(wanted), _AT_ONCE):
            for name, *cells in connection.execute(sa.select(*columns).where(blob.c.hash.in_(some))):
                pieces[name] = _Piece(*cells)
        wanted = {piece.base for piece in pieces.values() if piece.base is not None} - pieces.keys()
    return Fetched(pieces)
