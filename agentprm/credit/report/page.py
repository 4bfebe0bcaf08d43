"""The page itself: our own markup, style and script in one text, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib.resources import files
from typing import Any

from agentprm.credit.report.plain import embedded

__all__ = ["data_block", "page", "policy"]

_SCRIPTS = ("dom", "text", "svg", "plots", "curve", "source", "list", "overview", "turns", "episode", "keys", "main")
"""In order: each uses only those before it, but for `main`, which knows them all."""


@cache
def _asset(name: str) -> str:
    return (files("agentprm.credit.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _style() -> str:
    return _asset("page.css")


@cache
def _script() -> str:
    return '(() => {\n"use strict";\n' + "\n".join(_asset(f"{name}.js") for name in _SCRIPTS) + "\n})();\n"


def policy(*, live: bool) -> str:
    """Return the content security policy: our script and our style by hash, pictures as data, no requests.

    A page of a live store (`live`) may ask its own server, and nobody else.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(_script())}",
            f"style-src {_hash(_style())}",
            "img-src data:",
            f"connect-src {chr(39)}{'self' if live else 'none'}{chr(39)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data_block(name: str, data: Any) -> str:
    """Return data as an element that holds it and never runs it; `name` is its id."""
    return f'<script type="application/json" id="{html.escape(name)}">{embedded(data)}</script>\n'


def page(title: str, data: Any = None, *, live: bool = False) -> tuple[str, str]:
    """Return the page up to where its episodes go, and what closes it. `data` is what the first look shows.

    The first part alone is shown by a browser while the rest is still being read.
    """
    words = html.escape("".join(c if c.isprintable() else " " for c in title))
    block = "" if data is None else data_block("overview", data)
    # Split before anything is filled in: a title may spell the name of a slot.
    top, rest = _asset("page.html").split("[[STYLE]]")
    middle, rest = rest.split("[[SCRIPT]]")
    foot, after = rest.split("[[EPISODES]]\n")
    for slot, text in (("POLICY", html.escape(policy(live=live))), ("LIVE", "yes" if live else "no"), ("TITLE", words)):
        top = top.replace(f"[[{slot}]]", text)
    return f"{top}{_style()}{middle}{block}<script>{_script()}</script>{foot}", after
