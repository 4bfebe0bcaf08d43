"""What tells one state from another: a hash of all that was seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["state_hash"]


def state_hash(content: str | None, images: str | None, calls: Sequence[tuple[str, str]]) -> int | None:
    """Return 64 bits that name what is seen, the same in every database; None where nothing is.

    `images` are digests with commas between, `calls` the names of the tools called and the JSON of what they gave back,
    which is the next observation.
    """
    back = "".join([f"\x1f{name}\x1f{output}" for name, output in calls]) if calls else ""
    if content is None and images is None and not back:
        return None
    name = "" if content is None and (back or images) else f"{content}"
    digest = hashlib.blake2b(f"{name}{back}{images or ''}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
