"""Any value an environment or a tool hands over, as JSON text and back: exactly, or tagged and counted.

Plain JSON values stay plain. Everything else becomes an object with one ``$`` key::

    float nan, inf, -inf    {"$float": "nan"}           a NaN of other bits  {"$float": "0xfff8000000000001"}
    bytes                   {"$bytes": "<base64>"}
    tuple                   {"$tuple": [...]}           set         {"$set": [...]}, frozenset {"$frozenset": [...]}
    array                   {"$array": ["<f4", [2, 3], "<base64>"]}, or [...] for up to 32 finite numbers
    NumPy scalar            {"$scalar": ["<i8", 7]}, or "<base64>"; str_, bytes_ and void as text and bytes
    dict with other keys    {"$dict": [[key, value], ...]}
    str with NUL or surrogates   {"$str": "<base64 of UTF-8, surrogates passed>"}
    anything else           {"$repr": "..."}            not exact: counted as degraded
"""

from __future__ import annotations

from collections.abc import Callable

from agentprm.types import Value
from agentprm.values._plain import plain_json
from agentprm.values._read import decode
from agentprm.values._redacting import RedactingTagger
from agentprm.values._tagged import Tagger, dump
from agentprm.values._text import clean_text, is_clean

__all__ = ["clean_text", "decode", "encode", "is_clean"]


def encode(value: Value, redact: Callable[[str], str] | None = None) -> tuple[str, int]:
    """Return the JSON text of `value`, and how many parts of it have no exact form.

    `redact` is applied to every text in it first: keys, bytes that are UTF-8, arrays of text and reprs included.

    >>> encode({"a": (1, float("inf"))})
    ('{"a":{"$tuple":[1,{"$float":"inf"}]}}', 0)
    >>> encode({"a": ["b", b"b"]}, str.upper)
    ('{"A":["B",{"$bytes":"Qg=="}]}', 0)
    """
    text = plain_json(value) if redact is None else None
    if text is not None:
        return text, 0
    tagger = Tagger() if redact is None else RedactingTagger(redact)
    return dump(tagger.tag(value)), tagger.lost
