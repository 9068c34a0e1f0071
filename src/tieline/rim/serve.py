"""Serves an ASGI application on the running loop, real or virtual."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import Any


async def serve_app(app: Any, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Return a server that answers for an app; port 0 picks a free one. Raises OSError where the port is taken."""
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.server import ServerState

    config = Config(app, lifespan="off", log_config=None, server_header=False, date_header=False, timeout_keep_alive=75)
    config.load()
    make = partial(HttpToolsProtocol, config=config, server_state=ServerState(), app_state={})
    return await asyncio.get_running_loop().create_server(make, host, port, ssl=tls)
