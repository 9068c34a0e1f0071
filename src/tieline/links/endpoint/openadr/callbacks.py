"""Where webhooks may go: an allow-list of origins, compared by their parts and never as text.

A URL is taken apart before it is judged: `http://127.0.0.1:1@elsewhere/` begins like an allowed one and leads away.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from msgspec import Struct

from tieline.errors import ConfigError

_PORTS = {"http": 80, "https": 443}


class Origin(Struct, frozen=True):
    """A scheme, a host, a port (None: any), and how paths must begin."""

    scheme: str
    host: str
    port: int | None
    path: str


def read_origins(texts: Iterable[str]) -> tuple[Origin, ...]:
    """Return origins such as `https://ven.example:8443/` or `http://127.0.0.1:*`. Raises ConfigError."""
    return tuple(_read_origin(text) for text in texts)


def _read_origin(text: str) -> Origin:
    fault = ConfigError(f"callback {text!r}: give a scheme, host and port, as https://ven.example:8443/ or http://h:*")
    is_any = text.rstrip("/").endswith(":*")
    try:
        parts = urlsplit(text.rstrip("/").removesuffix(":*") if is_any else text)
        port = None if is_any else parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        raise fault from None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise fault
    return Origin(parts.scheme, parts.hostname.lower(), port, parts.path.rstrip("/"))


def is_allowed(url: str, origins: Iterable[Origin]) -> bool:
    """Return whether a webhook may go to a URL: its scheme, host and port are an origin's, its path lies below."""
    if any(ord(c) <= 32 or ord(c) > 126 for c in url) or "\\" in url:  # parsers differ on these: none is needed
        return False
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return False
    if "@" in parts.netloc or parts.fragment or not parts.hostname:
        return False
    if any(part in (".", "..") for part in parts.path.replace("%2e", ".").replace("%2E", ".").split("/")):
        return False
    # urlsplit lowers the host's case and strips user and port: what is compared is what will be connected to.
    return any(
        (parts.scheme, parts.hostname) == (origin.scheme, origin.host)
        and origin.port in (None, port)
        and (not origin.path or parts.path == origin.path or parts.path.startswith(origin.path + "/"))
        for origin in origins
    )
