"""What a name that nobody knows was probably meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return, for a message, which known name was probably meant: ``" (did you mean 'sinking'?)"``, or nothing.

    >>> did_you_mean("sinkin", ["sinking", "drops"]), did_you_mean("xyz", ["sinking", "drops"])
    (" (did you mean 'sinking'?)", '')
    """
    close = get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
