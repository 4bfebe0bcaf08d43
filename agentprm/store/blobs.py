"""Long texts and pictures stand once, apart from the rows that show them: their names, and what is left in their place.

A text column keeps the first characters, and the column ``…_hash`` beside it the name of the whole. In a JSON column
``{"$text":"<name>"}`` stands where a long value was: a member of an object, or the whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import orjson

from agentprm.store.likeness import Likeness
from agentprm.store.rows import Blob
from agentprm.types import Image
from agentprm.values import clean_text

__all__ = ["HEAD", "JSON", "LONG", "SHORT", "TEXT", "TEXTS", "Blobs", "is_long", "mentioned", "name_of", "replaced"]

LONG = 256
"""From so many bytes on a text stands apart."""
SHORT = LONG // 4 - 1
"""So many characters, of at most four bytes each, are not long."""
HEAD = 100
"""How many characters of a long text stay in its row."""
TEXT, JSON = "text/plain", "application/json"
TEXTS = (TEXT, JSON)
_TAG = re.compile(r'\{"\$text":"([0-9a-f]{32})"\}')


def is_long(text: str) -> bool:
    """Tell whether a text stands apart."""
    n = len(text)
    return n >= LONG or (n > SHORT and not text.isascii() and len(text.encode()) >= LONG)


def name_of(scope: bytes, media_type: str, data: bytes) -> str:
    """Return 128 bits, in hex, that name a content within one database.

    >>> name_of(b"one", "text/plain", b"word") == name_of(b"another", "text/plain", b"word")
    False
    """
    digest = hashlib.blake2b(media_type.encode() + b"\n", digest_size=16, key=scope)
    digest.update(data)
    return digest.hexdigest()


def mentioned(json_text: str | None) -> list[str]:
    """Return the names of what stands apart from a JSON text.

    >>> mentioned('{"a":1,"b":{"$text":"0123456789abcdef0123456789abcdef"}}')
    ['0123456789abcdef0123456789abcdef']
    """
    return _TAG.findall(json_text) if json_text and '{"$text":"' in json_text else []


def replaced(json_text: str, whole: Callable[[str], str | None]) -> str:
    """Return a JSON text with what stands apart put in again, by its name; what is unknown stays as it is."""
    if '{"$text":"' not in json_text:
        return json_text
    return _TAG.sub(lambda tag: whole(tag[1]) or tag[0], json_text)


class Blobs:
    """Names what is long, and gathers it for one database; remembers what went before, for what begins alike."""

    def __init__(self, scope: bytes) -> None:
        self._scope = scope
        self._likeness = Likeness()

    def text(self, text: str | None, place: tuple[Any, str], into: list[Any]) -> tuple[str | None, str | None]:
        """Return what stands in a text column, and the name beside it, of a long text that goes `into` a batch.

        `place` is a trajectory's key and a column: what stood there one step earlier is likely to begin alike.
        """
        if text is None or not is_long(text):
            return text, None
        return text[:HEAD], self._apart(TEXT, text.encode(), place, into)

    def json(self, text: str, place: tuple[Any, str], into: list[Any], *, whole: bool = True) -> str:
        """Return what stands in a JSON column: long members of an object apart, else all of it.

        An object of which SQL reads members, not `whole`, stays however many short ones it has.
        """
        if not is_long(text):
            return text
        slim = self._without_members(text, place, into)
        if slim is None and (whole or not text.startswith("{") or text.startswith('{"$')):
            return self._tag(text.encode(), place, into)
        return slim or text

    def picture(self, image: Image, into: list[Any]) -> tuple[str, str]:
        """Return the name of a picture that goes `into` a batch, and what names it in every database."""
        media_type = clean_text(image.media_type)
        everywhere = name_of(b"", media_type, image.data)
        name = name_of(self._scope, "", bytes.fromhex(everywhere))
        into.append(Blob(name, media_type, image.data))
        return name, everywhere

    def forget(self, key: Any) -> None:
        """Forget what went before in a trajectory."""
        self._likeness.forget(key)

    def abandon(self) -> None:
        """Forget what the parent process remembered, in a child after fork."""
        self._likeness = Likeness()

    def _without_members(self, text: str, place: tuple[Any, str], into: list[Any]) -> str | None:
        """Return an object without its long members; None for one that has none, and for anything else."""
        try:
            members = orjson.loads(text) if text.startswith("{") else None
            if not members or next(iter(members)).startswith("$"):
                return None
            spelled = {key: orjson.dumps(value) for key, value in members.items()}
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # nested too deep to be taken apart
            return None
        if all(len(data) < LONG for data in spelled.values()):
            return None
        key, column = place
        parts = (
            (name, self._tag(data, (key, f"{column}.{name}"), into) if len(data) >= LONG else data.decode())
            for name, data in spelled.items()
        )
        return "{" + ",".join(f"{orjson.dumps(name).decode()}:{part}" for name, part in parts) + "}"

    def _tag(self, data: bytes, place: tuple[Any, str], into: list[Any]) -> str:
        return f'{{"$text":"{self._apart(JSON, data, place, into)}"}}'

    def _apart(self, media_type: str, data: bytes, place: tuple[Any, str], into: list[Any]) -> str:
        name = name_of(self._scope, media_type, data)
        into.append(Blob(name, media_type, data, *self._likeness.base(name, data, place)))
        return name
