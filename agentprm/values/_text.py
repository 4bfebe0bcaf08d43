"""Text as every database takes it."""

from __future__ import annotations

__all__ = ["clean_text", "is_clean"]


def is_clean(text: str) -> bool:
    """Tell whether every database takes this text as it is: no NUL, no lone surrogate."""
    if text.isascii():
        return "\x00" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def clean_text(text: str) -> str:
    """Return readable text that every database takes: NUL and lone surrogates become U+FFFD."""
    if is_clean(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")
