"""Where VENs reach the VTN: on loopback as it is, anywhere else over TLS with client certificates that are known.

A token says who calls; the certificate says from which machine. Both must be known, so that a stolen secret alone opens
nothing. Fingerprints are pinned: a certificate of the same authority that is not on the list is cut off.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Set
from hashlib import sha256
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

    def admits(transport: asyncio.BaseTransport) -> bool:
        if not fingerprints:
            return True
        # The chain was checked by the handshake; here it is asked whether this very machine is one of ours.
        shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return shown is not None and f"sha256:{sha256(shown).hexdigest()}" in fingerprints

    return await serve_asgi(app, host, port, server_context(files), admits=admits)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
