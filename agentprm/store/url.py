"""Where a store lies: paths and URLs, and never a password where it could be read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from agentprm.errors import StoreError

__all__ = ["is_file", "is_memory", "plain_url", "read_url", "redaction_in"]

_SECRETS = ("password", "sslpassword")
"""Where a password may also stand: among the options behind the question mark."""


def read_url(form: str | Path | URL) -> URL:
    """Return the database URL of a path or URL; a masked password (``***``) is taken from ``AGENTPRM_STORE``.

    Raises StoreError for what is neither.
    """
    if isinstance(form, URL):
        return form.difference_update_query(["redact"])
    if not isinstance(form, (str, Path)):
        raise StoreError(f"a store is the path of a file or a URL such as sqlite:///runs.db, not {form!r}")
    if isinstance(form, Path) or "://" not in form:
        return URL.create("sqlite", database=None if str(form) == ":memory:" else str(Path(form).absolute()))
    try:
        url = sa.make_url(form).difference_update_query(["redact"])
    except (ArgumentError, ValueError):
        shown = re.sub(r":.*@", ":***@", form)
        raise StoreError(f"{shown!r} is no database: give a file path or a URL such as sqlite:///runs.db") from None
    if "***" in (url.password, *map(url.query.get, _SECRETS)):
        url = _with_password(url)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite" or not url.database:
        return url
    if url.database == ":memory:":
        return URL.create(url.drivername)
    return url.set(database=str(Path(url.database).absolute()))


def redaction_in(form: str | Path | URL) -> str | None:
    """Return the ``module:function`` that a URL names behind ``redact=``; None where it names none.

    >>> redaction_in("sqlite:///runs.db?redact=my.module:clean"), redaction_in("runs.db")
    ('my.module:clean', None)
    """
    if not isinstance(form, URL):
        if not isinstance(form, str) or "redact=" not in form or "://" not in form:
            return None
        try:
            form = sa.make_url(form)
        except (ArgumentError, ValueError):
            return None
    named = form.query.get("redact")
    return named if isinstance(named, str) else None


def _with_password(url: URL) -> URL:
    try:
        whole = sa.make_url(os.environ.get("AGENTPRM_STORE", ""))
    except (ArgumentError, ValueError):
        whole = url
    known = {name: whole.query[name] for name in _SECRETS if url.query.get(name) == "***" and name in whole.query}
    password = whole.password if url.password == "***" else url.password
    query = {**url.query, **known}
    if "***" in (password, *query.values()) or (url.password and not password):
        raise StoreError(f"the password of {plain_url(url)} was never recorded: set AGENTPRM_STORE to the whole URL")
    return url.set(password=password, query=query)


def is_memory(url: URL) -> bool:
    """Tell whether a database lies nowhere, and goes with its process."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def is_file(form: str | Path | URL) -> bool:
    """Tell whether a database is a file."""
    url = read_url(form)
    return url.get_backend_name() == "sqlite" and not is_memory(url)


def plain_url(url: URL) -> str:
    """Return the URL as it may be recorded: without its password."""
    hidden = {name: "***" for name in _SECRETS if name in url.query}
    return url.update_query_dict(hidden).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
