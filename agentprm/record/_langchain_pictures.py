"""What a message holds beside words: pictures that came along as bytes, and a note of everything that did not."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from agentprm.types import Image

__all__ = ["notes", "pictures"]

_WORDS = ("text", "refusal", "reasoning", "thinking", "tool_use", "tool_call", "tool_call_chunk", "function_call")
_LONGEST_ADDRESS = 500


def pictures(message: BaseMessage) -> Iterator[Image]:
    """Yield the pictures in base64, in the block forms of LangChain, OpenAI and Anthropic."""
    for block in _blocks(message):
        kind, data, _ = _source(block)
        if data is not None and str(block.get("type", "")).startswith("image"):
            with contextlib.suppress(ValueError):  # not base64
                yield Image(kind or "image/png", base64.b64decode(data))


def notes(message: BaseMessage) -> Iterator[str]:
    """Yield what stands for a block whose content is kept nowhere: a picture elsewhere, a sound, a file.

    >>> from langchain_core.messages import HumanMessage
    >>> list(notes(HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])))
    ['<image https://example.org/a.png>']
    """
    for block in _blocks(message):
        kind, data, address = _source(block)
        is_picture = str(block.get("type", "")).startswith("image")
        if not (is_picture and data is not None):
            name = "image" if is_picture else block["type"]
            where = address if address is None or len(address) <= _LONGEST_ADDRESS else address[:_LONGEST_ADDRESS] + "…"
            yield f"<{' '.join(filter(None, (name, where or kind)))}>"


def _blocks(message: BaseMessage) -> Iterator[Mapping[str, Any]]:
    for block in message.content if isinstance(message.content, list) else ():
        if isinstance(block, dict) and isinstance(block.get("type"), str) and block["type"] not in _WORDS:
            yield block


def _source(block: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Return a block's media type, base64 data and address, as far as it has them."""
    inner = block.get("source") or block.get("image_url")
    found = {"url": inner} if isinstance(inner, str) else {**block, **(inner if isinstance(inner, Mapping) else {})}
    kind, data, address = found.get("mime_type") or found.get("media_type"), found.get("base64"), found.get("url")
    data = data or found.get("data")
    if isinstance(address, str) and address.startswith("data:") and ";base64," in address:
        kind, data = address[5:].split(";base64,", 1)
    return _text(kind), _text(data), _text(address)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
