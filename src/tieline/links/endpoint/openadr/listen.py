"""Where VENs reach the VTN: on loopback as it is, anywhere else over TLS with client certificates that are known.

A token says who calls; the certificate says from which machine. Both must be known, so that a stolen secret alone opens
nothing. Which certificate is whose is asked where tokens are given and at each use of one (`access.Tokens`). Where each
client has its own, a certificate of the same authority that is none of theirs is cut off before it says a word.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Set
from typing import Any

from tieline.errors import ConfigError
from tieline.rim.certificates import Files, server_context
from tieline.rim.serve import serve_asgi


async def serve_vtn(
    app: Any, host: str, port: int, files: Files | None = None, fingerprints: Set[str] = frozenset()
) -> asyncio.Server:
    """Return a server for a VTN's application.

    Args:
        app: The ASGI application.
        host: Where to listen.
        port: 0 picks a free one.
        files: Our certificate, its key, and the authority of our clients; None: no TLS.
        fingerprints: `sha256:<hex>` of the certificates that may connect; empty: all of the authority. It may change
            while the server runs, and counts for each new connection.

    Raises:
        ConfigError: No TLS and not on loopback, or files that can't be used.
    """
    if files is None:
        if not _is_loopback(host):
            raise ConfigError(f"$.links.openadr.tls: give one, as {host} is not loopback and tokens go in the clear")
        return await serve_asgi(app, host, port)

    return await serve_asgi(app, host, port, server_context(files), fingerprints=fingerprints)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
