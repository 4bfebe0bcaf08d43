"""Who may read a page that is served: Host names that cannot be another site's, and a token away from home."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

__all__ = ["Guard", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Tell whether an address can only be reached from this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


@dataclass(frozen=True)
class Guard:
    """What a request must show. Bound to loopback no token is needed; bound elsewhere it is made if none is given.

    A site that points its own name at this address (DNS rebinding) sends that name as Host: names other than
    ``localhost``, `host` itself and `names` are refused. An address cannot be rebound.

    >>> Guard("127.0.0.1").knows_host("evil.example:80"), Guard("127.0.0.1").knows_host("localhost:80")
    (False, True)
    """

    host: str
    names: tuple[str, ...] = ()
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            object.__setattr__(self, "token", secrets.token_urlsafe(24))

    def knows_host(self, header: str | None) -> bool:
        """Return whether a Host header names this server."""
        name = _without_port(header or "")
        address = _address(name)
        if address is not None:
            return address.is_loopback or not is_loopback(self.host)
        return name in {"localhost", self.host.lower(), *(known.lower() for known in self.names)}

    def lets_in(self, headers: Mapping[str, str], cookie: str) -> bool:
        """Return whether a request carries the token, as a bearer or in the cookie of that name."""
        if not self.token:
            return True
        bearer = headers.get("Authorization", "").removeprefix("Bearer ")
        return self.is_token(bearer) or self.is_token(_cookie(headers.get("Cookie", ""), cookie))

    def is_token(self, given: str) -> bool:
        """Return whether this is the token, in a time that does not tell how much of it is right."""
        return bool(self.token) and hmac.compare_digest(given.encode(), self.token.encode())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _without_port(header: str) -> str:
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].rstrip(".")


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
