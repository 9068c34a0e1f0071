"""Serves an ASGI application on the running loop, real or virtual, with sockets or memory beneath."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Set
from functools import partial
from hashlib import sha256
from typing import Any

CERTIFICATE = "client_certificate"
"""Where a request's state tells the fingerprint of the certificate that its connection showed; none: it showed none."""


async def serve_asgi(
    app: Any,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    keep_alive_s: int = 150,
    fingerprints: Set[str] = frozenset(),
) -> asyncio.Server:
    """Return a server that answers for an ASGI application over HTTP/1.1 and WebSocket. Port 0 picks a free one.

    Where `fingerprints` (`sha256:<hex>`) are given, a connection with another certificate is cut once its handshake is
    done, before a byte is read. They may change while the server runs, and count for each new connection.
    Compression of WebSocket messages is off: it costs 45 instead of 13 KiB a socket and most of the CPU.
    """
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.server import ServerState

    config = Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False, timeout_keep_alive=keep_alive_s,
        ws="websockets-sansio", ws_per_message_deflate=False, ws_max_size=65_536, proxy_headers=False,
    )  # fmt: skip
    config.load()

    class Admitting(HttpToolsProtocol):
        """Lets nobody in who is on no list, and tells each request which certificate its connection showed."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            shown = _fingerprint(transport)
            if fingerprints and shown not in fingerprints:
                transport.abort()
                return
            self.app_state = self.app_state | {CERTIFICATE: shown}
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            if getattr(self, "transport", None) is not None:
                super().connection_lost(exc)

    make = partial(Admitting, config=config, server_state=ServerState(), app_state={})
    return await asyncio.get_running_loop().create_server(make, host, port, ssl=tls)


def _fingerprint(transport: asyncio.BaseTransport) -> str:
    """Return `sha256:<hex>` of the certificate that the other side showed; its chain was checked by the handshake."""
    held = transport.get_extra_info("ssl_object")
    shown = None if held is None else held.getpeercert(binary_form=True)
    return "" if shown is None else f"sha256:{sha256(shown).hexdigest()}"
