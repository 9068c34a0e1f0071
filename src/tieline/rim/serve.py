"""Serves an ASGI application on the running loop, real or virtual, with sockets or memory beneath."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any


async def serve_asgi(
    app: Any,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    keep_alive_s: int = 75,
    admits: Callable[[asyncio.BaseTransport], bool] | None = None,
) -> asyncio.Server:
    """Return a server that answers for an ASGI application over HTTP/1.1 and WebSocket. Port 0 picks a free one.

    `admits` looks at each connection once its handshake is done; one that it refuses is cut before a byte is read.
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
        """Lets nobody in whom `admits` refuses."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if admits is None or admits(transport):
                super().connection_made(transport)
            else:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            if getattr(self, "transport", None) is not None:
                super().connection_lost(exc)

    make = partial(Admitting, config=config, server_state=ServerState(), app_state={})
    return await asyncio.get_running_loop().create_server(make, host, port, ssl=tls)
